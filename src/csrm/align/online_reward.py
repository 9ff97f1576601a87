"""Total reward R * H of responses while a policy is trained (CSRM section 4.4): a CSRM in memory times H."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from csrm.align.helpfulness import Helpfulness
from csrm.align.rewards import total_reward
from csrm.configs.safety_config import SafetyConfig
from csrm.model.scorer import CSRM, Request
from csrm.rows import Message


class OnlineReward:
    """Callable that gives sigma(a s + b) * H of each response, s the safe log-odds under one configuration.

    The judge sees what `preference_items` shows it: the user's prompt and the response, without the system message.
    """

    def __init__(
        self, judge: CSRM, config: SafetyConfig, helpfulness: Helpfulness, slope: float = 1.0, offset: float = 0.0
    ) -> None:
        self.judge = judge
        self.config = config
        self.helpfulness = helpfulness
        self.slope = slope
        self.offset = offset

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float64]:
        """Rewards in [0, 1], (n,), of n responses to n prompts; empty responses cannot be judged and get 0.

        Raises:
            ValueError: if there are not as many responses as prompts.
        """
        if len(prompts) != len(responses):
            raise ValueError(f"{len(prompts)} prompts came with {len(responses)} responses")
        rewards = np.zeros(len(responses))
        kept = [i for i, text in enumerate(responses) if text.strip()]
        if kept:
            asked, answered = [prompts[i] for i in kept], [responses[i] for i in kept]
            helpful = self.helpfulness(asked, answered)
            rewards[kept] = total_reward(self._log_odds(asked, answered), helpful, self.slope, self.offset)
        return rewards

    def _log_odds(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        requests = [
            Request([Message(role="user", content=x), Message(role="assistant", content=y)], self.config.categories)
            for x, y in zip(prompts, responses, strict=True)
        ]
        return [score.log_odds for score in self.judge.score_requests(requests)]
