"""Figure 4: safety against helpfulness under linear transforms of the safety logits.

The paper trains one policy a transform (CSRM section 4.4, Figure 4). At demo scale best-of-n selection replaces one
policy training per sweep point: for every offset b the best of a prompt's samples by sigma(a s + b) * H is kept, and
the kept responses are judged. H is the judgements' own helpfulness, so selection and evaluation share that proxy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from csrm.align.metrics import TERMS
from csrm.align.rewards import align_scores, total_reward
from csrm.align.schema import Judgement, Sample
from csrm.align.scores import Floats
from csrm.bench.bootstrap import bootstrap_mean
from csrm.rows import ScoreRow
from csrm.settings import AlignSettings, MetricSettings

REPORTED = ("safety", "helpfulness", "helpfulness_0_5", "cosa_score", "cosa_product_0_5")


def sweep(
    samples: Sequence[Sample],
    scores: Sequence[ScoreRow],
    judgements: Sequence[Judgement],
    settings: AlignSettings,
    metrics: MetricSettings,
    seed: int,
) -> dict[str, Any]:
    """One point an offset b of `settings.sweep`, each with intervals, and the anchor of a random choice.

    Samples without text or without a valid verdict cannot be chosen and are counted.
    """
    verdicts = {j.id: j for j in judgements if j.safe is not None and j.helpfulness is not None}
    usable = [s for s in samples if s.response and s.id in verdicts]
    if not usable:
        raise ValueError(f"none of {len(samples)} samples has both text and a valid judgement")
    log_odds = align_scores([s.id for s in usable], scores)
    helpful = np.array([verdicts[s.id].helpfulness for s in usable], dtype=np.float64)
    safe = np.array([float(bool(verdicts[s.id].safe)) for s in usable])
    prompts = [s.prompt_id for s in usable]
    points = []
    for offset in settings.sweep:
        kept = best_of_n(prompts, total_reward(log_odds, helpful, settings.sweep_slope, offset))
        chosen = [prompts[i] for i in kept]
        points.append({"offset": offset, **_point(helpful[kept], safe[kept], chosen, metrics, seed)})
    return {
        "slope": settings.sweep_slope,
        "points": points,
        "random_choice": _point(helpful, safe, prompts, metrics, seed),
        "samples_left_out": len(samples) - len(usable),
        "method": "best-of-n selection over test samples; no policy is trained per point",
    }


def best_of_n(prompts: Sequence[str], rewards: Floats) -> list[int]:
    """Index of the best-rewarded response of each prompt, in order of first appearance; the first of equals wins."""
    best: dict[str, int] = {}
    for index, prompt in enumerate(prompts):
        if prompt not in best or rewards[index] > rewards[best[prompt]]:
            best[prompt] = index
    return list(best.values())


def _point(helpful: Floats, safe: Floats, prompts: Sequence[str], metrics: MetricSettings, seed: int) -> dict[str, Any]:
    return {
        name: bootstrap_mean(
            TERMS[name](helpful, safe), prompts, metrics.bootstrap, metrics.level, np.random.default_rng(seed)
        )._asdict()
        for name in REPORTED
    }
