"""The row types that flow through the workflow, one JSON object a line.

`Row` (a labelled conversation) -> `Group` (training) or `Item` (evaluation) -> `ScoreRow`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from csrm.configs.safety_config import Category

Label = Literal["safe", "unsafe"]


class Strict(BaseModel):
    """Base of all rows: unknown keys are errors, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(Strict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Row(Strict):
    """A labelled conversation; its last message is the response to be judged.

    `harms` maps a category key of `taxonomy` to a severity in [0, 1]. When `exhaustive`, a category that is
    not listed has severity 0; otherwise it is unknown. `label_source` says who labelled (human, lexicon, ...). `cut`
    tells that words of a message were left out (`data.max_prompt_words`, `data.max_response_words`); labels are of the
    whole text.
    """

    id: str
    dataset: str
    prompt_id: str
    messages: list[Message] = Field(min_length=2)
    taxonomy: str
    harms: dict[str, float] = {}
    exhaustive: bool = False
    safe: bool | None = None
    refusal: bool | None = None
    label_source: str = "human"
    cut: bool = False
    meta: dict[str, Any] = {}

    @field_validator("harms")
    @classmethod
    def _severities(cls, harms: dict[str, float]) -> dict[str, float]:
        bad = {k: v for k, v in harms.items() if not 0 <= v <= 1}
        if bad:
            raise ValueError(f"severities must lie in [0, 1], got {bad}")
        return harms

    @model_validator(mode="after")
    def _ends_with_response(self) -> "Row":
        if self.messages[-1].role != "assistant":
            raise ValueError(f"row {self.id}: the last message must be the assistant's, got {self.messages[-1].role}")
        return self


class PromptRow(Strict):
    """A prompt without a response (benchmarks of prompts, prompts for alignment); `cut` as in `Row`."""

    id: str
    dataset: str
    prompt_id: str
    prompt: str
    cut: bool = False
    meta: dict[str, Any] = {}


class PairRow(Strict):
    """Two responses to one prompt; `chosen` is the better one under `config` (None: the data set's own).

    `cut` as in `Row`.
    """

    id: str
    dataset: str
    prompt_id: str
    prompt: str
    chosen: str
    rejected: str
    system: str | None = None
    config: list[Category] | None = None
    cut: bool = False
    meta: dict[str, Any] = {}


class Branch(Strict):
    """One configuration (and, for response pairs, one response) under which a group's conversation is judged.

    `source` is one of base, cca, sa, response. `label` None means that the branch only enters ranking pairs.
    """

    config: list[Category]
    label: Label | None = None
    source: Literal["base", "cca", "sa", "response"] = "base"
    messages: list[Message] | None = None


class Group(Strict):
    """A training unit: one conversation under contrasting branches, and the ranking pairs among them.

    `pairs` holds (chosen, rejected) indices into `branches`: the chosen branch must get the higher reward.
    """

    id: str
    prompt_id: str
    messages: list[Message]
    branches: list[Branch] = Field(min_length=1)
    pairs: list[tuple[int, int]] = []

    @model_validator(mode="after")
    def _indices(self) -> "Group":
        bad = [p for p in self.pairs if not all(0 <= i < len(self.branches) for i in p)]
        if bad:
            raise ValueError(f"group {self.id}: pairs {bad} point outside its {len(self.branches)} branches")
        return self


class Item(Strict):
    """One evaluation item: judge the last message under `config`.

    Items that share `pair` form a ranking pair, `rank` "chosen" must score above "rejected". `cut` as in `Row`: the
    label is of a longer text than the one that is judged.
    """

    id: str
    prompt_id: str
    messages: list[Message] = Field(min_length=1)
    config: list[Category]
    label: Label | None = None
    subset: str = "all"
    pair: str | None = None
    rank: Literal["chosen", "rejected"] | None = None
    cut: bool = False
    meta: dict[str, Any] = {}


class ScoreRow(Strict):
    """Raw score of one item: safe log-odds (nats), before any sigmoid, calibration or threshold.

    `parsed` is false where a generated answer held no verdict; `metrics.parse_failure` says what that counts as.
    """

    id: str
    log_odds: float
    n_tokens: int
    truncated: bool = False
    parsed: bool = True
