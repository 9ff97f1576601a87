"""Exaggerated safety: XSTest, its completions and responses, and OR-Bench."""

from collections.abc import Iterator

from csrm.data.adapters.common import Drops, blank, choose, labelled, prompt_row
from csrm.data.sources import Parts
from csrm.rows import PromptRow, Row


def xstest(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Safe prompts that look unsafe and their unsafe contrasts; a copy without labels is read from the type."""
    for number, row in enumerate(parts["prompts"]):
        if not blank(drops, row, "prompt"):
            contrast = "unsafe" if row["type"].startswith("contrast_") else "safe"
            label = choose(row.get("label") or contrast, {"safe": "safe", "unsafe": "unsafe"}, "label")
            yield prompt_row(
                name, row.get("id") or row.get("id_v2") or number, row["prompt"], label=label, type=row["type"]
            )


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
            meta = {"task": part, "prompt_type": row.get("prompt_type")}
            yield labelled(name, f"{part}-{number}", row["prompt"], row["response"], meta=meta, **label)


def or_bench(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Over-refusal prompts; the part's name says whether they are benign or toxic.

    The hub's rows have a category, which is the topic; a mirror's have a label instead, which must agree with the part.
    """
    for part in sorted(parts):
        label = choose(part.partition("-")[0], {"benign": "benign", "toxic": "toxic"}, "part")
        for number, row in enumerate(parts[part]):
            if not blank(drops, row, "prompt"):
                if row.get("label", label) != label:
                    raise ValueError(f"{part}: row {number} is labelled {row['label']!r}, expected {label!r}")
                yield prompt_row(name, f"{part}-{number}", row["prompt"], label=label, topic=row.get("category"))
