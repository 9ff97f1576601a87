"""Response pairs: SafeRLHF, configurable system prompts, CoCoNot."""

from collections.abc import Iterator

from csrm.data.adapters.common import Drops, blank, pair
from csrm.data.sources import Parts
from csrm.rows import PairRow


def safe_rlhf(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """The safe response is preferred over the unsafe one to the same prompt."""
    for number, row in enumerate(parts["pairs"]):
        if not blank(drops, row, "prompt", "chosen", "rejected") and not _same(drops, row):
            texts = (row["prompt"], row["chosen"], row["rejected"])
            yield pair(name, number, texts, chosen_safe=True, rejected_safe=False)


def system_prompts(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """Pairs under a system prompt.

    Only `meta["task"] == "harmless"` is conditional on it: there each prompt comes with two opposite system prompts
    and the preference is reversed. `meta["conditional"]` says so.
    """
    for number, row in enumerate(parts["pairs"]):
        if not blank(drops, row, "prompt", "chosen", "rejected") and not _same(drops, row):
            texts = (row["prompt"], row["chosen"], row["rejected"])
            conditional = row["task"] == "harmless"
            yield pair(name, number, texts, row["system"], task=row["task"], conditional=conditional)


def coconot(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """Contextual non-compliance: preferred and dispreferred answers, with category and subcategory."""
    for number, row in enumerate(parts["pairs"]):
        if not blank(drops, row, "prompt", "chosen", "rejected") and not _same(drops, row):
            texts = (row["prompt"], row["chosen"], row["rejected"])
            yield pair(name, number, texts, topic=row["category"], subtopic=row["subcategory"])


def _same(drops: Drops, row: dict[str, str]) -> bool:
    same = row["chosen"].strip() == row["rejected"].strip()
    drops["equal responses"] += same
    return same
