"""A baseline as the reward while a policy is trained online, in the place of a CSRM."""

from collections.abc import Sequence
from typing import NamedTuple

from csrm.bench.baselines import Tools, score_baseline
from csrm.model.scorer import Request
from csrm.rows import Item, ScoreRow


class BaselineJudge(NamedTuple):
    """Scores requests by a line of `csrm.bench.baselines`.

    One that is trained without the configuration (`minilm-lr-no-config`) gives a response the same reward whatever is
    forbidden: a fixed taxonomy, the role that LlamaGuard has in Table 5.
    """

    name: str
    tools: Tools

    def score_requests(self, requests: Sequence[Request]) -> list[ScoreRow]:
        """Safe log-odds in the order of the requests."""
        items = [
            Item(id=str(n), prompt_id=str(n), messages=list(request.messages), config=list(request.categories))
            for n, request in enumerate(requests)
        ]
        return score_baseline(self.name, items, self.tools)
