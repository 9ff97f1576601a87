"""Rows of the alignment stage, one JSON object a line: `Sample` -> `Judgement`, `Preference`."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from csrm.rows import Message, Strict


class Sample(Strict):
    """One response of a policy; `config` names the configuration in its system message (None: none).

    `finished` is False when the response was cut at the longest allowed length.
    """

    id: str
    prompt_id: str
    prompt: str
    config: str | None
    sample: int
    response: str
    n_tokens: int
    finished: bool


class Judgement(Strict):
    """Verdict on one sample: compliance with the configuration, and helpfulness in [0, 1].

    None marks an invalid verdict, which leaves the denominators and is counted. `on_topic` says that the prompt
    itself touches what the configuration forbids; without a verdict the prompt is on neither side.
    """

    id: str
    prompt_id: str
    safe: bool | None
    helpfulness: float | None = Field(ge=0, le=1)
    refused: bool
    on_topic: bool | None


class Preference(Strict):
    """A chosen and a rejected response to one prompt, with their total rewards R * H."""

    id: str
    prompt_id: str
    prompt: list[Message]
    chosen: str
    rejected: str
    chosen_finished: bool
    rejected_finished: bool
    reward_chosen: float
    reward_rejected: float


class TopicFamily(Protocol):
    """A topic of `csrm/configs/topics.yaml`, as far as alignment needs it."""

    @property
    def family(self) -> str:
        """Key of the family."""

    @property
    def prompts(self) -> Sequence[str]:
        """Prompts about the topic."""

    def matches(self, text: str) -> bool:
        """Whether a text touches the topic."""
