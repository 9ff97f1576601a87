"""Accuracy against counts by hand, and the map from raw scores to [0, 1]."""

import math

import numpy as np
import pytest
from scipy.special import expit

from csrm.align.helpfulness_metrics import PairScore, ScoreMap, evaluate_helpfulness, fit_map, pair_loss, wins
from csrm.settings import MetricSettings

METRICS = MetricSettings.model_validate({"bootstrap": 200})


def score(number: int, chosen: float, rejected: float, words: tuple[int, int] = (3, 2), prompt: str = "") -> PairScore:
    return PairScore(
        id=str(number),
        prompt_id=prompt or f"p{number}",
        dataset="even" if number % 2 == 0 else "odd",
        chosen=chosen,
        rejected=rejected,
        words_chosen=words[0],
        words_rejected=words[1],
    )


def test_accuracy_by_hand() -> None:
    """Model: win, loss, tie, win = 2.5 of 4; proxy: tie, tie, win, win = 3; longer: win, loss, loss, tie = 1.5."""
    rows = [score(0, 2, 1, (9, 1)), score(1, 1, 2, (1, 9)), score(2, 1, 1, (1, 9)), score(3, 5, -5, (4, 4))]
    proxy = [score(0, 0, 0), score(1, 0, 0), score(2, 0.5, 0), score(3, 0.9, 0.1)]
    result = evaluate_helpfulness(rows, proxy, ScoreMap(slope=1, centre=0), METRICS, 0)
    values = {name: found["value"] for name, found in result["accuracy"]["all"].items()}
    assert values == {"model": 2.5 / 4, "proxy": 0.75, "longer": 1.5 / 4, "constant": 0.5}
    assert result["accuracy"]["even"]["model"]["value"] == 0.75 and result["accuracy"]["odd"]["model"]["n"] == 2
    assert result["difference"]["proxy"]["value"] == -0.125 and result["difference"]["longer"]["value"] == 0.25
    assert result["mean_h"]["chosen"] == pytest.approx(float(expit([2, 1, 1, 5]).mean()))


def test_intervals_are_clustered_by_prompt() -> None:
    rows = [score(i, i % 2, 0.5, prompt=f"p{i % 2}") for i in range(40)]
    found = evaluate_helpfulness(rows, rows, ScoreMap(slope=1, centre=0), METRICS, 0)["accuracy"]["all"]["model"]
    assert (found["value"], found["n"], found["n_prompts"]) == (0.5, 40, 2)
    assert (found["low"], found["high"]) == (0, 1), "two prompts, one always right and one always wrong"


def test_other_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="score the same pairs"):
        evaluate_helpfulness([score(0, 1, 0)], [score(1, 1, 0)], ScoreMap(slope=1, centre=0), METRICS, 0)


def test_wins_count_ties_as_half() -> None:
    assert wins([1, 2, 3], [0, 2, 4]).tolist() == [1, 0.5, 0]


def test_the_map_is_a_sigmoid_around_the_centre() -> None:
    mapped = ScoreMap(slope=2, centre=1)
    assert mapped([1, 1.5, -1000, 1000]).tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-1)), 0, 1])
    assert np.all(np.diff(mapped(np.linspace(-3, 5, 9))) > 0)


def test_the_fitted_slope_undoes_a_change_of_scale() -> None:
    """Pairs drawn from the Bradley-Terry model with slope 1, their scores multiplied by 8 and moved by 3."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4000))
    better = rng.random(4000) < expit(first - second)
    high, low = np.where(better, first, second), np.where(better, second, first)
    fit = fit_map([score(i, 8 * a + 3, 8 * b + 3) for i, (a, b) in enumerate(zip(high, low, strict=True))])
    assert fit.map.slope == pytest.approx(1 / 8, rel=0.15)
    assert fit.map.centre == pytest.approx(3, abs=0.3)
    assert fit.loss < fit.loss_raw and fit.loss == pytest.approx(pair_loss(high - low), abs=0.01)


def test_a_perfect_ranking_keeps_a_finite_slope() -> None:
    fit = fit_map([score(i, 1 + i / 10, 0) for i in range(20)])
    assert 0 < fit.map.slope < 10 and fit.loss < fit.loss_raw


def test_a_model_no_better_than_chance_gives_one_half_everywhere() -> None:
    for rows in ([score(0, 0, 1), score(1, 0, 2)], [score(0, 1, 1), score(1, 4, 4)]):
        fit = fit_map(rows)
        assert fit.map.slope == 0 and fit.map([-9, 0, 9]).tolist() == [0.5] * 3
    with pytest.raises(ValueError, match="no pair to fit"):
        fit_map([])
