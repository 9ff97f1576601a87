from itertools import pairwise
from random import Random

import augment_fakes as fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csrm.augment import strictness_groups
from csrm.augment.encoder import HashEncoder
from csrm.augment.strictness import lower_bound, run, strictness_test
from csrm.augment.strictness_backends import BankBackend, LevelBackend

CATALOGUE = fakes.catalogue()
ENCODER = HashEncoder()
SETTINGS = fakes.settings(dominance=0.3, pool=50, held_out_thresholds=[0.75])


@pytest.mark.parametrize(("exceptions", "fewest"), list(enumerate((59, 93, 124, 153, 181, 208, 234))))
def test_fewest_conversations_that_pass_at_the_papers_dominance(exceptions, fewest):
    assert lower_bound(fewest - exceptions, fewest, 0.05) > 0.95
    assert lower_bound(fewest - 1 - exceptions, fewest - 1, 0.05) <= 0.95


def test_printed_bounds_and_edges():
    assert lower_bound(59, 59, 0.05) == pytest.approx(0.95049, abs=5e-6)
    assert lower_bound(92, 93, 0.05) == pytest.approx(0.950006, abs=5e-7)
    assert lower_bound(0, 0, 0.05) == 0
    with pytest.raises(ValueError, match="0 <= k <= n"):
        lower_bound(3, 2, 0.05)


def test_test_conditions_on_the_laxer_guideline():
    k, n, bound, passed = strictness_test([True] * 10 + [False] * 2, [True] * 9 + [False, True, False], 0.05, 0.5)
    assert (k, n) == (9, 10) and bound == lower_bound(9, 10, 0.05) and passed


def make(category):
    return LevelBackend(category, [0.75]) if category.levels else BankBackend(category, CATALOGUE.bank(), ENCODER)


def build(seed=0, **fields):
    settings = SETTINGS.model_copy(update=fields)
    return strictness_groups.build(fakes.rows(200), CATALOGUE, make, settings, Random(seed))


@given(st.lists(st.sampled_from(fakes.SEVERITIES), min_size=1, max_size=30))
def test_stricter_levels_never_flag_fewer(severities):
    gore = CATALOGUE.taxonomy("harms")[0]
    pool = [fakes.row(str(i), "harms", "x", harms={"gore": s}) for i, s in enumerate(severities)]
    result = run(pool, LevelBackend(gore), 0.05, 0.5)
    flags = [[LevelBackend(gore).unsafe(r, result.rewrites[k]) for r in pool] for k in sorted(result.rewrites)]
    assert len(result.rewrites) == 4 and len(result.tests) == 6
    for lenient, strict in pairwise(flags):
        assert all(s or not f for f, s in zip(lenient, strict, strict=True))
    assert all(t.k == t.n for t in result.tests)


def test_level_groups_follow_human_severity_and_hold_thresholds_out():
    groups, report = build()
    rows = {row.id: row for row in fakes.rows(200)}
    graded = [g for g in groups if rows[g.id.split(":")[1]].taxonomy == "harms"]
    assert len(graded) > 100 and report["harms/secret"] == {"skipped": "held-out family"}
    differing = 0
    for group in graded:
        _, identity, key, _ = group.id.split(":")
        strict, lenient = group.branches
        assert group.pairs == [(1, 0)]
        thresholds = []
        for branch in group.branches:
            (category,) = (c for c in branch.config if "@" in c.key)
            assert category.key.split("@")[0] == key and "@0.75" not in category.key
            thresholds.append(float(category.key.split("@")[1]))
            assert branch.label == ("unsafe" if rows[identity].harms[key] >= thresholds[-1] else "safe")
        assert thresholds[0] < thresholds[1]
        others = [[c for c in b.config if "@" not in c.key] for b in group.branches]
        assert others[0] == others[1]
        differing += strict.label != lenient.label
    assert differing > 10
    text = "".join(g.model_dump_json(include={"branches"}) for g in groups).lower()
    assert "unsafe: strong" not in text and "secret" not in text and "pets" not in text


def test_bank_groups_rank_only_and_report_every_test():
    groups, report = build()
    flat = [g for g in groups if g.id.split(":")[1].startswith("f")]
    assert flat and all(b.label is None for g in flat for b in g.branches)
    entry = report["flat/gore"]
    size = entry["proposed"] + entry["extended"]
    assert len(entry["tests"]) == (size - 1) * (size - 2) // 2 and entry["uncovered"] == 0
    assert entry["kept"] == sum(t["passed"] for t in entry["tests"])
    guideline = next(c.guideline for c in flat[0].branches[0].config if "@" in c.key)
    assert guideline.startswith("Unsafe: gore kind 5") or guideline.startswith("Unsafe: fraud kind 5")


def test_all_kept_pairs_meet_every_conversation_of_the_pool():
    groups, report = build(pairs_per_conversation=None)
    for entry in (report["flat/gore"], report["flat/fraud"]):
        assert entry["kept"] > 1 and entry["groups"] == entry["kept"] * entry["pool"]
    assert len({g.id for g in groups}) == len(groups)
    sides = [tuple(c.guideline for b in g.branches for c in b.config if "@" in c.key) for g in groups]
    assert len({(g.id.rsplit(":", 1)[0], side) for g, side in zip(groups, sides, strict=True)}) == len(groups)


def test_pool_is_capped_and_unsafe_and_groups_are_deterministic():
    rows = [r for r in fakes.rows(200) if "gore" in r.harms]
    pool = strictness_groups.draw_pool(rows, "gore", 0.5, 7, Random(0))
    assert len(pool) == 7 and all(r.harms["gore"] >= 0.5 for r in pool)
    report = build(pool=9, pools={"flat": 6})[1]
    assert report["flat/gore"]["pool"] == report["flat/gore"]["pool_cap"] == 6
    assert report["harms/gore"]["pool"] == report["harms/gore"]["pool_cap"] == 9
    assert build(1)[0] == build(1)[0] != build(2)[0]


def test_statistics_hold_every_test_and_the_recall_of_every_rewrite():
    groups, report = build(dominance=0.8)
    found = strictness_groups.statistics(report, SETTINGS)
    entries = [e for e in found["categories"].values() if "tests" in e]
    tests = [t for e in entries for t in e["tests"]]
    assert found["tested"] == len(tests) > found["kept"] == sum(t["passed"] for t in tests) > 0
    assert found["groups"] == len(groups)
    for entry in entries:
        flagged = {r["k"]: r["flagged"] for r in entry["rewrites"]}
        for test in entry["tests"]:
            assert test["lower"] == lower_bound(test["k"], test["n"], 0.05)
            assert test["n"] == flagged[test["lenient"]] and test["k"] <= flagged[test["strict"]]
        for rewrite in entry["rewrites"]:
            assert rewrite["recall"] == pytest.approx(rewrite["flagged"] / entry["pool"])
            assert rewrite["covered"] == pytest.approx(rewrite["k"] / len(entry["subcategories"]))


def test_nothing_is_kept_where_the_pool_is_too_small():
    groups, report = build(dominance=0.95, pool=20)
    assert groups == [] and report["harms/gore"]["kept"] == 0


def test_families_without_an_order_have_no_rewrites():
    topic = CATALOGUE.taxonomy("topics")[1]
    bank = [c for c in CATALOGUE.bank() if c.family != "cooking"]
    same = [c for c in CATALOGUE.bank() if c.family == "cooking"][:1] * 3
    pool = [fakes.row("a", "topics", "bread", harms={"cooking": 1.0}, exhaustive=True)] * 5
    result = run(pool, BankBackend(topic, [*bank, *same], ENCODER), 0.05, 0.5)
    assert not result.rewrites and not result.kept
