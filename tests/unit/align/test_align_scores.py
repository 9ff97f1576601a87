"""Scores against their formulas, and the clustered bootstrap."""

import numpy as np
import pytest

from csrm.align.metrics import TERMS, compare, summarise
from csrm.align.schema import Judgement
from csrm.align.scores import cosa_product_0_5, cosa_score, outcome_shares
from csrm.bench.bootstrap import bootstrap_difference, bootstrap_mean
from csrm.settings import MetricSettings

H, S = [1.0, 0.4, 0.0, 0.8], [1, 0, 1, 1]
METRICS = MetricSettings.model_validate({"bootstrap": 200})


def judgement(number: int, safe: bool | None, h: float | None, on_topic: bool | None = True) -> Judgement:
    return Judgement(
        id=str(number), prompt_id=f"p{number // 2}", safe=safe, helpfulness=h, refused=h == 0, on_topic=on_topic
    )


def test_scores_equal_their_formulas() -> None:
    assert cosa_score(H, S) == pytest.approx((1.0 - 0.4 + 0 + 0.8) / 4)
    assert cosa_product_0_5(H, S) == pytest.approx((5.0 + 0 + 0 + 4.0) / 4)
    shares = [float(x.mean()) for x in outcome_shares(H, S)]
    assert shares == [0.5, 0.25, 0.25, 0.0]


@pytest.mark.parametrize(("h", "s"), [([1.2], [1]), ([0.5], [-1]), ([0.5, 0.5], [1]), ([], [])])
def test_scores_reject_other_scales(h: list[float], s: list[int]) -> None:
    with pytest.raises(ValueError):
        cosa_score(h, s)


def test_bootstrap_resamples_prompts() -> None:
    values = np.repeat(np.random.default_rng(0).random(12), 50)
    clusters = [str(i) for i in np.repeat(np.arange(12), 50)]
    repeated = bootstrap_mean(values, clusters, 500, 0.95, np.random.default_rng(1))
    single = bootstrap_mean(values[::50], clusters[::50], 500, 0.95, np.random.default_rng(1))
    assert (repeated.n, repeated.n_prompts) == (600, 12)
    assert repeated.low == pytest.approx(single.low) and repeated.high == pytest.approx(single.high)
    assert repeated.low < repeated.value < repeated.high


def test_a_mean_at_the_end_of_its_range_has_an_exact_interval() -> None:
    found = bootstrap_mean([1.0] * 8, list("aabbccdd"), 100, 0.95, np.random.default_rng(0))
    assert (found.value, found.low, found.high) == (1, pytest.approx(0.025 ** (1 / 4)), 1)


def test_paired_difference_uses_shared_prompts_only() -> None:
    rng = np.random.default_rng(0)
    found = bootstrap_difference([0, 0, 9], ["a", "b", "x"], [1, 1], ["a", "b"], 100, 0.9, rng)
    assert (found.value, found.low, found.high, found.n, found.n_prompts) == (1, None, None, 2, 2)
    with pytest.raises(ValueError, match="paired difference"):
        bootstrap_difference([0], ["a"], [1], ["b"], 10, 0.9, rng)


def test_summary_counts_invalid_verdicts_and_bounds_the_score() -> None:
    rows = [judgement(0, True, 1.0), judgement(1, False, 0.5), judgement(2, None, 0.3), judgement(3, True, 0.0)]
    result = summarise(rows, METRICS, 0)
    assert result["invalid"] == 1
    assert result["safety"]["value"] == pytest.approx(2 / 3)
    assert result["cosa_score"]["value"] == pytest.approx(0.5 / 3)
    assert result["cosa_score_bounds"] == pytest.approx([(0.5 - 1) / 4, (0.5 + 1) / 4])
    assert result["refused"]["n"] == 4
    with pytest.raises(ValueError, match="none of 1"):
        summarise(rows[2:3], METRICS, 0)


def test_comparison_reports_difference_subsets_and_anchors() -> None:
    before = [judgement(i, i % 4 < 2, 0.5, on_topic=i < 4) for i in range(8)]
    after = [judgement(i, True, 0.5, on_topic=i < 4) for i in range(8)]
    result = compare(before, after, METRICS, 0)
    assert result["all"]["difference"]["safety"]["value"] == pytest.approx(0.5)
    assert result["on_topic"]["before"]["safety"]["n"] == 4
    assert result["anchors"]["refusal_only"]["safety"] == 1 and result["anchors"]["refusal_only"]["cosa_score"] == 0
    assert result["anchors"]["comply_always"]["cosa_score"] == 0 and result["anchors"]["comply_always"]["safety"] == 0.5
    assert set(TERMS) < set(result["all"]["after"])
    assert compare(before[:4], after[:4], METRICS, 0)["off_topic"] is None


def test_a_prompt_without_a_verdict_on_its_topic_is_on_neither_side_and_counted() -> None:
    topics = [True, True, None, None, False, False]
    before = [judgement(i, True, 0.5, on_topic) for i, on_topic in enumerate(topics)]
    after = [judgement(i, True, 0.6, on_topic) for i, on_topic in enumerate([*topics[:5], None])]
    result = compare(before, after, METRICS, 0)
    assert result["unknown_topic"] == {"before": 2, "after": 3}
    assert result["on_topic"]["before"]["safety"]["n"] == 2 and result["all"]["before"]["safety"]["n"] == 6
    assert result["anchors"]["comply_always"]["safety"] == 0.5 and result["anchors"]["refusal_only"]["safety"] == 1
    unknown = [judgement(i, True, 0.5, None) for i in range(4)]
    assert [*compare(unknown, unknown, METRICS, 0)["anchors"]] == ["refusal_only"]


def test_an_invalid_rating_is_counted_and_bounded_as_an_invalid_verdict_on_compliance() -> None:
    rows = [judgement(0, True, 1.0), judgement(1, False, 0.5), judgement(2, True, None)]
    result = summarise(rows, METRICS, 0)
    assert (result["invalid"], result["helpfulness"]["n"]) == (1, 2)
    assert result["cosa_score_bounds"] == pytest.approx([(0.5 - 1) / 3, (0.5 + 1) / 3])
