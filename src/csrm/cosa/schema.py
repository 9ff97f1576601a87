"""Rows of CoSAlign, one JSON object a line: `Asked` -> `Labelled` -> `Pair`, or `Answer` -> `Verdict`."""

from typing import Literal

from pydantic import Field

from csrm.align.schema import Preference
from csrm.rows import Strict
from csrm.settings import Mode

Situation = Literal["allowed", "partial", "disallowed"]
"""How a prompt stands to a configuration (CoSAlign-Test): all of its labels are allowed, some, or none."""


class Asked(Strict):
    """A prompt with its risk set J: the labels that the prompt itself touches.

    `situations` maps the configurations that a test prompt belongs to, by id, to how it stands to them, as the data set
    says it; None: the prompt is asked under every configuration, and the situation follows from `harms`.
    """

    prompt_id: str
    prompt: str
    harms: list[str]
    situations: dict[str, Situation] | None = None


class Labelled(Asked):
    """A response with its labels from any judge; `addressed` is None where a verdict is invalid.

    `harms` are the prompt's labels, `found` those of the response.
    """

    id: str
    response: str
    finished: bool
    found: list[str]
    addressed: Literal[0, 1] | None


class Answer(Asked):
    """A response to a test prompt under a configuration that allows `allowed`."""

    id: str
    config_id: str
    group: Literal["seen", "unseen"]
    allowed: list[str]
    response: str
    finished: bool


class Verdict(Strict):
    """Verdict on one answer: compliance (found labels within the allowed ones) and helpfulness in [0, 1]."""

    id: str
    prompt_id: str
    config_id: str
    group: Literal["seen", "unseen"]
    situation: Situation
    safe: bool | None
    helpfulness: float | None = Field(ge=0, le=1)
    filtered: bool = False


class Pair(Preference):
    """A preference pair with what it was made of: configuration, risk set, and both groups with their error scores.

    `mode` is how the configuration was drawn, `harms` the prompt's labels; errors are in tenths. The inherited rewards
    are the negated errors.
    """

    mode: Mode
    allowed: list[str]
    harms: list[str]
    chosen_found: list[str]
    chosen_addressed: Literal[0, 1]
    chosen_tenths: int
    rejected_found: list[str]
    rejected_addressed: Literal[0, 1]
    rejected_tenths: int
