from collections import Counter
from random import Random

import augment_fakes as fakes
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from csrm.augment import base, cca
from csrm.augment.catalogue import bank_sample
from csrm.augment.cca_statistics import statistics
from csrm.augment.configs import PERMISSIONS
from csrm.augment.encoder import HashEncoder
from csrm.augment.labels import eq1
from csrm.augment.proposers import BankProposer

CATALOGUE = fakes.catalogue()
ENCODER = HashEncoder()
ROWS = fakes.rows()
BY_ID = {row.id: row for row in ROWS}


def ids(bank):
    return {c.id for c in bank}


def build(seed=0, **fields):
    settings = fakes.settings(**fields)
    proposer = BankProposer(CATALOGUE.bank(), ENCODER, settings)
    return cca.build(ROWS, CATALOGUE, proposer, settings, Random(seed))


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 3),
)
def test_every_branch_obeys_eq1_and_the_cap(seed, size, drop, positive, negative, contrasts):
    groups, counts = build(
        seed,
        max_categories=size,
        drop_rate=drop,
        insert_positive=positive,
        insert_negative=negative,
        contrasts=contrasts,
    )
    assert counts["groups"] == len(groups) > 0
    for group in groups:
        row = BY_ID[group.id.removeprefix("cca:")]
        facts = CATALOGUE.facts(row, 0.5)
        for branch in group.branches:
            keys = [c.key for c in branch.config]
            assert 1 <= len(keys) <= size and len(set(keys)) == len(keys)
            bank = {k.split(":")[1].rsplit("-", 1)[0] for k in keys if k.startswith("bank:")}
            assert not facts.unknown & set(keys), "a category of unknown status entered a configuration"
            assert not facts.near - facts.families & bank or facts.refusal
            truth = bool(facts.violated & set(keys)) or bool(bank & facts.families) or "refusal" in bank & facts.near
            assert branch.label == ("unsafe" if truth else "safe")
        for chosen, rejected in group.pairs:
            assert group.branches[chosen].label == "safe" and group.branches[rejected].label == "unsafe"
        assert not any(word in group.model_dump_json(include={"branches"}).lower() for word in fakes.HELD_OUT)


def test_a_contrast_is_in_one_group_and_of_one_size_where_the_taxonomy_suffices():
    groups, counts = build(max_categories=4, contrasts=1, matched_negatives=0.0)
    pairs = [group for group in groups if group.pairs]
    assert len(pairs) > 20
    uneven = [group.id for group in pairs if len({len(branch.config) for branch in group.branches}) > 1]
    assert all(BY_ID[name.removeprefix("cca:")].taxonomy == "flat" for name in uneven), "it has two categories in all"
    assert counts["flips unsafe to safe"] > 0 and counts["flips safe to unsafe"] > 0
    assert counts["dropped: violates a held-out family"] > 0
    assert counts["dropped: no category is known to be present or absent"] == 1


def test_refusals_become_unsafe_where_refusing_is_forbidden():
    (group,) = (g for g in build()[0] if g.id == "cca:r0")
    unsafe = [b for b in group.branches if b.label == "unsafe"]
    assert unsafe and any(c.key.startswith("bank:refusal") for c in unsafe[0].config)


def test_permissions_turn_clauses_and_no_label():
    groups, _ = build(permit_rate=1.0, contrasts=1, max_categories=1)
    permitted = 0
    for group in groups:
        if {branch.label for branch in group.branches} != {"safe", "unsafe"}:
            continue
        sides = {branch.label: branch.config for branch in group.branches}
        names = {label: {c.name for c in config} for label, config in sides.items()}
        assert names["safe"] == names["unsafe"], "the names alone tell the sides apart"
        strict = [{c.name for c in config if c.guideline not in PERMISSIONS} for config in sides.values()]
        assert not strict[0] & strict[1]
        permitted += 1
    assert permitted > 10
    plain = {g.id: [(b.label, *b.config) for b in g.branches] for g in build(contrasts=1, max_categories=1)[0]}
    assert set(plain) == {group.id for group in groups}, "permissions decide which conversations are kept"


def test_one_label_keeps_no_contrast():
    groups, _ = build(both_labels=False)
    assert all(len({branch.label for branch in group.branches}) == 1 and not group.pairs for group in groups)
    assert {branch.label for group in groups for branch in group.branches} == {"safe", "unsafe"}


def test_without_meaning_every_category_that_the_labels_allow_is_drawn():
    def positives(**fields):
        branches = [b for g in build(contrasts=8, **fields)[0] for b in g.branches if b.label == "unsafe"]
        return {c.key for b in branches for c in b.config if c.key.startswith("bank:")}

    assert positives(semantic=False) > positives()


def test_names_are_paraphrased_at_the_rate_asked_for():
    names = {rate: shown_names(paraphrase_rate=rate) for rate in (0.0, 1.0)}
    assert names[0.0] <= {c.name for c in CATALOGUE.bank()} and names[1.0] <= {c.paraphrase for c in CATALOGUE.bank()}


def shown_names(**fields):
    configs = [b.config for g in build(**fields)[0] for b in g.branches]
    return {c.name for config in configs for c in config if c.key.startswith("bank:")}


def test_same_seed_same_groups():
    assert build(3)[0] == build(3)[0] != build(4)[0]


def test_contrast_pairs_can_be_switched_off():
    assert not any(group.pairs for group in build(contrast_pairs=False)[0])


def test_base_holds_the_whole_standard_configuration():
    groups, counts = base.build(ROWS, CATALOGUE, fakes.settings(max_standard=6), Random(0))
    assert counts["branches labelled unsafe"] > 0 and counts["branches labelled safe"] > 0
    for group in groups:
        row, (branch,) = BY_ID[group.id.removeprefix("base:")], group.branches
        facts = CATALOGUE.facts(row, 0.5)
        keys = {c.key for c in branch.config}
        assert keys == {c.key for c in CATALOGUE.standard(row.taxonomy)} - facts.unknown
        assert branch.label == eq1(branch.config, facts.violated)
        assert not keys & set(fakes.HELD_OUT)


def test_related_categories_of_a_violation_are_unknown():
    facts = CATALOGUE.facts(fakes.row("x", "harms", "x", harms={"gore": 0.75}), 0.5)
    assert facts.violated == {"gore"} and facts.unknown == {"cruelty"}
    assert facts.absent == {"fraud", "spying", "secret"} and "cruelty" in facts.near
    assert not CATALOGUE.facts(fakes.row("x", "flat", "x", harms={"gore": 1.0}, exhaustive=True), 0.5).unknown


def test_unsafe_without_a_reason_is_known_only_under_the_whole_taxonomy():
    row = fakes.row("x", "harms", "x", safe=False)
    facts = CATALOGUE.facts(row, 0.5)
    assert base.standard_item(row, facts, CATALOGUE)[1] is None
    assert base.standard_item(row, facts, CATALOGUE, held_out=True)[1] == "unsafe"


def test_empty_bank_is_named():
    with pytest.raises(ValueError, match="bank is empty"):
        BankProposer([], ENCODER, fakes.settings())


def test_statistics_add_up():
    groups, counts = build(contrasts=3)
    found = statistics(counts)
    assert found["groups"] == len(groups) and found["pairs"] == sum(len(g.pairs) for g in groups)
    branches = [(b.label, bool(CATALOGUE.facts(BY_ID[g.id[4:]], 0.5).violated)) for g in groups for b in g.branches]
    assert found["flips"]["safe to unsafe"]["count"] == branches.count(("unsafe", False)) > 0
    unsafe_to_safe = found["flips"]["unsafe to safe"]
    assert unsafe_to_safe["count"] == branches.count(("safe", True)) > 0
    assert unsafe_to_safe["rate"] == pytest.approx(branches.count(("safe", True)) / sum(v for _, v in branches))
    for side in found["proposals"].values():
        assert side["requests"] == side["proposed"] + side["none"] == 3 * len(groups)
        assert side["accepted"] == side["proposed"] and not side["rejected"] and 0 <= side["none_rate"] <= 1
    assert sum(found["dropped"].values()) + len(groups) == len(ROWS)


def test_statistics_of_nothing_have_no_rates():
    found = statistics({})
    assert found["flips"]["safe to unsafe"] == {"count": 0, "branches": 0, "rate": None}
    assert found["proposals"]["p-"]["accepted_rate"] is None


@pytest.mark.parametrize("size", [1, 7, 20, 34])
def test_bank_samples_are_stratified_nested_and_seeded(size):
    bank = CATALOGUE.bank()
    sample = bank_sample(bank, size, 0)
    assert len(sample) == size and sample == bank_sample(bank, size, 0) and ids(sample) <= ids(bank)
    assert ids(sample) <= ids(bank_sample(bank, 34, 0)) and ids(bank_sample(bank, 7, 1)) != ids(bank_sample(bank, 7, 0))
    counts = Counter(c.family for c in sample)
    families = {c.family for c in bank}
    assert max(counts.values()) - min(counts[f] for f in families) <= 1  # families of five each
    assert families.isdisjoint(fakes.HELD_OUT)


def test_bank_sample_is_all_or_an_error():
    bank = CATALOGUE.bank()
    assert bank_sample(bank, None, 0) == bank and bank_sample(bank, len(bank), 3) == bank
    with pytest.raises(ValueError, match=f"choose at most {len(bank)}"):
        bank_sample(bank, len(bank) + 1, 0)


def test_conversations_without_a_contrast_are_kept_at_the_rate_asked_for():
    def single(groups):
        return sum(len({branch.label for branch in group.branches}) == 1 for group in groups)

    every, _ = build(contrasts=2)
    some, counts = build(contrasts=2, keep_uncontrasted=0.5)
    none, all_counts = build(contrasts=2, keep_uncontrasted=0.0)
    assert single(every) > single(some) > single(none) == 0
    assert counts["dropped: every configuration gives one label"] == len(every) - len(some)
    assert all_counts["dropped: every configuration gives one label"] == single(every)


def in_order(config, order):
    places = [order.index(c.key) for c in config if c.key in order]
    return places == sorted(places)


def test_categories_of_p_keep_their_order_unless_they_are_shuffled():
    row = max(ROWS, key=lambda r: len(base.standard_item(r, CATALOGUE.facts(r, 0.5), CATALOGUE)[0]))
    order = [c.key for c in base.standard_item(row, CATALOGUE.facts(row, 0.5), CATALOGUE)[0]]
    for shuffled in (True, False):
        settings = fakes.settings(shuffle=shuffled, max_standard=len(order))
        found, _ = base.build([row] * 20, CATALOGUE, settings, Random(0))
        kept = [in_order(group.branches[0].config, order) for group in found]
        assert len(order) > 2 and all(kept) is not shuffled
    groups, _ = build(max_categories=9, drop_rate=0, insert_negative=0, shuffle=False)
    unsafe = [b.config for g in groups if g.id == f"cca:{row.id}" for b in g.branches if b.label == "unsafe"]
    assert unsafe and all(in_order(config, order) for config in unsafe)


def test_unsafe_configurations_hold_p_minus_as_often_as_asked():
    def doubled(share):
        groups, _ = build(max_categories=9, insert_positive=1, insert_negative=1, insert_both=share, contrasts=3)
        branches = [b for g in groups for b in g.branches if b.label == "unsafe"]
        return sum(sum((c.key or "").startswith("bank:") for c in b.config) > 1 for b in branches), len(branches)

    (none, _), (some, n), (every, _) = doubled(0), doubled(0.5), doubled(1)
    assert none == 0 < some < every <= n
