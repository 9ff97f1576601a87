"""`csrm split` and `csrm split-pairs`: fixed before any augmentation; all rows of a prompt share a split."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from csrm.configs.taxonomy import Taxonomy, load_taxonomy
from csrm.data.prepare import group
from csrm.rows import PairRow, Row
from csrm.settings import DataSettings

SPLITS = ("train", "validation", "test")
VIOLATED = 0.25
NEUTRAL = "neutral"  # prompts of no topic family
Load = Callable[[str], Taxonomy]


def position(prompt_id: str, seed: int) -> float:
    """A prompt's place in [0, 1): the hash of seed and prompt, so that it depends on no other row."""
    return int(hashlib.sha256(f"{seed}:{prompt_id}".encode()).hexdigest()[:13], 16) / 16**13


def split_name(prompt_id: str, seed: int, settings: DataSettings) -> str:
    """Test below `test_share`, then validation, then train."""
    place = position(prompt_id, seed)
    if place < settings.test_share:
        return "test"
    return "validation" if place < settings.test_share + settings.validation_share else "train"


def families(row: Row | PairRow, load: Load = load_taxonomy) -> set[str]:
    """Families that a row belongs to: of its violated categories, of its own or its prompt's, and of its topic."""
    found = {str(row.meta["family"])} if "family" in row.meta else set()
    if isinstance(row, PairRow):
        keys = set(row.meta.get("prompt_categories", ()))
        return found.union(*(load(str(row.meta["taxonomy"])).families(key) for key in keys))
    keys = {key for key, severity in row.harms.items() if severity >= VIOLATED}
    own = row.meta.get("category")
    if own is not None and own != NEUTRAL:
        keys.add(str(own))
    return found.union(*(load(row.taxonomy).families(key) for key in keys))


def split(
    rows: Sequence[Row], settings: DataSettings, seed: int, excluded: Iterable[str] = (), load: Load = load_taxonomy
) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """Rows by split, and notes.

    Args:
        rows: rows of all training sets.
        settings: shares and held-out families.
        seed: seed of the split.
        excluded: prompt ids of benchmark-only sets; such rows may be tested on but not trained on.
        load: how a taxonomy is found.

    Raises:
        ValueError: if the shares leave nothing to train on, or no training row is left.
    """
    if settings.test_share + settings.validation_share >= 1:
        raise ValueError(
            f"data.test_share {settings.test_share} + data.validation_share {settings.validation_share} must be below 1"
        )
    held_out, barred = set(settings.held_out), set(excluded)
    splits: dict[str, list[Row]] = {name: [] for name in SPLITS}
    held, dropped = Counter[str](), Counter[str]()
    for prompt_id, members in group(rows).items():
        unseen = held_out & set[str]().union(*(families(row, load) for row in members))
        held.update({family: len(members) for family in unseen})
        name = "test" if unseen else split_name(prompt_id, seed, settings)
        if name != "test" and prompt_id in barred:
            dropped["prompt of a benchmark"] += len(members)
        else:
            splits[name].extend(members)
    _check_ids(rows)
    if not splits["train"]:
        raise ValueError(f"no training row is left of {len(rows)}: lower data.test_share or shorten data.held_out")
    return splits, {**_sizes(splits), "held_out": dict(sorted(held.items())), "dropped": dict(dropped)}


def split_pairs(
    rows: Sequence[PairRow], settings: DataSettings, seed: int, excluded: Iterable[str] = (), load: Load = load_taxonomy
) -> tuple[dict[str, list[PairRow]], dict[str, Any]]:
    """Response pairs by split (train and test; the validation share stays in train), and notes."""
    held_out, barred = set(settings.held_out), set(excluded)
    splits: dict[str, list[PairRow]] = {"train": [], "test": []}
    dropped = Counter[str]()
    for prompt_id, members in group(rows).items():
        unseen = held_out & set[str]().union(*(families(row, load) for row in members))
        name = "test" if unseen or position(prompt_id, seed) < settings.test_share else "train"
        if name == "train" and prompt_id in barred:
            dropped["prompt of a benchmark"] += len(members)
        else:
            splits[name].extend(members)
    _check_ids(rows)
    return splits, {**_sizes(splits), "dropped": dict(dropped)}


def _sizes(splits: Mapping[str, Sequence[Row] | Sequence[PairRow]]) -> dict[str, Any]:
    by_set = {name: dict(Counter(row.dataset for row in part)) for name, part in splits.items()}
    return {"rows": {name: len(part) for name, part in splits.items()}, "by_dataset": by_set}


def _check_ids(rows: Sequence[Row] | Sequence[PairRow]) -> None:
    twice = [key for key, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"ids occur in more than one row: {twice[:5]}; was a data set given twice?")
