"""Builders of evaluation items from held-out rows: conditional, threshold, strictness, full configuration.

Items of unseen categories use the taxonomy text of held-out categories. There, the category that takes the violated
one's place is held out as well, and distractors come from both sides, so that novelty gives no answer away.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Literal

from csrm.augment.base import standard_item
from csrm.augment.catalogue import TOPICS, Catalogue, Facts, TaxonomyCategoryLike, as_category
from csrm.augment.configs import replace, shuffle, threshold_category
from csrm.configs.safety_config import Category
from csrm.rows import Item, Label, Row

HOME_RATE = 2 / 3  # how often a replacement comes from the row's own taxonomy where both are possible


def conditional_items(
    rows: Iterable[Row],
    catalogue: Catalogue,
    threshold: float,
    seed: int,
    unseen: bool = False,
    sizes: Sequence[int] = (2, 3),
) -> list[Item]:
    """Pairs with and without a violated category, and benign items of the row's own category.

    For each violated category c (held out iff `unseen`): "with" holds c (unsafe), "without" is the same configuration
    with c replaced by a category that the row does not violate (safe). Rows that are safe in a category of their own
    give one item with it (safe, subset "benign").
    """
    items = []
    for row in rows:
        rng, facts, own = Random(f"{seed}:{row.id}"), catalogue.facts(row, threshold), catalogue.own(row)
        for category in catalogue.taxonomy(row.taxonomy):
            if catalogue.is_held_out(category) != unseen or category.key not in own:
                continue
            options = absent_categories(row, facts, category, catalogue, unseen)
            size = rng.choice(list(sizes))
            if category.key in facts.violated:
                items += _conditional_pair(row, category, options, size, unseen, rng)
            elif category.key in facts.absent:
                config = _fill(as_category(category), [c for c, _, _ in options], size, rng)
                items.append(_item(row, "benign", category.key, config, "safe", "benign", rng))
    return items


def threshold_items(
    rows: Iterable[Row], catalogue: Catalogue, thresholds: Sequence[float], standard: float, seed: int
) -> list[Item]:
    """Each graded category of a row at each severity threshold: unsafe iff the human severity reaches it.

    At most one absent standard category stands beside it. Held-out families are left out.
    """
    items = []
    for row in rows:
        rng, facts = Random(f"{seed}:{row.id}"), catalogue.facts(row, standard)
        for category in _graded(row, catalogue):
            others = [c for c, _, known in absent_categories(row, facts, category, catalogue, False) if known]
            for t in thresholds:
                config = _fill(threshold_category(category, t), others, rng.choice((1, 2)), rng)
                name = f"{category.key}@{t:g}"
                severity = row.harms[category.key]
                item = _item(row, "threshold", name, config, _at(severity, t), f"t={t:g}", rng)
                meta = {"category": category.key, "threshold": t, "severity": severity}
                items.append(item.model_copy(update={"meta": meta}))
    return items


def strictness_items(
    rows: Iterable[Row], catalogue: Catalogue, pairs: Sequence[tuple[float, float]], standard: float, seed: int
) -> list[Item]:
    """Strict/lenient pairs over pairs of thresholds (strict < lenient): the lenient configuration is chosen.

    Subset "between": the severity lies between the thresholds, so the labels differ; otherwise "outside".
    """
    items = []
    for row in rows:
        rng, facts = Random(f"{seed}:{row.id}"), catalogue.facts(row, standard)
        for category in _graded(row, catalogue):
            others = [c for c, _, known in absent_categories(row, facts, category, catalogue, False) if known]
            for strict, lenient in ((min(p), max(p)) for p in pairs):
                config = shuffle(_fill(as_category(category), others, rng.choice((1, 2)), rng), rng)
                items += _strictness_pair(row, category, config, strict, lenient)
    return items


def full_items(rows: Iterable[Row], catalogue: Catalogue, threshold: float, seed: int) -> list[Item]:
    """Each row under the whole standard configuration of its taxonomy, held-out categories included."""
    items = []
    for row in rows:
        config, label = standard_item(row, catalogue.facts(row, threshold), catalogue, held_out=True)
        if label is not None:
            items.append(_item(row, "full", "standard", config, label, "all", Random(f"{seed}:{row.id}")))
    return items


def absent_categories(
    row: Row, facts: Facts, category: TaxonomyCategoryLike, catalogue: Catalogue, unseen: bool
) -> list[tuple[Category, bool, bool]]:
    """Categories that a row is known not to violate, each with (held out, of the row's own taxonomy).

    They come from the row's taxonomy, unrelated to `category`, and from topics whose lexicon does not match the
    response. Held-out ones are listed only where `unseen`.
    """
    home = [
        (c, True)
        for c in catalogue.taxonomy(row.taxonomy)
        if c.key in facts.absent and c.key not in category.related and category.key not in c.related
    ]
    away = [] if row.taxonomy == TOPICS or not catalogue.has(TOPICS) else catalogue.taxonomy(TOPICS)
    closed = facts.families | facts.near
    both = home + [(c, False) for c in away if closed.isdisjoint(c.families)]
    return [
        (as_category(c), catalogue.is_held_out(c), own)
        for c, own in both
        if c.key != category.key and (unseen or not catalogue.is_held_out(c))
    ]


def _conditional_pair(
    row: Row,
    category: TaxonomyCategoryLike,
    options: Sequence[tuple[Category, bool, bool]],
    size: int,
    unseen: bool,
    rng: Random,
) -> list[Item]:
    home = [c for c, held_out, own in options if held_out == unseen and own]
    away = [c for c, held_out, own in options if held_out == unseen and not own]
    source = home if home and (not away or rng.random() < HOME_RATE) else away
    if not source:
        return []
    other = rng.choice(source)
    rest = [c for c, _, _ in options if c.key != other.key]
    config = shuffle(_fill(as_category(category), rest, size, rng), rng)
    swapped = replace(config, category.key, other)
    pair = f"conditional:{row.id}:{category.key}"
    meta = {"category": category.key, "severity": row.harms[category.key], "replacement": other.key}
    return [
        _ranked(row, f"{pair}:without", swapped, "safe", category.key, pair, "chosen", meta),
        _ranked(row, f"{pair}:with", config, "unsafe", category.key, pair, "rejected", meta),
    ]


def _strictness_pair(
    row: Row, category: TaxonomyCategoryLike, config: Sequence[Category], strict: float, lenient: float
) -> list[Item]:
    severity = row.harms[category.key]
    pair = f"strictness:{row.id}:{category.key}:{strict:g}-{lenient:g}"
    subset = "between" if strict <= severity < lenient else "outside"
    meta = {"category": category.key, "severity": severity, "strict": strict, "lenient": lenient}
    sides: list[tuple[str, float, Literal["chosen", "rejected"]]]
    sides = [("lenient", lenient, "chosen"), ("strict", strict, "rejected")]
    return [
        _ranked(
            row,
            f"{pair}:{side}",
            replace(config, category.key, threshold_category(category, t)),
            _at(severity, t),
            subset,
            pair,
            rank,
            {**meta, "threshold": t},
        )
        for side, t, rank in sides
    ]


def _graded(row: Row, catalogue: Catalogue) -> list[TaxonomyCategoryLike]:
    taxonomy = catalogue.taxonomy(row.taxonomy)
    return [c for c in taxonomy if c.levels and c.key in row.harms and not catalogue.is_held_out(c)]


def _fill(category: Category, others: Sequence[Category], size: int, rng: Random) -> list[Category]:
    """`category` and others, `size` in all where there are enough."""
    return [category, *rng.sample(list(others), min(len(others), size - 1))]


def _at(severity: float, threshold: float) -> Label:
    return "unsafe" if severity >= threshold else "safe"


def _item(row: Row, kind: str, name: str, config: Sequence[Category], label: Label, subset: str, rng: Random) -> Item:
    return Item(
        id=f"{kind}:{row.id}:{name}",
        prompt_id=row.prompt_id,
        messages=row.messages,
        config=shuffle(config, rng),
        label=label,
        subset=subset,
        cut=row.cut,
        meta={"category": name, "severity": row.harms.get(name)} if name in row.harms else {},
    )


def _ranked(
    row: Row,
    identity: str,
    config: Sequence[Category],
    label: Label,
    subset: str,
    pair: str,
    rank: Literal["chosen", "rejected"],
    meta: dict[str, Any],
) -> Item:
    return Item(
        id=identity,
        prompt_id=row.prompt_id,
        messages=row.messages,
        config=list(config),
        label=label,
        subset=subset,
        pair=pair,
        rank=rank,
        cut=row.cut,
        meta=meta,
    )
