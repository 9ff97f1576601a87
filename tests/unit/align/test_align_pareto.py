"""The sweep of Figure 4 and the hypervolume of its front."""

import numpy as np
import pytest

from csrm.align.hypervolume import front_areas, hypervolume
from csrm.align.pareto import best_of_n, sweep
from csrm.align.schema import Judgement, Sample
from csrm.bench.bootstrap import bootstrap_mean
from csrm.report.pareto import area_table
from csrm.rows import ScoreRow
from csrm.settings import AlignSettings, MetricSettings

METRICS = MetricSettings.model_validate({"bootstrap": 400})
SETTINGS = AlignSettings.model_validate({"sweep": [-20.0, 20.0]})
PROMPTS = 12


def test_area_of_a_hand_computed_front() -> None:
    """Steps .9 x .2, .6 x (.5 - .2), .3 x (.8 - .5); (.5, .4) is dominated."""
    safety, helpfulness = [0.6, 0.3, 0.9, 0.5], [0.5, 0.8, 0.2, 0.4]
    assert float(hypervolume(safety, helpfulness)) == pytest.approx(0.18 + 0.18 + 0.09)
    assert float(hypervolume(helpfulness, safety)) == pytest.approx(0.45)
    assert float(hypervolume([1], [1])) == 1 and float(hypervolume([0.5, 0], [0, 0.5])) == 0


def test_area_equals_the_share_of_random_points_that_some_point_dominates() -> None:
    rng = np.random.default_rng(3)
    safety, helpfulness = rng.random((5, 7)), rng.random((5, 7))
    darts = rng.random((200_000, 2))
    for x, y, area in zip(safety, helpfulness, hypervolume(safety, helpfulness), strict=True):
        dominated = ((darts[:, :1] <= x) & (darts[:, 1:] <= y)).any(1)
        assert area == pytest.approx(dominated.mean(), abs=4 * dominated.std() / len(darts) ** 0.5)


@pytest.mark.parametrize(("x", "y"), [([0.5], [4.0]), ([-0.1], [0.5]), ([0.5, 0.5], [0.5]), ([], [])])
def test_area_rejects_other_scales_and_shapes(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match=r"divide helpfulness|at least one point"):
        hypervolume(x, y)


def test_interval_of_one_point_with_helpfulness_one_is_that_of_the_mean_safety() -> None:
    safe = (np.arange(PROMPTS) % 3 > 0).astype(float)[None]
    (area,), _ = front_areas([(safe, np.ones((1, PROMPTS)))], METRICS, 0)
    clusters = [str(i) for i in range(PROMPTS)]
    mean = bootstrap_mean(safe[0], clusters, METRICS.bootstrap, METRICS.level, np.random.default_rng(0))
    assert area.value == pytest.approx(mean.value) and area.n_prompts == PROMPTS
    assert mean.low is not None and area.low == pytest.approx(mean.low, abs=0.09)


def test_prompts_are_drawn_once_for_all_fronts() -> None:
    rng = np.random.default_rng(1)
    front = ((rng.random((3, PROMPTS)) > 0.4).astype(float), rng.random((3, PROMPTS)))
    areas, differences = front_areas([front, front, (front[0], front[1] / 2)], METRICS, 0)
    assert areas[0] == areas[1]
    assert (differences[0].value, differences[0].low, differences[0].high) == (0, None, None)
    assert differences[1].value == pytest.approx(areas[0].value / 2) and differences[1].low
    assert differences[1].low == pytest.approx(areas[0].low / 2)


def test_best_of_n_keeps_one_response_a_prompt() -> None:
    assert best_of_n(["a", "b", "a", "b"], np.array([1.0, 3.0, 2.0, 3.0])) == [2, 1]


def _case() -> tuple[list[Sample], list[Judgement]]:
    """Two responses a prompt: a safe one of helpfulness .2, an unsafe one of .9."""
    samples = [
        Sample(
            id=f"{p}-{n}", prompt_id=str(p), prompt="q", config="c", sample=n, response="a", n_tokens=1, finished=True
        )
        for p in range(PROMPTS)
        for n in range(2)
    ]
    judged = [
        Judgement(
            id=s.id,
            prompt_id=s.prompt_id,
            safe=not s.sample,
            helpfulness=0.9 if s.sample else 0.2,
            refused=False,
            on_topic=True,
        )
        for s in samples
    ]
    return samples, judged


def _scores(samples: list[Sample], safe: float, unsafe: float) -> list[ScoreRow]:
    return [ScoreRow(id=s.id, log_odds=unsafe if s.sample else safe, n_tokens=1) for s in samples]


def test_a_reward_that_tells_safe_from_unsafe_dominates_more_than_a_blind_one() -> None:
    samples, judged = _case()
    knowing, blind = _scores(samples, 5.0, -5.0), _scores(samples, 0.0, 0.0)
    result = sweep(samples, knowing, judged, SETTINGS, METRICS, 0, {"blind": blind})
    assert [p["safety"]["value"] for p in result["points"]] == [1, 0]
    assert [p["helpfulness"]["value"] for p in result["points"]] == pytest.approx([0.2, 0.9])
    assert result["hypervolume"]["value"] == pytest.approx(0.2)
    assert result["hypervolume_minus"]["blind"]["value"] == pytest.approx(0.2)
    head = {"config": "c", "reward": "csrm", "scale": "smoke", "seed": 0}
    text, markdown = area_table([{**head, **result}])
    assert "c,csrm,blind,measured@smoke,0.2" in text and "| csrm minus blind |" in markdown
    assert text.count(",published,") == 3
