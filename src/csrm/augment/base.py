"""Base CLS data: each conversation under the standard configuration of its taxonomy (CSRM section 4.1, Table 1)."""

from collections import Counter
from collections.abc import Iterable
from random import Random

from csrm.augment.catalogue import Catalogue, Facts, as_category
from csrm.augment.configs import cap, show, shuffle, without
from csrm.augment.labels import eq1
from csrm.configs.safety_config import Category
from csrm.rows import Branch, Group, Label, Row
from csrm.settings import AugmentSettings


def build(
    rows: Iterable[Row], catalogue: Catalogue, settings: AugmentSettings, rng: Random
) -> tuple[list[Group], Counter[str]]:
    """One group and one branch a row, and counts: labels, drops by reason.

    A standard configuration of more than `max_standard` categories is shown in part; violated categories stay.

    Categories whose status is unknown (related to a violated one in non-exhaustive labels) are left out. The whole
    configuration is shown with guidelines with probability `guideline_rate`, otherwise by names alone.
    """
    groups: list[Group] = []
    counts: Counter[str] = Counter()
    for row in rows:
        facts = catalogue.facts(row, settings.standard_threshold)
        if catalogue.excludes(row, facts):
            counts["dropped: violates a held-out family"] += 1
            continue
        config, label = standard_item(row, facts, catalogue)
        if label is None:
            counts["dropped: label under the standard configuration is unknown"] += 1
            continue
        config = cap(config, settings.max_standard, facts.violated, rng)
        rate = 1.0 if rng.random() < settings.guideline_rate else 0.0
        config = shuffle(config, rng) if settings.shuffle else config
        branch = Branch(config=show(config, rate, rng), label=label, source="base")
        groups.append(Group(id=f"base:{row.id}", prompt_id=row.prompt_id, messages=row.messages, branches=[branch]))
        counts["groups"] += 1
        counts[f"branches labelled {label}"] += 1
    return groups, counts


def standard_item(
    row: Row, facts: Facts, catalogue: Catalogue, held_out: bool = False
) -> tuple[list[Category], Label | None]:
    """The standard configuration for a row and its label; None where the labels do not determine it.

    A row that is known to be unsafe without saying why is unsafe under the whole taxonomy, and unknown under a part.

    Args:
        row: the conversation.
        facts: what is known of it.
        catalogue: the taxonomies.
        held_out: whether held-out categories belong to the configuration (evaluation only).
    """
    whole = [as_category(c) for c in catalogue.taxonomy(row.taxonomy)]
    config = whole if held_out else catalogue.standard(row.taxonomy)
    if row.safe is False and not facts.violated and not row.exhaustive:
        return config, "unsafe" if len(config) == len(whole) and not row.harms else None
    config = without(config, facts.unknown)
    return config, eq1(config, facts.violated) if config else None
