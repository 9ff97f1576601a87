"""CCA: configurable (safety) configuration augmentation (CSRM section 3.2, Eq. 1).

From the standard configuration p of a row's taxonomy, p' is built by random dropping and by inserting p+ or p-, and
labelled by Eq. 1. Each conversation gives, per contrast, an unsafe and a safe configuration of equal size in one
group, so that both meet in one batch. They share the categories that stay from p. With `permit_rate` some contrasts
also permit, in words, what the other side forbids: the names are then equal, and only the clauses differ.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random

from csrm.augment.catalogue import Catalogue, Facts
from csrm.augment.configs import cap, drop, insert, permission, show, shuffle, without
from csrm.augment.labels import eq1, keys
from csrm.augment.proposers import Case, Proposal, Proposer
from csrm.configs.safety_config import Category
from csrm.rows import Branch, Group, Row
from csrm.settings import AugmentSettings


def build(
    rows: Iterable[Row],
    catalogue: Catalogue,
    proposer: Proposer,
    settings: AugmentSettings,
    rng: Random,
    progress: Callable[[Iterable[Case]], Iterable[Case]] = iter,
) -> tuple[list[Group], Counter[str]]:
    """CCA groups of all rows, and counts for `cca_statistics`; `progress` shows how far it is."""
    groups, counts = list[Group](), Counter[str]()
    cases = _cases(rows, catalogue, settings, counts)
    proposer.prepare(cases, settings.contrasts)
    for case in progress(cases):
        group, facts = contrast_group(case, catalogue, proposer, settings, rng), case.facts
        if group is None:
            counts["dropped: no configuration could be made"] += 1
            continue
        if len({branch.label for branch in group.branches}) == 1 and rng.random() >= settings.keep_uncontrasted:
            counts["dropped: every configuration gives one label"] += 1
            continue
        if not settings.both_labels:
            group = one_label(group, rng)
        _count(group, facts, counts)
        groups.append(group)
    counts.update({f"proposer: {reason}": n for reason, n in proposer.notes.items()})
    return groups, counts


def _cases(rows: Iterable[Row], catalogue: Catalogue, settings: AugmentSettings, counts: Counter[str]) -> list[Case]:
    """The conversations that CCA can use; the others are counted by reason."""
    cases = []
    for row in rows:
        facts = catalogue.facts(row, settings.standard_threshold)
        if catalogue.excludes(row, facts):
            counts["dropped: violates a held-out family"] += 1
        elif not facts.violated and not facts.absent:
            counts["dropped: no category is known to be present or absent"] += 1
        else:
            cases.append(Case(row, facts, without(catalogue.standard(row.taxonomy), facts.unknown)))
    return cases


def contrast_group(
    case: Case, catalogue: Catalogue, proposer: Proposer, settings: AugmentSettings, rng: Random
) -> Group | None:
    """The contrasting branches of one conversation; None if none could be made."""
    row, facts, standard = case
    branches: list[Branch] = []
    own_first = rng.random() < 0.5
    proposals = proposer.proposals(case, rng)
    for number, proposal in zip(range(settings.contrasts), proposals, strict=False):
        own = (number % 2 == 0) == own_first
        branches += contrast(standard, facts, catalogue.own(row), proposal, own, settings, rng)
    if not branches:
        return None
    safe = [i for i, b in enumerate(branches) if b.label == "safe"]
    unsafe = [i for i, b in enumerate(branches) if b.label == "unsafe"]
    pairs = [(s, u) for s in safe for u in unsafe] if settings.contrast_pairs else []
    return Group(id=f"cca:{row.id}", prompt_id=row.prompt_id, messages=row.messages, branches=branches, pairs=pairs)


def one_label(group: Group, rng: Random) -> Group:
    """The group with its safe or its unsafe branches only, and so without pairs: contrast switched off."""
    label = rng.choice(sorted({str(branch.label) for branch in group.branches}))
    branches = [branch for branch in group.branches if branch.label == label]
    return group.model_copy(update={"branches": branches, "pairs": []})


def contrast(
    standard: Sequence[Category],
    facts: Facts,
    own: Iterable[str],
    proposal: Proposal,
    own_violated: bool,
    settings: AugmentSettings,
    rng: Random,
) -> list[Branch]:
    """One contrast: the branch with a violated category (if there is one), then the branch without.

    Args:
        standard: p, without categories whose status is unknown.
        facts: which categories of p are violated and absent.
        own: categories that the row is labelled with; of a row that violates none, p' keeps them half of the time.
        proposal: p+ and p-.
        own_violated: insert a violated standard category, where there is one, instead of p+.
        settings: rates and the cap; the size of p' is drawn from 1..max_categories.
        rng: source of randomness.
    """
    size = rng.randint(1, settings.max_categories)
    background = drop(standard, settings.drop_rate, rng)
    violated = [c for c in standard if c.key in facts.violated]
    absent = [c for c in standard if c.key in facts.absent]
    own_violated = bool(violated) and (own_violated or proposal.positive is None)
    inserted = rng.choice(violated) if own_violated else proposal.positive
    if own_violated and absent:
        proposal = proposal._replace(negative=None)  # standard against standard: the name alone gives nothing away
    positive_key = proposal.positive.key if proposal.positive else None
    branches = []
    if inserted is not None:
        config = _positive(background, inserted, proposal.negative, size, settings, rng)
        branches.append(_branch(config, facts, positive_key, settings, rng))
        size, background = len(config), config
    kept = set(own) if not violated and rng.random() < 0.5 else set()
    config = _negative(background, absent, facts.violated | {positive_key}, kept, proposal, size, settings, rng)
    if config:
        branches.append(_branch(config, facts, positive_key, settings, rng))
    if inserted is not None and len(branches) == 2 and settings.permit_rate and rng.random() < settings.permit_rate:
        return _permit(branches[0], branches[1], inserted, rng)
    return branches


def _permit(unsafe: Branch, safe: Branch, violated: Category, rng: Random) -> list[Branch]:
    """Each side permits what the other one forbids: the violated category, and one of the safe side."""
    forbidden = without(safe.config, keys(unsafe.config))
    first = insert(unsafe.config, permission(rng.choice(forbidden), rng), rng) if forbidden else unsafe.config
    second = insert(safe.config, permission(violated, rng), rng)
    return [unsafe.model_copy(update={"config": first}), safe.model_copy(update={"config": second})]


def _positive(
    background: Sequence[Category],
    inserted: Category,
    negative: Category | None,
    size: int,
    settings: AugmentSettings,
    rng: Random,
) -> list[Category]:
    """p' with p+ (or a violated standard category) inserted, sometimes p- as well, capped."""
    config, keep = list(background), set()
    if rng.random() < settings.insert_positive or not config:
        config, keep = insert(config, inserted, rng), {inserted.key}
    if negative is not None and rng.random() < settings.insert_both * settings.insert_negative:
        config = insert(config, negative, rng)
    return cap(config, size, keep, rng)


def _negative(
    background: Sequence[Category],
    absent: Sequence[Category],
    violated: frozenset[str | None],
    kept: set[str],
    proposal: Proposal,
    size: int,
    settings: AugmentSettings,
    rng: Random,
) -> list[Category]:
    """p' without violated categories, with p- inserted, filled with absent categories of p up to `size`."""
    config = without(background, violated)
    keep: set[str | None] = set()
    for category in (c for c in absent if c.key in kept):
        config, keep = insert(config, category, rng), keep | {category.key}
    room = len(keep) < size or not keep
    if proposal.negative is not None and room and (rng.random() < settings.insert_negative or not (config or absent)):
        config, keep = insert(config, proposal.negative, rng), keep | {proposal.negative.key}
    config = cap(config, size, keep, rng)
    spare = without(absent, keys(config))
    for category in rng.sample(spare, min(len(spare), max(0, size - len(config)))):
        config = insert(config, category, rng)
    return config


def _branch(
    config: Sequence[Category], facts: Facts, positive: str | None, settings: AugmentSettings, rng: Random
) -> Branch:
    own = [c for c in config if not (c.key or "").startswith(("bank:", "llm:"))]
    shown = {c.key: c for c in show(own, settings.guideline_rate, rng)}
    named = [shown.get(c.key, c) for c in config]
    config = shuffle(named, rng) if settings.shuffle else named
    return Branch(config=config, label=eq1(config, facts.violated, positive), source="cca")


def _count(group: Group, facts: Facts, counts: Counter[str]) -> None:
    standard = "unsafe" if facts.violated else "safe"
    counts["groups"] += 1
    counts["pairs"] += len(group.pairs)
    for branch in group.branches:
        counts[f"branches labelled {branch.label}"] += 1
        counts[f"branches of {standard} conversations"] += 1
        if branch.label != standard:
            counts[f"flips {standard} to {branch.label}"] += 1
