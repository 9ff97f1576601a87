from itertools import combinations

import augment_fakes as fakes

from csrm.augment import evaluation

CATALOGUE = fakes.catalogue()
ROWS = fakes.rows(80)
BY_ID = {row.id: row for row in ROWS}


def keys(item):
    return [c.key for c in item.config]


def pairs_of(items):
    pairs = {}
    for item in items:
        if item.pair:
            pairs.setdefault(item.pair, {})[item.rank] = item
    return pairs


def test_conditional_pairs_differ_in_one_category():
    items = evaluation.conditional_items(ROWS, CATALOGUE, 0.5, seed=0)
    pairs = pairs_of(items)
    assert len(pairs) > 20 and len({i.id for i in items}) == len(items)
    for sides in pairs.values():
        chosen, rejected = sides["chosen"], sides["rejected"]
        assert (chosen.label, rejected.label) == ("safe", "unsafe")
        gone, new = set(keys(rejected)) - set(keys(chosen)), set(keys(chosen)) - set(keys(rejected))
        assert gone == {chosen.subset} and len(new) == 1 and len(keys(chosen)) == len(keys(rejected))
        row = BY_ID[chosen.id.split(":")[1]]
        assert not CATALOGUE.facts(row, 0.5).violated & set(keys(chosen))
        assert not set(fakes.HELD_OUT) & {*keys(chosen), *keys(rejected)}
    benign = [i for i in items if i.subset == "benign"]
    assert benign and all(i.label == "safe" for i in benign)
    assert "benign:t1:trains" in {i.id for i in benign}


def test_unseen_pairs_have_a_novel_category_on_both_sides():
    pairs = pairs_of(evaluation.conditional_items(ROWS, CATALOGUE, 0.5, seed=0, unseen=True))
    assert pairs
    for sides in pairs.values():
        assert sides["chosen"].subset in fakes.HELD_OUT
        assert all(set(fakes.HELD_OUT) & set(keys(item)) for item in sides.values())


def test_threshold_items_follow_severity():
    items = evaluation.threshold_items(ROWS, CATALOGUE, [0.5, 0.75], 0.5, seed=0)
    assert {i.subset for i in items} == {"t=0.5", "t=0.75"}
    for item in items:
        assert item.label == ("unsafe" if item.meta["severity"] >= item.meta["threshold"] else "safe")
        assert not set(fakes.HELD_OUT) & set(keys(item))


def test_strictness_items_rank_and_partition():
    thresholds = [0.25, 0.5, 0.75, 1.0]
    items = evaluation.strictness_items(ROWS, CATALOGUE, list(combinations(thresholds, 2)), 0.5, seed=0)
    for sides in pairs_of(items).values():
        lenient, strict = sides["chosen"], sides["rejected"]
        assert lenient.meta["threshold"] > strict.meta["threshold"]
        assert (lenient.subset == "between") == (lenient.label != strict.label)
        assert len(set(keys(lenient)) ^ set(keys(strict))) == 2


def test_full_items_and_determinism():
    items = evaluation.full_items(ROWS, CATALOGUE, 0.5, seed=0)
    assert {i.label for i in items} == {"safe", "unsafe"}
    assert any("secret" in keys(i) for i in items)
    for build in (evaluation.full_items, evaluation.conditional_items):
        assert build(ROWS, CATALOGUE, 0.5, 1) == build(ROWS, CATALOGUE, 0.5, 1) != build(ROWS, CATALOGUE, 0.5, 2)
        alone = {i.id: i for i in build(ROWS[5:9], CATALOGUE, 0.5, 1)}
        assert alone.items() <= {i.id: i for i in build(ROWS, CATALOGUE, 0.5, 1)}.items()
