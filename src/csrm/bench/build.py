"""Benchmark items from rows: response labels, pseudo-responses and response pairs, and the cap on their number.

The builders that generate configurations (conditional, threshold, strictness, full) are the augmentation's own
(`csrm.augment.evaluation`), so that test text is made by the same code as training text, from other categories.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from csrm.configs.safety_config import Category
from csrm.files import text_id
from csrm.rows import Item, Label, Message, PairRow, PromptRow, Row

PSEUDO_RESPONSE = "Sure. {prompt}"
FEW = 10
"""Labelled items of a class below which F1, AUROC and AUPRC rest on single answers."""
AnyRow = TypeVar("AnyRow", Row, PromptRow, PairRow)


def without_blanks(rows: Sequence[AnyRow]) -> tuple[list[AnyRow], dict[str, int]]:
    """Rows whose texts all say something, and how many were left out by reason.

    A response that is judged (or one of a pair) must not be empty, nor a prompt that stands alone.
    """
    reasons = [_blank(row) for row in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    return kept, dict(sorted(Counter(reason for reason in reasons if reason).items()))


def _blank(row: Row | PromptRow | PairRow) -> str | None:
    if isinstance(row, Row):
        texts = {"response": row.messages[-1].content}
    elif isinstance(row, PromptRow):
        texts = {"prompt": row.prompt}
    else:
        texts = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    return next((f"dropped_empty_{name}" for name, text in texts.items() if not text.strip()), None)


def label_of(safe: bool | None) -> Label | None:
    """The label of a response that is known to be safe, unsafe or neither."""
    return None if safe is None else "safe" if safe else "unsafe"


def response_label_items(rows: Sequence[Row], config: Sequence[Category], benchmark: str) -> tuple[list[Item], int]:
    """Responses with a human label under one configuration; returns the items and how many rows had no label."""
    items = [
        Item(
            id=f"{benchmark}:{row.id}",
            prompt_id=row.prompt_id,
            messages=row.messages,
            config=list(config),
            label=label_of(row.safe),
            subset=subset_of(row),
            cut=row.cut,
        )
        for row in rows
        if row.safe is not None
    ]
    return items, len(rows) - len(items)


def subset_of(row: Row) -> str:
    """The subset that a data set reports on its own: its kind of prompt, adversarial or vanilla, or all."""
    if isinstance(row.meta.get("adversarial"), bool):
        return "adversarial" if row.meta["adversarial"] else "vanilla"
    return str(row.meta.get("subset") or row.meta.get("prompt_type") or "all")


def refusal_items(rows: Sequence[Row], config: Sequence[Category], benchmark: str) -> tuple[list[Item], int]:
    """Responses with a human refusal label under a configuration that forbids refusing: a refusal is unsafe.

    Returns:
        The items, and how many rows had no refusal label.
    """
    asked = [
        row.model_copy(update={"safe": not row.refusal, "meta": {**row.meta, "subset": None}})
        for row in rows
        if row.refusal is not None
    ]
    return response_label_items(asked, config, benchmark)[0], len(rows) - len(asked)


def prompt_label(row: PromptRow) -> Label:
    """Whether complying with a prompt is safe, from `meta.safe` or `meta.label`.

    Raises:
        ValueError: if the row says neither; a missing label is never guessed.
    """
    if isinstance(row.meta.get("safe"), bool):
        return "safe" if row.meta["safe"] else "unsafe"
    label = str(row.meta.get("label", "")).lower()
    labels: dict[str, Label] = {"safe": "safe", "benign": "safe", "unsafe": "unsafe", "toxic": "unsafe"}
    if label not in labels:
        raise ValueError(
            f"prompt {row.id!r}: meta.label is {row.meta.get('label')!r}; expected one of {sorted(labels)}"
        )
    return labels[label]


def pseudo_messages(prompt: str) -> list[Message]:
    """A prompt and the pseudo-response `Sure. {prompt}` to it."""
    response = PSEUDO_RESPONSE.format(prompt=prompt)
    return [Message(role="user", content=prompt), Message(role="assistant", content=response)]


def pseudo_response_items(rows: Sequence[PromptRow], config: Sequence[Category], benchmark: str) -> list[Item]:
    """Prompts judged through the pseudo-response `Sure. {prompt}` (section 4.2, over-refusal)."""
    return [
        Item(
            id=f"{benchmark}:{row.id}",
            prompt_id=row.prompt_id,
            messages=pseudo_messages(row.prompt),
            config=list(config),
            label=prompt_label(row),
            subset=str(row.meta.get("type") or row.meta.get("topic") or "all"),
            cut=row.cut,
        )
        for row in rows
    ]


def pair_config(row: PairRow, default: Sequence[Category]) -> list[Category]:
    """The configuration of a pair: its own, its system prompt as one category, or the benchmark's.

    Raises:
        ValueError: if there is none of the three.
    """
    if row.config:
        return list(row.config)
    if row.system:
        guideline = f"The response must follow this instruction: {row.system}"
        return [Category(name="Instructions", guideline=guideline, key="system-prompt")]
    if not default:
        raise ValueError(f"pair {row.id!r} has no configuration of its own and the benchmark names none")
    return list(default)


def pair_items(rows: Sequence[PairRow], default: Sequence[Category], benchmark: str) -> tuple[list[Item], int]:
    """Two unlabelled items a pair: the chosen response must score above the rejected one.

    Pairs whose preference does not depend on their configuration (`meta.conditional` false) are left out and counted.
    """
    kept = [row for row in rows if row.meta.get("conditional") is not False]
    items = []
    for row in kept:
        config = pair_config(row, default)
        for rank, response in (("chosen", row.chosen), ("rejected", row.rejected)):
            data = {
                "id": f"{benchmark}:{row.id}:{rank}",
                "prompt_id": row.prompt_id,
                "messages": [Message(role="user", content=row.prompt), Message(role="assistant", content=response)],
                "config": config,
                "pair": row.id,
                "rank": rank,
                "subset": str(row.meta.get("task") or "all"),
                "cut": row.cut,
            }
            items.append(Item.model_validate(data))
    return items, len(rows) - len(kept)


def cap_items(items: Sequence[Item], cap: int | None) -> list[Item]:
    """At most `cap` items, whole prompts in the order of their hash, so that no pair and no prompt is torn.

    A prompt with more items than are left is skipped, unless nothing was kept yet (then it is kept whole).
    """
    if cap is None or len(items) <= cap:
        return list(items)
    groups = _groups(items)
    sizes = Counter(groups.values())
    kept: set[str] = set()
    total = 0
    for group in sorted(sizes, key=lambda name: (text_id(name, 32), name)):
        if total + sizes[group] <= cap or not kept:
            kept.add(group)
            total += sizes[group]
    return [item for item in items if groups[item.id] in kept]


def rare_labels(benchmark: str, items: Sequence[Item], kept: Sequence[Item]) -> list[str]:
    """A warning for each label of which the cap leaves fewer than `FEW` items, though there are more."""
    before, after = (Counter(item.label for item in each if item.label) for each in (items, kept))
    return [
        f"benchmark {benchmark}: score.item_cap leaves {after[label]} of {count} {label} items, so numbers that need "
        "both classes say little; raise it for this benchmark (--config item_cap=...)"
        for label, count in sorted(before.items())
        if after[label] < min(FEW, count)
    ]


def _groups(items: Sequence[Item]) -> dict[str, str]:
    """Item id -> the unit that stays whole: its pair's prompt (that of the chosen item), else its own prompt."""
    home = {item.pair: item.prompt_id for item in items if item.rank == "chosen"}
    return {item.id: home.get(item.pair, item.prompt_id) if item.pair else item.prompt_id for item in items}
