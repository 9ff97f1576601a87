"""Figure 4: safety against helpfulness under linear transforms of the safety logits.

The paper trains one policy a transform (CSRM section 4.4, Figure 4). At demo scale best-of-n selection replaces one
policy training per sweep point: for every offset b the best of a prompt's samples by sigma(a s + b) * H is kept, and
the kept responses are judged. H is the judgements' own helpfulness, so selection and evaluation share that proxy.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from csrm.align.hypervolume import front_areas
from csrm.align.metrics import TERMS
from csrm.align.rewards import align_scores, total_reward
from csrm.align.schema import Judgement, Sample
from csrm.align.scores import Floats
from csrm.bench.bootstrap import bootstrap_mean
from csrm.rows import ScoreRow
from csrm.settings import AlignSettings, MetricSettings

REPORTED = ("safety", "helpfulness", "helpfulness_0_5", "cosa_score", "cosa_product_0_5")


class Pool(NamedTuple):
    """The n responses that can be chosen: ids and prompts, helpfulness (n,) in [0, 1] and safety (n,), 0 or 1."""

    ids: list[str]
    prompts: list[str]
    helpful: Floats
    safe: Floats


def sweep(
    samples: Sequence[Sample],
    scores: Sequence[ScoreRow],
    judgements: Sequence[Judgement],
    settings: AlignSettings,
    metrics: MetricSettings,
    seed: int,
    others: Mapping[str, Sequence[ScoreRow]] | None = None,
) -> dict[str, Any]:
    """One point an offset b of `settings.sweep`, each with intervals, the front's hypervolume, and a random choice.

    Samples without text or without a valid verdict cannot be chosen and are counted.

    Args:
        samples: responses to test prompts, several a prompt.
        scores: of the swept reward.
        judgements: of the samples.
        settings: offsets and slope.
        metrics: resamples and level.
        seed: of the bootstraps.
        others: scores of other rewards, whose fronts' hypervolumes are subtracted from this one's.

    Raises:
        ValueError: if no sample can be chosen, or one has no score.
    """
    pool = _pool(samples, judgements)
    chosen = _chosen(pool, scores, settings)
    fronts = [chosen, *(_chosen(pool, rows, settings) for rows in (others or {}).values())]
    areas, differences = front_areas([_columns(pool, kept) for kept in fronts], metrics, seed)
    points = [
        {"offset": offset, **_point(pool, kept, metrics, seed)}
        for offset, kept in zip(settings.sweep, chosen, strict=True)
    ]
    return {
        "slope": settings.sweep_slope,
        "points": points,
        "hypervolume": areas[0]._asdict(),
        "hypervolume_minus": {n: d._asdict() for n, d in zip(others or {}, differences, strict=True)},
        "random_choice": _point(pool, list(range(len(pool.ids))), metrics, seed),
        "samples_left_out": len(samples) - len(pool.ids),
        "method": "best-of-n selection over test samples; no policy is trained per point",
    }


def best_of_n(prompts: Sequence[str], rewards: Floats) -> list[int]:
    """Index of the best-rewarded response of each prompt, in order of first appearance; the first of equals wins."""
    best: dict[str, int] = {}
    for index, prompt in enumerate(prompts):
        if prompt not in best or rewards[index] > rewards[best[prompt]]:
            best[prompt] = index
    return list(best.values())


def _pool(samples: Sequence[Sample], judgements: Sequence[Judgement]) -> Pool:
    verdicts = {j.id: (j.helpfulness, j.safe) for j in judgements if None not in (j.safe, j.helpfulness)}
    usable = [s for s in samples if s.response and s.id in verdicts]
    if not usable:
        raise ValueError(f"none of {len(samples)} samples has both text and a valid judgement")
    judged = np.array([verdicts[s.id] for s in usable], dtype=np.float64)
    return Pool([s.id for s in usable], [s.prompt_id for s in usable], judged[:, 0], judged[:, 1])


def _chosen(pool: Pool, scores: Sequence[ScoreRow], settings: AlignSettings) -> list[list[int]]:
    """The kept response of each prompt, for each offset."""
    log_odds = align_scores(pool.ids, scores)
    return [
        best_of_n(pool.prompts, total_reward(log_odds, pool.helpful, settings.sweep_slope, offset))
        for offset in settings.sweep
    ]


def _columns(pool: Pool, chosen: Sequence[Sequence[int]]) -> tuple[Floats, Floats]:
    """Safety and helpfulness (points, prompts) of the kept responses."""
    return pool.safe[np.array(chosen)], pool.helpful[np.array(chosen)]


def _point(pool: Pool, kept: Sequence[int], metrics: MetricSettings, seed: int) -> dict[str, Any]:
    helpful, safe, prompts = pool.helpful[kept], pool.safe[kept], [pool.prompts[i] for i in kept]
    return {
        name: bootstrap_mean(
            TERMS[name](helpful, safe), prompts, metrics.bootstrap, metrics.level, np.random.default_rng(seed)
        )._asdict()
        for name in REPORTED
    }
