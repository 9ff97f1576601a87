"""Properties of what augmentation generates, over its settings, backends and held-out families."""

from random import Random

import augment_fakes as fakes
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from csrm.augment import base, cca, strictness_groups
from csrm.augment.configs import PERMISSIONS, shuffle
from csrm.augment.encoder import HashEncoder
from csrm.augment.held_out import HeldOut
from csrm.augment.labels import eq1, keys
from csrm.augment.llm_proposer import LLMProposer
from csrm.augment.llm_strictness import LLMBackend
from csrm.augment.proposers import BankProposer
from csrm.augment.strictness import run
from csrm.augment.strictness_backends import BankBackend, LevelBackend
from csrm.configs.safety_config import Category

CATALOGUE, ENCODER, ROWS = fakes.catalogue(), HashEncoder(), fakes.rows(24)
BY_ID = {row.id: row for row in ROWS}
FAMILIES = ("gore", "cruelty", "fraud", "spying", "secret", "pets", "cooking", "trains")
RATE = st.floats(0, 1)
SETTINGS = st.builds(
    fakes.settings,
    drop_rate=RATE,
    insert_positive=RATE,
    insert_negative=RATE,
    matched_negatives=RATE,
    permit_rate=RATE,
    guideline_rate=RATE,
    paraphrase_rate=RATE,
    keep_uncontrasted=RATE,
    semantic=st.booleans(),
    both_labels=st.booleans(),
    contrast_pairs=st.booleans(),
    max_categories=st.integers(1, 6),
    max_standard=st.integers(1, 6),
    contrasts=st.integers(1, 4),
    dominance=st.sampled_from((0.1, 0.3, 0.85)),
    pairs_per_conversation=st.none() | st.integers(1, 3),
)
SEEDS = st.integers(0, 10**6)
property_of = hypothesis_settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.reuse, Phase.generate),  # shrinking 17 settings takes minutes
)


def proposer(llm, settings, seed, catalogue):
    if llm:
        return LLMProposer(fakes.Scripted(seed, FAMILIES), settings.guideline_rate, HeldOut(catalogue, ENCODER))
    return BankProposer(catalogue.bank(), ENCODER, settings)


def generated(llm, settings, seed, catalogue=CATALOGUE):
    return cca.build(ROWS, catalogue, proposer(llm, settings, seed, catalogue), settings, Random(seed))[0]


def strict_and_lenient(llm, settings, seed, catalogue=CATALOGUE):
    def backend(category):
        if llm:
            return LLMBackend(category, fakes.Scripted(seed, FAMILIES), HeldOut(catalogue, ENCODER))
        if category.levels:
            return LevelBackend(category, settings.held_out_thresholds)
        return BankBackend(category, catalogue.bank(), ENCODER)

    return strictness_groups.build(ROWS, catalogue, backend, settings, Random(seed))[0]


def broken(branch, facts):
    """Keys of a branch that its conversation violates, read off the keys and names alone."""
    found = set()
    for category in branch.config:
        kind, _, rest = category.key.partition(":")
        family = rest.rsplit("-", 1)[0]
        refused = family == "refusal" and facts.refusal
        if category.key in facts.violated or (kind == "bank" and (family in facts.families or refused)):
            found.add(category.key)
        if kind == "llm" and category.name.startswith("breaks") and category.guideline not in PERMISSIONS:
            found.add(category.key)
    return {key for key in found if not key.endswith(":permitted")}


@property_of
@given(st.booleans(), SETTINGS, SEEDS)
def test_every_label_is_that_of_eq1_in_any_order(llm, settings, seed):
    for group in generated(llm, settings, seed):
        facts = CATALOGUE.facts(BY_ID[group.id.removeprefix("cca:")], settings.standard_threshold)
        for branch in group.branches:
            violated = broken(branch, facts)
            assert branch.label == ("unsafe" if violated else "safe")
            assert len(keys(branch.config)) == len(branch.config) >= 1
            assert eq1(shuffle(branch.config, Random(seed)), violated | facts.violated) == branch.label
        for chosen, rejected in group.pairs:
            assert (group.branches[chosen].label, group.branches[rejected].label) == ("safe", "unsafe")


@property_of
@given(SETTINGS, SEEDS)
def test_standard_labels_do_not_depend_on_order_and_keep_what_is_violated(settings, seed):
    for group in base.build(ROWS, CATALOGUE, settings, Random(seed))[0]:
        facts, (branch,) = CATALOGUE.facts(BY_ID[group.id.removeprefix("base:")], 0.5), group.branches
        assert eq1(shuffle(branch.config, Random(seed)), facts.violated) == branch.label
        assert facts.violated & keys(CATALOGUE.standard(BY_ID[group.id[5:]].taxonomy)) <= keys(branch.config)


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_a_larger_configuration_never_has_fewer_violations(config, more, violated):
    def label(names):
        return eq1([Category(name=name, key=name) for name in names], violated)

    assert not (label(config) == "unsafe" and label(config | more) == "safe")


@hypothesis_settings(property_of, max_examples=10)
@given(SETTINGS, SEEDS)
def test_a_stricter_configuration_never_has_fewer_known_violations(settings, seed):
    groups = strict_and_lenient(False, settings, seed)
    labels = [tuple(branch.label for branch in group.branches) for group in groups]
    assert ("safe", "unsafe") not in labels and all(group.pairs == [(1, 0)] for group in groups)
    for strict, lenient in (group.branches for group in groups):
        others = [[c for c in branch.config if "@" not in c.key] for branch in (strict, lenient)]
        assert others[0] == others[1], "the sides differ in more than one category"


@property_of
@given(st.sampled_from(("level", "bank", "llm")), SEEDS)
def test_a_stricter_rewrite_disallows_more(kind, seed):
    category = CATALOGUE.taxonomy("harms")[0]
    pool = Random(seed).sample([row for row in ROWS if row.harms.get("gore", 0) >= 0.5], 4)
    backend = {
        "level": lambda: LevelBackend(category),
        "bank": lambda: BankBackend(category, CATALOGUE.bank(), ENCODER),
        "llm": lambda: LLMBackend(category, fakes.Scripted(seed), HeldOut(CATALOGUE, ENCODER)),
    }[kind]()
    result = run(pool, backend, 0.05, 0.3)
    for strict, lenient in result.kept:
        assert set(strict.disallowed) > set(lenient.disallowed) and set(strict.allowed) < set(lenient.allowed)
        flagged = [{row.id for row in pool if backend.unsafe(row, side)} for side in (strict, lenient)]
        assert kind == "llm" or flagged[0] >= flagged[1]


@pytest.mark.parametrize("source", ["base", "cca", "cca by llm", "sa", "sa by llm"])
@hypothesis_settings(property_of, max_examples=12)
@given(st.sets(st.sampled_from(FAMILIES), min_size=1, max_size=4), SETTINGS, SEEDS)
def test_nothing_held_out_leaks(source, held_out, settings, seed):
    catalogue = fakes.catalogue(held_out)
    groups = {
        "base": lambda: base.build(ROWS, catalogue, settings, Random(seed))[0],
        "cca": lambda: generated(False, settings, seed, catalogue),
        "cca by llm": lambda: generated(True, settings, seed, catalogue),
        "sa": lambda: strict_and_lenient(False, settings, seed, catalogue),
        "sa by llm": lambda: strict_and_lenient(True, settings, seed, catalogue),
    }[source]()
    for group in groups:
        text = group.model_dump_json(include={"branches"}).lower()
        assert not [family for family in held_out if family in text]
        row = BY_ID[group.id.split(":")[1]]
        assert not held_out & {key for key, severity in row.harms.items() if severity >= settings.standard_threshold}
