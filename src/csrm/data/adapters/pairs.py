"""Response pairs: SafeRLHF, configurable system prompts, CoCoNot."""

from collections.abc import Iterator
from typing import Any

from csrm.data.adapters.common import Drops, blank, choose, pair
from csrm.data.sources import Parts
from csrm.rows import PairRow

SAFER = {(True, False): 0, (False, True): 1, (True, True): None, (False, False): None}  # safety labels -> the safe one


def safe_rlhf(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """The safe response is preferred over the unsafe one to the same prompt.

    A mirror holds such pairs already. The hub holds two labelled responses: a row where both or none are safe is
    dropped, and the preferences there (`safer_response_id`, `better_response_id`) are not used to rank them.
    """
    for number, source in enumerate(parts["pairs"]):
        row = _by_safety(drops, source) if "response_0" in source else source
        if row and not blank(drops, row, "prompt", "chosen", "rejected") and not _same(drops, row):
            texts = (row["prompt"], row["chosen"], row["rejected"])
            yield pair(name, number, texts, chosen_safe=True, rejected_safe=False)


def safe_rlhf_ranked(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """All pairs of the hub, ranked by `safer_response_id`; responses of equal safety labels too, and so without labels.

    `meta["differ"]` says whether one response is labelled safe and the other one is not.
    """
    for number, row in enumerate(parts["pairs"]):
        safer = choose(row["safer_response_id"], {0: 0, 1: 1}, "safer_response_id")
        texts = (row["prompt"], row[f"response_{safer}"], row[f"response_{1 - safer}"])
        named = dict(zip(("prompt", "chosen", "rejected"), texts, strict=True))
        if not blank(drops, named, *named) and not _same(drops, named):
            safe = (row["is_response_0_safe"], row["is_response_1_safe"])
            yield pair(name, number, texts, differ=choose(safe, SAFER, "safety labels of the responses") is not None)


def system_prompts(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """Pairs under a system prompt.

    Only `meta["task"] == "harmless"` is conditional on it: there each prompt comes with two opposite system prompts
    and the preference is reversed. `meta["conditional"]` says so.
    """
    for number, row in enumerate(parts["pairs"]):
        if not blank(drops, row, "system", "prompt", "chosen", "rejected") and not _same(drops, row):
            texts = (row["prompt"], row["chosen"], row["rejected"])
            conditional = choose(row["task"], {"harmless": True, "truthfulness": False}, "task")
            yield pair(name, number, texts, row["system"], task=row["task"], conditional=conditional)


def coconot(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """Contextual non-compliance: preferred and dispreferred answers, with category and subcategory."""
    for number, row in enumerate(parts["pairs"]):
        if not blank(drops, row, "prompt", "chosen", "rejected") and not _same(drops, row):
            texts = (row["prompt"], row["chosen"], row["rejected"])
            yield pair(name, number, texts, topic=row["category"], subtopic=row["subcategory"])


def _by_safety(drops: Drops, row: dict[str, Any]) -> dict[str, Any] | None:
    safe = (row["is_response_0_safe"], row["is_response_1_safe"])
    chosen = choose(safe, SAFER, "safety labels of the responses")
    if chosen is None:
        drops["both responses safe" if all(safe) else "both responses unsafe"] += 1
        return None
    if row["safer_response_id"] != chosen:
        drops["note: safer_response_id contradicts the safety labels"] += 1
    return {"prompt": row["prompt"], "chosen": row[f"response_{chosen}"], "rejected": row[f"response_{1 - chosen}"]}


def _same(drops: Drops, row: dict[str, str]) -> bool:
    same = row["chosen"].strip() == row["rejected"].strip()
    drops["equal responses"] += same
    return same
