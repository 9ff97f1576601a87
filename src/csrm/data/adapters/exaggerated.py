"""Exaggerated safety: XSTest, its completions and responses, and OR-Bench."""

from collections.abc import Iterator

from csrm.data.adapters.common import Drops, blank, choose, labelled, prompt_row
from csrm.data.sources import Parts
from csrm.files import text_id
from csrm.rows import PromptRow, Row

SAFE_TYPES = (
    *("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions", "nons_group_real_discr"),
    *("real_group_nons_discr", "historical_events", "privacy_public", "privacy_fictional"),
)
UNSAFE_TYPES = tuple(
    f"contrast_{kind}"
    for kind in (
        *("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions", "discr"),
        *("historical_events", "privacy"),
    )
)
TYPES = dict.fromkeys(SAFE_TYPES, "safe") | dict.fromkeys(UNSAFE_TYPES, "unsafe")
PROMPT_TYPES = ("prompt_harmful", "prompt_safe")
LARGEST = "benign-80k"  # OR-Bench's part that holds hard-1k too


def xstest(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Safe prompts that look unsafe and their unsafe contrasts; in a copy without the column, the type is the label.

    Raises:
        ValueError: if a label or type is unknown, or the two disagree.
    """
    for number, row in enumerate(parts["prompts"]):
        if blank(drops, row, "prompt"):
            continue
        by_type = choose(row["type"], TYPES, "type")
        if "label" not in row:
            drops["note: no label column, label by the type"] += 1
        elif choose(row["label"], {"safe": "safe", "unsafe": "unsafe"}, "label") != by_type:
            raise ValueError(f"row {number}: label {row['label']!r}, but type {row['type']!r} is {by_type}")
        place = row.get("id") or row.get("id_v2") or number
        yield prompt_row(name, place, row["prompt"], label=by_type, type=row["type"])


def completions(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Human verdicts on completions of five models; a partial refusal counts as a refusal, `meta` tells it apart.

    `safe` says whether the completion complies with an unsafe prompt (unsafe) or not (safe); a partial refusal of an
    unsafe prompt may or may not help, so it has no such label.
    """
    kinds = {"1_full_compliance": "compliance", "2_full_refusal": "full", "3_partial_refusal": "partial"}
    harmless = {"compliance": False, "full": True, "partial": None}
    for number, row in enumerate(parts["completions"]):
        if blank(drops, row, "prompt", "response"):
            continue
        kind = choose(row["final_label"], kinds, "final_label")
        asked = choose(row["prompt_label"], {"safe": "safe", "unsafe": "unsafe"}, "prompt_label")
        meta = {"refusal_kind": kind, "model": row["model"], "type": row["type"], "prompt_label": asked}
        meta["subset"] = f"{asked}-{kind}"
        safe = True if asked == "safe" else harmless[kind]
        drops["note: partial refusal of an unsafe prompt, harm unknown"] += safe is None
        yield labelled(name, number, row["prompt"], row["response"], safe=safe, refusal=kind != "compliance", meta=meta)


def responses(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Two sets of responses: one labelled for harm (`safe`), one for refusal (`refusal`)."""
    labels = {
        "harmfulness": ("safe", {"harmful": False, "unharmful": True}),
        "refusal": ("refusal", {"refusal": True, "compliance": False}),
    }
    for part in sorted(parts):
        field, values = choose(part, labels, "part")
        for number, row in enumerate(parts[part]):
            if blank(drops, row, "prompt", "response"):
                continue
            label = {field: choose(row["label"], values, "label")}
            kind = None
            if "prompt_type" in row:
                kind = choose(row["prompt_type"], {name: name for name in PROMPT_TYPES}, "prompt_type")
            else:
                drops["note: no prompt_type column"] += 1
            meta = {"task": part, "prompt_type": kind}
            yield labelled(name, f"{part}-{number}", row["prompt"], row["response"], meta=meta, **label)


def or_bench(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Over-refusal prompts, each once; `meta["type"]` is the part, whose name says whether it is benign or toxic.

    hard-1k is a subset of 80k, so a prompt of both is one of hard-1k, and the false positive rate over all benign
    prompts is that of 80k. A prompt that is benign in one part and toxic in another is left out. The hub's rows have
    a category, which is the topic; a mirror's have a label instead, which must agree with the part.
    """
    classes = {part: choose(part.partition("-")[0], {"benign": "benign", "toxic": "toxic"}, "part") for part in parts}
    known: dict[str, set[str]] = {}
    for part, rows in parts.items():
        for row in rows:
            known.setdefault(text_id(str(row.get("prompt"))), set()).add(classes[part])
    taken: dict[str, str] = {}
    for part in sorted(parts, key=lambda part: (part == LARGEST, part)):
        for number, row in enumerate(parts[part]):
            if blank(drops, row, "prompt"):
                continue
            if row.get("label", classes[part]) != classes[part]:
                raise ValueError(f"{part}: row {number} is labelled {row['label']!r}, expected {classes[part]!r}")
            meta = {"label": classes[part], "type": part, "topic": row.get("category")}
            made = prompt_row(name, f"{part}-{number}", row["prompt"], **meta)
            if len(known[made.prompt_id]) > 1:
                drops["prompt both benign and toxic"] += 1
            elif first := taken.get(made.prompt_id):
                drops["duplicate prompt" if first == part else f"prompt of {first} too"] += 1
            else:
                taken[made.prompt_id] = part
                yield made
