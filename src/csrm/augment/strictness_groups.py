"""SA training groups: one conversation under a strict and a lenient version of a category (Algorithm 1, step 6)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from csrm.augment.catalogue import Catalogue, TaxonomyCategoryLike, as_category
from csrm.augment.configs import cap, drop, insert, replace, show, without
from csrm.augment.strictness import Backend, Rewrite, Strictness, run
from csrm.configs.safety_config import Category
from csrm.rows import Branch, Group, Label, Row
from csrm.settings import AugmentSettings

BETWEEN_RATE = 0.5  # share of conversations that get, where possible, a pair on whose sides their labels differ
MakeBackend = Callable[[TaxonomyCategoryLike], Backend]


def build(
    rows: Sequence[Row],
    catalogue: Catalogue,
    make_backend: MakeBackend,
    settings: AugmentSettings,
    rng: Random,
    workers: int = 1,
) -> tuple[list[Group], dict[str, Any]]:
    """SA groups over all taxonomies and categories of the rows, and a report by category with every test."""
    groups: list[Group] = []
    report: dict[str, Any] = {}
    for taxonomy in sorted({row.taxonomy for row in rows}):
        for category in catalogue.taxonomy(taxonomy):
            name = f"{taxonomy}/{category.key}"
            labelled = [row for row in rows if row.taxonomy == taxonomy and category.key in row.harms]
            if catalogue.is_held_out(category):
                report[name] = {"skipped": "held-out family"}
                continue
            usable = [r for r in labelled if not catalogue.excludes(r, catalogue.facts(r, settings.standard_threshold))]
            largest = settings.pools.get(taxonomy, settings.pool)
            pool = draw_pool(usable, category.key, settings.standard_threshold, largest, rng)
            backend = make_backend(category)
            result = run(pool, backend, settings.alpha, settings.dominance, workers)
            made = category_groups(category, pool, usable, result, catalogue, settings, rng)
            groups += made
            found = {**result.report(), "rejected": dict(sorted(backend.notes.items()))}
            report[name] = {"pool_cap": largest, **found, "groups": len(made), "between": _between(made)}
    return groups, report


def draw_pool(rows: Iterable[Row], key: str, threshold: float, largest: int, rng: Random) -> list[Row]:
    """D_p: at most `largest` conversations that the standard guideline of category `key` calls unsafe.

    Args:
        rows: conversations that are labelled with the category.
        key: key of the category.
        threshold: severity from which the standard guideline calls a response unsafe.
        largest: cap on the pool.
        rng: source of randomness.
    """
    unsafe = [row for row in rows if row.harms.get(key, 0.0) >= threshold]
    return rng.sample(unsafe, min(len(unsafe), largest))


def statistics(report: Mapping[str, Mapping[str, Any]], settings: AugmentSettings) -> dict[str, Any]:
    """`sa_statistics.json`: the test's settings, totals, and each category's pool, rewrites, recall and tests."""
    ran = [entry for entry in report.values() if "tests" in entry]
    return {
        "backend": settings.sa_backend,
        "standard_threshold": settings.standard_threshold,
        "alpha": settings.alpha,
        "dominance": settings.dominance,
        "tested": sum(len(entry["tests"]) for entry in ran),
        "kept": sum(entry["kept"] for entry in ran),
        "groups": sum(entry["groups"] for entry in ran),
        "categories": dict(report),
    }


def category_groups(
    category: TaxonomyCategoryLike,
    pool: Sequence[Row],
    labelled: Sequence[Row],
    result: Strictness,
    catalogue: Catalogue,
    settings: AugmentSettings,
    rng: Random,
) -> list[Group]:
    """Groups of one category: the pool and, where severities are human, its milder labelled conversations too."""
    kept = result.kept
    if not kept:
        return []
    graded = result.graded
    chosen = {row.id for row in pool}
    milder = [r for r in labelled if r.harms[category.key] < settings.standard_threshold] if graded else []
    rows = [*pool, *(row for row in milder if row.id not in chosen)]
    groups = []
    for row in rows:
        for number, pair in enumerate(pick_pairs(row, category, kept, graded, settings.pairs_per_conversation, rng)):
            background = small_config(row, category, catalogue, settings, rng)
            groups.append(_group(row, category, pair, background, graded, number))
    return groups


def pick_pairs(
    row: Row,
    category: TaxonomyCategoryLike,
    kept: Sequence[tuple[Rewrite, Rewrite]],
    graded: bool,
    count: int | None,
    rng: Random,
) -> list[tuple[Rewrite, Rewrite]]:
    """At most `count` different (strict, lenient) pairs for a row; half of the draws prefer differing labels.

    All pairs where `count` is None, as the counts of Table 1 suggest.
    """
    if count is None:
        return list(kept)
    left = list(kept)
    picked: list[tuple[Rewrite, Rewrite]] = []
    while left and len(picked) < count:
        differing = [p for p in left if graded and len({label(row, category, r) for r in p}) == 2]
        choice = rng.choice(differing if differing and rng.random() < BETWEEN_RATE else left)
        left.remove(choice)
        picked.append(choice)
    return picked


def small_config(
    row: Row, category: TaxonomyCategoryLike, catalogue: Catalogue, settings: AugmentSettings, rng: Random
) -> list[Category]:
    """A configuration that holds the category and a few standard ones that the row is known not to violate."""
    facts = catalogue.facts(row, settings.standard_threshold)
    others = without(catalogue.standard(row.taxonomy), facts.unknown | facts.violated | {category.key})
    others = drop(others, settings.drop_rate, rng)
    config = cap(
        insert(rng.sample(others, len(others)), as_category(category), rng),
        rng.randint(1, settings.max_categories),
        {category.key},
        rng,
    )
    return show(config, settings.guideline_rate, rng)


def label(row: Row, category: TaxonomyCategoryLike, rewrite: Rewrite) -> Label:
    """Human label under a severity rewrite: unsafe iff the severity reaches the mildest disallowed level."""
    return "unsafe" if row.harms.get(category.key, 0.0) >= rewrite.disallowed[-1].severity else "safe"


def _group(
    row: Row,
    category: TaxonomyCategoryLike,
    pair: tuple[Rewrite, Rewrite],
    background: Sequence[Category],
    graded: bool,
    number: int,
) -> Group:
    branches = [
        Branch(
            config=replace(background, category.key, rewrite.category),
            label=label(row, category, rewrite) if graded else None,
            source="sa",
        )
        for rewrite in pair
    ]
    identity = f"sa:{row.id}:{category.key}:{number}"
    return Group(id=identity, prompt_id=row.prompt_id, messages=row.messages, branches=branches, pairs=[(1, 0)])


def _between(groups: Iterable[Group]) -> int:
    return sum(len({branch.label for branch in group.branches}) == 2 for group in groups)
