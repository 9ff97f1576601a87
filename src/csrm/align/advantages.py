"""Advantages of REINFORCE++ and the sizes of its batches: pure functions, without a model.

Equation and choices: see `csrm.align.reinforce`.
"""

import math
from typing import Any, NamedTuple

from csrm.settings import ReinforceSettings

EPSILON = 1e-4  # added to the standard deviation of the advantages
MICRO_ROWS = 8  # most sequences in one forward pass of training; bounds memory, changes no result but rounding


class Sizes(NamedTuple):
    """What follows from the settings: prompts of a sampled batch, sequences of a forward pass, passes of an update."""

    prompts: int
    micro: int
    accumulation: int
    steps: int
    left_out: int  # prompts that an episode leaves out, so that its batches are equal


def advantages(rewards: Any, logps: Any, reference: Any, mask: Any, beta: float) -> Any:
    """Normalised advantages of REINFORCE++ (rows, tokens); 0 where the mask is.

    Args:
        rewards: (rows,) total rewards R * H.
        logps: (rows, tokens) log-probabilities of the policy that drew the responses, nats.
        reference: (rows, tokens) of the reference.
        mask: (rows, tokens) 1 for a response's tokens, its end token included.
        beta: weight of the KL estimate.
    """
    k1 = (logps - reference) * mask
    to_go = k1.flip(1).cumsum(1).flip(1)
    values = rewards.unsqueeze(1) - beta * to_go
    count = mask.sum()
    mean = (values * mask).sum() / count
    std = (((values - mean) ** 2 * mask).sum() / count).sqrt()
    return (values - mean) / (std + EPSILON) * mask


def sizes(prompts: int, options: ReinforceSettings) -> Sizes:
    """Equal batches that hold whole groups of rollouts and at most `options.batch` responses an update.

    Raises:
        ValueError: if a prompt's rollouts do not fit, or cannot be spread over the updates.
    """
    most = options.batch * options.updates // options.rollouts
    if most < 1 or options.rollouts % options.updates:
        raise ValueError(
            f"rollouts ({options.rollouts}) must be a multiple of updates ({options.updates}) "
            f"and at most batch * updates ({options.batch * options.updates})"
        )
    batches = math.ceil(prompts / most)
    each = prompts // batches
    update = each * options.rollouts // options.updates
    micro = max(n for n in range(1, min(MICRO_ROWS, update) + 1) if update % n == 0)
    steps = options.episodes * batches * options.updates
    return Sizes(each, micro, update // micro, steps, prompts - each * batches)
