"""Preference pairs from rewarded samples: per prompt the best against the worst (CSRM section 4.4)."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from csrm.align.policy import chat
from csrm.align.schema import Preference, Sample
from csrm.configs.safety_config import SafetyConfig

MIN_GAP = 0.01  # total rewards closer than this count as tied


class Preferences(NamedTuple):
    """The pairs, and the candidate pairs that were left out by reason."""

    pairs: list[Preference]
    dropped: dict[str, int]


def preferences(
    samples: Sequence[Sample],
    rewards: Sequence[float],
    config: SafetyConfig,
    pairs_per_prompt: int,
    seed: int,
    min_gap: float = MIN_GAP,
) -> Preferences:
    """Pair the top k with the bottom k responses of each prompt at random, k = `pairs_per_prompt` (the paper: 5).

    Args:
        samples: responses, several a prompt; those with empty text were left out before.
        rewards: total reward of each sample.
        config: gives the system message.
        pairs_per_prompt: k; at most half of the prompt's samples.
        seed: seeds the random pairing, prompt by prompt.
        min_gap: pairs whose rewards differ by less are ties.
    """
    by_prompt: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        by_prompt.setdefault(sample.prompt_id, []).append(index)
    pairs: list[Preference] = []
    dropped: Counter[str] = Counter()
    for prompt_id, indices in by_prompt.items():
        k = min(pairs_per_prompt, len(indices) // 2)
        ranked = sorted(indices, key=lambda i: (-rewards[i], samples[i].id))
        if not k:
            dropped["single response"] += 1
            continue
        worst = ranked[-k:]
        random.Random(f"{seed}-{prompt_id}").shuffle(worst)
        for best, other in zip(ranked[:k], worst, strict=True):
            reason = _tied(samples[best], samples[other], rewards[best] - rewards[other], min_gap)
            if reason:
                dropped[reason] += 1
            else:
                pairs.append(_pair(samples[best], samples[other], rewards[best], rewards[other], config))
    return Preferences(pairs, dict(sorted(dropped.items())))


def _tied(best: Sample, worst: Sample, gap: float, min_gap: float) -> str | None:
    if best.response == worst.response:
        return "identical responses"
    if gap == 0:
        return "tie"
    return "near tie" if gap < min_gap else None


def _pair(best: Sample, worst: Sample, high: float, low: float, config: SafetyConfig) -> Preference:
    return Preference(
        id=f"{best.id}>{worst.sample}",
        prompt_id=best.prompt_id,
        prompt=chat(best.prompt, config.categories),
        chosen=best.response,
        rejected=worst.response,
        chosen_finished=best.finished,
        rejected_finished=worst.finished,
        reward_chosen=float(high),
        reward_rejected=float(low),
    )
