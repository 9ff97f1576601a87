"""Text that the project ships: rows of the smoke scale, pairs of the smoke scale, prompts of the benign topics."""

from collections.abc import Iterator

from csrm.data.adapters.common import Drops, blank, pair, prompt_row
from csrm.data.sources import Parts
from csrm.rows import PairRow, PromptRow, Row


def rows(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Rows that are `Row` already; they keep their own data set's name."""
    for row in parts["rows"]:
        yield Row.model_validate(row)


def pairs(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """A helpful answer (chosen) and one that refuses, evades or wanders off (rejected)."""
    for number, row in enumerate(parts["rows"]):
        if not blank(drops, row, "prompt", "chosen", "rejected"):
            yield pair(name, number, (row["prompt"], row["chosen"], row["rejected"]))


def topics_prompts(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """The prompts of each topic family, and those of no family (`neutral`); a prompt listed twice is kept once."""
    seen: set[str] = set()
    fields = {entry["key"]: entry["value"] for entry in parts["rows"]}
    neutral = {"family": "neutral", "prompts": fields.get("neutral_prompts", [])}
    for topic in [*fields["families"], neutral]:
        for number, prompt in enumerate(topic["prompts"]):
            row = prompt_row(name, f"{topic['family']}-{number}", prompt, family=topic["family"])
            if row.prompt_id in seen:
                drops["duplicate prompt"] += 1
                continue
            seen.add(row.prompt_id)
            yield row
