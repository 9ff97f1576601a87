"""Total reward R * H of sampled responses (CSRM section 4.4), and the files that connect it with the CSRM."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from csrm.align.schema import Sample
from csrm.configs.safety_config import SafetyConfig
from csrm.rows import Item, Message, ScoreRow


def total_reward(log_odds: ArrayLike, helpfulness: ArrayLike, slope: float, offset: float) -> NDArray[np.float64]:
    """sigma(a s + b) * H with s the safe log-odds (CSRM section 4.4 and Figure 4); all arrays (n,)."""
    logits = slope * np.asarray(log_odds, dtype=np.float64) + offset
    reward: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logits)) * np.asarray(helpfulness, dtype=np.float64)
    return reward


def preference_items(samples: Sequence[Sample], config: SafetyConfig) -> list[Item]:
    """One item a sample, judged under `config`; empty responses cannot be judged and are left out.

    Raises:
        ValueError: if a sample was drawn under another configuration.
    """
    foreign = sorted({str(s.config) for s in samples if s.config not in (None, config.name)})
    if foreign:
        raise ValueError(f"samples were drawn under {foreign}, but the configuration is {config.name!r}")
    return [
        Item(
            id=s.id,
            prompt_id=s.prompt_id,
            messages=[Message(role="user", content=s.prompt), Message(role="assistant", content=s.response)],
            config=list(config.categories),
            subset=config.name,
        )
        for s in samples
        if s.response
    ]


def align_scores(ids: Sequence[str], scores: Sequence[ScoreRow]) -> NDArray[np.float64]:
    """Log-odds in the order of `ids`.

    Raises:
        ValueError: if an id has no score.
    """
    by_id: Mapping[str, float] = {row.id: row.log_odds for row in scores}
    missing = [i for i in ids if i not in by_id]
    if missing:
        raise ValueError(f"{len(missing)} of {len(ids)} samples have no score, such as {missing[0]!r}")
    return np.array([by_id[i] for i in ids], dtype=np.float64)
