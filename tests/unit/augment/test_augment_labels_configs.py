from random import Random

import augment_fakes as fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csrm.augment import configs
from csrm.augment.labels import eq1
from csrm.configs.safety_config import Category

KEYS = st.frozensets(st.sampled_from("abcdefgh"))
CONFIGS = st.lists(st.sampled_from("abcdefgh"), unique=True).map(lambda ks: [Category(name=k, key=k) for k in ks])


@given(CONFIGS, KEYS, st.sampled_from([None, *"abxy"]), st.randoms(use_true_random=False))
def test_eq1_is_an_intersection_and_order_does_not_matter(config, violated, positive, rng):
    relevant = set(violated) | ({positive} if positive else set())
    expected = "unsafe" if any(c.key in relevant for c in config) else "safe"
    assert eq1(config, violated, positive) == expected
    assert eq1(configs.shuffle(config, rng), violated, positive) == expected


def test_eq1_needs_keys():
    with pytest.raises(ValueError, match="no key"):
        eq1([Category(name="Violence")], frozenset())


@given(CONFIGS, st.integers(1, 5), KEYS, st.randoms(use_true_random=False))
def test_cap_keeps_what_it_must_and_the_order(config, size, keep, rng):
    capped = configs.cap(config, size, keep, rng)
    kept = [c for c in config if c.key in keep]
    assert [c for c in capped if c.key in keep] == kept
    assert len(capped) == max(len(kept), min(size, len(config)))
    assert capped == [c for c in config if c in capped]


def test_pure_operations():
    a, b, c = (Category(name=n, key=n) for n in "abc")
    rng = Random(0)
    assert configs.drop([a, b, c], 0, rng) == [a, b, c]
    assert configs.drop([a, b, c], 1, rng) == []
    assert sorted(x.name for x in configs.insert([a, b], c, rng)) == ["a", "b", "c"]
    assert configs.insert([a], a, rng) == [a]
    assert configs.replace([a, b], "a", c) == [c, b]
    with pytest.raises(ValueError, match="no category"):
        configs.replace([a], "x", b)
    guided = Category(name="a", guideline="g", key="a")
    assert configs.show([guided], 0, rng)[0].guideline == "" and configs.show([guided], 1, rng) == [guided]


def test_threshold_wording():
    gore = fakes.catalogue().taxonomy("harms")[0]
    assert configs.threshold_category(gore, 0.25).guideline == "Unsafe: faint gore or worse."
    middle = "Unsafe: clear gore or worse. Allowed: faint gore."
    assert configs.threshold_category(gore, 0.5).guideline == middle
    assert configs.threshold_category(gore, 1).guideline == "Unsafe: extreme gore. Allowed: strong gore or milder."
    assert configs.threshold_category(gore, 0.75).key == "gore@0.75"
    with pytest.raises(ValueError, match="no level"):
        configs.threshold_category(fakes.catalogue().taxonomy("flat")[0], 0.5)
