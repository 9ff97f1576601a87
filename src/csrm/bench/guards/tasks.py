"""What a benchmark's labels judge, for guards whose answer has a line of its own for each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from csrm.bench.registry import Benchmark
    from csrm.rows import Message

Task = Literal["response", "prompt", "refusal"]
TASKS: tuple[Task, ...] = ("response", "prompt", "refusal")
BY_BUILDER: Mapping[str, Task] = {
    "refusal-label": "refusal",
    "pseudo-response": "prompt",
    "scenario-type": "prompt",
    "allowed-categories": "prompt",
}
"""Builders of `config/benchmarks.tsv` whose labels do not say whether a response is harmful."""


def task_of(benchmark: "Benchmark") -> Task:
    """Harm of the response, harm of the prompt (benchmarks of pseudo-responses), or refusal."""
    return BY_BUILDER.get(benchmark.builder, "response")


def without_response(messages: "Sequence[Message]") -> "list[Message]":
    """The conversation with an empty last message, as a guard reads a prompt that nobody has answered."""
    return [*messages[:-1], messages[-1].model_copy(update={"content": ""})]
