"""CoSAlign: golden error scores, golden pair counts, codecs and configuration modes."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, permutations, product

import pytest
from scipy.stats import chisquare

from csrm.cosa.codecs import INVALID, NAMES, decode_group, decode_set, encode_group, encode_set
from csrm.cosa.synthesis import (
    MODES,
    SEEN,
    Harm,
    Response,
    collapse,
    draw_configs,
    error_tenths,
    pair_groups,
    sample_config,
)

LETTERS = {
    "V": Harm.VIOLENCE,
    "P": Harm.PRIVACY,
    "F": Harm.FINANCIAL,
    "D": Harm.DRUGS,
    "S": Harm.SEXUAL,
    "O": Harm.OTHER,
}


def harms(letters: str) -> frozenset[Harm]:
    return frozenset(LETTERS[letter] for letter in letters)


GOLDEN = [
    ("V", "", 1, 0),
    ("V", "", 0, 10),
    ("V", "V", 1, 1),
    ("V", "V", 0, 11),
    ("V", "P", 1, 30),
    ("V", "O", 1, 30),
    ("V", "VP", 1, 31),
    ("V", "DS", 1, 30),
    ("V", "PD", 1, 60),
    ("", "", 0, 10),
    ("", "V", 1, 30),
    ("VF", "VF", 1, 2),
]


@pytest.mark.parametrize(("allowed", "found", "addressed", "tenths"), GOLDEN)
def test_error_scores_match_the_golden_vectors(allowed: str, found: str, addressed: int, tenths: int) -> None:
    assert error_tenths(harms(allowed), harms(found), addressed) == tenths


def test_error_score_rejects_invalid_verdicts_and_foreign_configurations() -> None:
    with pytest.raises(ValueError, match="addressed must be 0 or 1"):
        error_tenths(harms("V"), harms(""), -1)
    with pytest.raises(ValueError, match="configurations may name"):
        error_tenths(harms("O"), harms(""), 1)


def test_collapse_counts_unseen_harms_once() -> None:
    assert collapse(harms("VDS")) == {Harm.VIOLENCE, Harm.OTHER}


GROUPS = [Response(harms(h), a) for h, a in (("", 0), ("", 1), ("V", 1), ("VP", 1), ("O", 1), ("V", 0))]


@pytest.mark.parametrize(("allowed", "counts"), [("V", (14, 0, 1)), ("", (9, 1, 5)), ("VP", (15, 0, 0))])
def test_pairing_matches_the_golden_counts(allowed: str, counts: tuple[int, int, int]) -> None:
    pairing = pair_groups(GROUPS, harms(allowed))
    assert (len(pairing.pairs), pairing.ties, pairing.violations) == counts
    for chosen, rejected in pairing.pairs:
        scores = [error_tenths(harms(allowed), GROUPS[i].harms, GROUPS[i].addressed) for i in (chosen, rejected)]
        assert scores[0] < min(scores[1], 30)


def test_codecs_round_trip_for_every_label_and_pair() -> None:
    sets = [frozenset(c) for size in (0, 1, 2) for c in combinations(Harm, size)]
    for found in sets:
        assert decode_set(encode_set(found)) == found
        for addressed in (0, 1):
            group = Response(found, addressed)
            assert decode_group(encode_group(group)) == group
    assert encode_set([]) == "--"
    assert encode_group(None) == INVALID and decode_group(INVALID) is None


def test_codecs_read_names_with_commas_and_hyphens() -> None:
    raw = f"(-{NAMES[Harm.DRUGS]}-{NAMES[Harm.WEAPONS]}-, 1)"
    assert decode_group(raw) == Response(frozenset({Harm.DRUGS, Harm.WEAPONS}), 1)
    assert encode_set([Harm.DRUGS]) == "-Illegal Drug_Related Activities and Substance Abuse-"


@pytest.mark.parametrize("text", ["Violence", "-Nonsense-", "-"])
def test_codecs_reject_malformed_sets(text: str) -> None:
    with pytest.raises(ValueError, match="category set"):
        decode_set(text)


@pytest.mark.parametrize("text", ["(-Violence-)", "(-Violence-, 2)"])
def test_codecs_reject_malformed_groups(text: str) -> None:
    with pytest.raises(ValueError, match="group key"):
        decode_group(text)


@pytest.mark.parametrize("letters", ["", "V", "VP"])
def test_modes_keep_their_promises(letters: str) -> None:
    rng, risk = random.Random(1), harms(letters)
    for _ in range(200):
        assert set(sample_config("exact_match", risk, rng)) == risk
        assert risk <= set(sample_config("superset", risk, rng)) <= SEEN
        assert sample_config("safe", risk, rng) == ()
        allowed = set(sample_config("not_superset", risk, rng))
        assert allowed == set() if not risk else not risk <= allowed


def evenly(drawn: Sequence[object], expected: Sequence[object]) -> None:
    """Every expected outcome, and no other, is drawn about equally often."""
    counts = Counter(drawn)
    assert set(counts) == set(expected)
    assert len(expected) < 2 or chisquare([counts[outcome] for outcome in expected]).pvalue > 1e-3, counts


@pytest.mark.parametrize("letters", ["", "V", "VP", "VPF"])
def test_sizes_are_uniform_and_labels_and_orders_equally_likely(letters: str) -> None:
    rng, risk = random.Random(2), harms(letters)
    absent = sorted(SEEN - risk)
    added = [sample_config("superset", risk, rng) for _ in range(4000)]
    sizes = range(len(absent) + 1)
    evenly([len(drawn) - len(risk) for drawn in added], sizes)
    evenly([label for drawn in added for label in drawn if label not in risk], absent)
    evenly([drawn for drawn in added if len(drawn) == len(risk)], [*permutations(sorted(risk))])
    evenly([drawn for drawn in added if len(drawn) == len(SEEN)], [*permutations(sorted(SEEN))])
    evenly([sample_config("exact_match", risk, rng) for _ in range(4000)], [*permutations(sorted(risk))])
    mixed = [sample_config("not_superset", risk, rng) for _ in range(4000 if risk else 0)]
    evenly([(len(risk & {*drawn}), len({*drawn} - risk)) for drawn in mixed], [*product(range(len(risk)), sizes)])
    evenly([label for drawn in mixed for label in drawn if label in risk], sorted(risk) * (len(risk) > 1))
    pairs = [tuple(drawn) for drawn in mixed if len(drawn) == len({*drawn} - risk) == 2]
    evenly(pairs, [*permutations(absent, 2)] if risk else [])


def test_empty_configurations_are_deduplicated_on_request() -> None:
    prompts = [("harmless", harms("")), ("violent", harms("V")), ("drugs", harms("D"))]
    draws = list(draw_configs(prompts, random.Random(0), dedup_empty_configs=False))
    assert [d.mode for d in draws] == [m for m in MODES for _ in range(2)]  # the prompt outside T is skipped
    assert sum(d.prompt_id == "harmless" and not d.allowed for d in draws) >= 3
    unique = list(draw_configs(prompts, random.Random(0)))
    for prompt_id in ("harmless", "violent"):
        assert sum(d.prompt_id == prompt_id and not d.allowed for d in unique) == 1
