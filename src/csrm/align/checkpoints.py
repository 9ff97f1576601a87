"""Over-optimisation: the reward that a policy is trained on against the judge, along training.

A reward model is a proxy: past some step of training its reward may rise while the judge's score falls (Gao et al.
2023, arXiv 2210.10760). The paper reports no such curve. Policies are kept at equally spaced steps, and each answers
the test prompts; step 0 is the policy before alignment.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csrm.align.adapter import save_adapter
from csrm.align.metrics import TERMS
from csrm.align.rewards import total_reward
from csrm.align.schema import Judgement
from csrm.align.scores import Floats
from csrm.bench.bootstrap import bootstrap_difference, bootstrap_mean
from csrm.rows import ScoreRow
from csrm.settings import MetricSettings

JUDGED = ("safety", "helpfulness", "helpfulness_0_5", "cosa_score")


class Answers(NamedTuple):
    """The responses of one policy: verdicts of the judge, and log-odds of the reward that the policy is trained on."""

    judgements: Sequence[Judgement]
    scores: Sequence[ScoreRow]


def checkpoint_steps(total: int, count: int) -> list[int]:
    """`count` equally spaced steps of `total`, the last one its end.

    Raises:
        ValueError: if there are fewer steps.
    """
    if count > total:
        raise ValueError(
            f"{count} policies cannot be kept in {total} steps of training: train longer, or lower align.checkpoints"
        )
    return [round(total * n / count) for n in range(1, count + 1)]


def keep_checkpoints(trainer: Any, folders: Sequence[Path]) -> list[int]:
    """Have a trainer save its adapter at equally spaced steps before its end, one a folder; returns the steps.

    Raises:
        ValueError: if there are too few steps.
    """
    from transformers import TrainerCallback

    steps = checkpoint_steps(trainer.args.max_steps, len(folders) + 1)[:-1]
    places = dict(zip(steps, folders, strict=True))

    class Keep(TrainerCallback):
        """Saves after the optimiser's step."""

        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            if state.global_step in places:
                save_adapter(given["model"], places[state.global_step])

    trainer.add_callback(Keep())
    return steps


def reward_curve(
    points: Mapping[int, Answers], kl: Mapping[int, float], slope: float, settings: MetricSettings, seed: int
) -> list[dict[str, Any]]:
    """One point a step, each mean with its interval, and its difference to the first point over the same prompts.

    `reward` is sigma(a s), `total_reward` that times the judge's H; empty responses have no log-odds, and count in
    neither. `since_start` is given from the second point on.

    Args:
        points: step -> responses of the policy at that step.
        kl: step -> KL estimate (nats a response) where the training measured one.
        slope: a of the total reward.
        settings: resamples and level.
        seed: of the bootstraps.
    """
    columns = {step: _columns(answers, slope) for step, answers in sorted(points.items())}
    first = next(iter(columns.values()))
    curve = []
    for step, found in columns.items():
        means = {name: _mean(*column, settings, seed) for name, column in found.items()}
        since = {name: _difference(first[name], column, settings, seed) for name, column in found.items()}
        start = {"since_start": since} if found is not first else {}
        curve.append({"step": step, **means, **start, "kl": kl.get(step)})
    return curve


def _columns(answers: Answers, slope: float) -> dict[str, tuple[Floats, list[str]]]:
    """Quantity -> (values, prompt ids)."""
    valid = [j for j in answers.judgements if j.safe is not None and j.helpfulness is not None]
    helpful = np.array([j.helpfulness for j in valid], dtype=np.float64)
    safe = np.array([bool(j.safe) for j in valid], dtype=np.float64)
    odds = {row.id: row.log_odds for row in answers.scores}
    scored = [(odds[j.id], h, j.prompt_id) for j, h in zip(valid, helpful, strict=True) if j.id in odds]
    if not scored:
        raise ValueError(f"none of {len(answers.judgements)} responses has a valid judgement and a score of the reward")
    log_odds, h = (np.array([row[place] for row in scored]) for place in (0, 1))
    prompts, rewarded = [j.prompt_id for j in valid], [row[2] for row in scored]
    return {
        "log_odds": (log_odds, rewarded),
        "reward": (total_reward(log_odds, np.ones_like(h), slope, 0.0), rewarded),
        "total_reward": (total_reward(log_odds, h, slope, 0.0), rewarded),
        **{name: (TERMS[name](helpful, safe), prompts) for name in JUDGED},
    }


def _mean(values: Floats, prompts: Sequence[str], settings: MetricSettings, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return bootstrap_mean(values, prompts, settings.bootstrap, settings.level, rng)._asdict()


def _difference(
    first: tuple[Floats, list[str]], later: tuple[Floats, list[str]], settings: MetricSettings, seed: int
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return bootstrap_difference(*first, *later, settings.bootstrap, settings.level, rng)._asdict()
