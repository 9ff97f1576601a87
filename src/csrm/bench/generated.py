"""Benchmarks with generated configurations: the augmentation's own builders, fed with test rows."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from random import Random

from csrm.augment import evaluation, strictness_groups
from csrm.augment.catalogue import Catalogue, TaxonomyCategoryLike
from csrm.augment.encoder import TextEncoder
from csrm.augment.strictness import Backend
from csrm.augment.strictness_backends import BankBackend
from csrm.bench.registry import Benchmark
from csrm.rows import Group, Item, Row
from csrm.settings import AugmentSettings


def threshold_pairs(categories: Sequence[TaxonomyCategoryLike], settings: AugmentSettings) -> list[tuple[float, float]]:
    """(strict, lenient) pairs of the severity levels that training text uses."""
    levels = {level.severity for category in categories for level in category.levels}
    return list(combinations(sorted(levels - set(settings.held_out_thresholds)), 2))


def group_items(groups: Sequence[Group]) -> list[Item]:
    """The ranking pairs of augmentation groups as items, labelled where the branches are."""
    items = []
    for group in groups:
        for number, pair in enumerate(group.pairs):
            for rank, index in zip(("chosen", "rejected"), pair, strict=True):
                branch = group.branches[index]
                data = {
                    "id": f"{group.id}:{number}:{rank}",
                    "prompt_id": group.prompt_id,
                    "messages": branch.messages or group.messages,
                    "config": branch.config,
                    "label": branch.label,
                    "pair": f"{group.id}:{number}",
                    "rank": rank,
                }
                items.append(Item.model_validate(data))
    return items


def strictness(
    rows: Sequence[Row], catalogue: Catalogue, settings: AugmentSettings, seed: int, encoder: TextEncoder | None
) -> list[Item]:
    """Strict/lenient pairs: over human severity levels where the taxonomy has them, else over bank subcategories.

    The second kind runs Algorithm 1 on the test rows, so its order is statistical and its items have no labels.

    Raises:
        ValueError: if bank subcategories are needed and there is no encoder.
    """
    categories = catalogue.taxonomy(rows[0].taxonomy) if rows else []
    if pairs := threshold_pairs(categories, settings):
        return evaluation.strictness_items(rows, catalogue, pairs, settings.standard_threshold, seed)
    if encoder is None:
        raise ValueError("strictness pairs of a taxonomy without severity levels need --encoder")

    def backend(category: TaxonomyCategoryLike) -> Backend:
        return BankBackend(category, catalogue.bank(), encoder)

    groups, _ = strictness_groups.build(rows, catalogue, backend, settings, Random(f"{seed}:strictness"))
    cut = {_texts(row) for row in rows if row.cut}
    return [item.model_copy(update={"cut": _texts(item) in cut}) for item in group_items(groups)]


def _texts(conversation: Row | Item) -> tuple[str, ...]:
    return tuple(message.content for message in conversation.messages)


def generated_items(
    benchmark: Benchmark,
    rows: Sequence[Row],
    catalogue: Catalogue,
    settings: AugmentSettings,
    seed: int,
    encoder: TextEncoder | None = None,
) -> list[Item]:
    """Items of a benchmark whose builder generates configurations (conditional, threshold, strictness, full)."""
    standard = settings.standard_threshold
    unseen = benchmark.scope == "unseen"
    builders: Mapping[str, Callable[[], list[Item]]] = {
        "conditional": lambda: evaluation.conditional_items(rows, catalogue, standard, seed, unseen),
        "threshold": lambda: evaluation.threshold_items(rows, catalogue, settings.held_out_thresholds, standard, seed),
        "strictness": lambda: strictness(rows, catalogue, settings, seed, encoder),
        "full": lambda: evaluation.full_items(rows, catalogue, standard, seed),
    }
    return builders[benchmark.builder]()
