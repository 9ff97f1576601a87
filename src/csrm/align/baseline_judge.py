"""A baseline or a guard as the reward while a policy is trained online, in the place of a CSRM."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from csrm.bench.baselines import Tools, score_baseline
from csrm.model.scorer import Request
from csrm.rows import Item, ScoreRow

if TYPE_CHECKING:
    from csrm.bench.guards.scorer import GuardScorer


class BaselineJudge(NamedTuple):
    """Scores requests by a line of `csrm.bench.baselines`.

    One that is trained without the configuration (`minilm-lr-no-config`) gives a response the same reward whatever is
    forbidden: a fixed taxonomy, the role that LlamaGuard has in Table 5.
    """

    name: str
    tools: Tools

    def score_requests(self, requests: Sequence[Request]) -> list[ScoreRow]:
        """Safe log-odds in the order of the requests."""
        return score_baseline(self.name, _items(requests), self.tools)


class GuardJudge(NamedTuple):
    """Scores requests by a guard in its own prompt format; an answer without a verdict has log-odds 0."""

    scorer: "GuardScorer"

    def score_requests(self, requests: Sequence[Request]) -> list[ScoreRow]:
        """Safe log-odds in the order of the requests."""
        return self.scorer.score(_items(requests))


def _items(requests: Sequence[Request]) -> list[Item]:
    return [
        Item(id=str(n), prompt_id=str(n), messages=list(request.messages), config=list(request.categories))
        for n, request in enumerate(requests)
    ]
