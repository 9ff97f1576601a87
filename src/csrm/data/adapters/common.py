"""What the adapters share: conversations, identifiers and the types of an adapter."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from csrm.data.sources import Parts
from csrm.files import text_id
from csrm.rows import Message, PairRow, PromptRow, Row

AnyRow = Row | PromptRow | PairRow
Drops = Counter[str]
Adapter = Callable[[str, Parts, Drops], Iterator[AnyRow]]


def conversation(prompt: str, response: str) -> list[Message]:
    """One user turn and the response to it."""
    return [Message(role="user", content=prompt), Message(role="assistant", content=response)]


def context_id(messages: Sequence[Message]) -> str:
    """Identifier of what a response answers: all turns before it, without system messages."""
    return text_id("\n".join(message.content for message in messages[:-1] if message.role != "system"))


def labelled(name: str, number: int | str, prompt: str, response: str, taxonomy: str = "none", **labels: Any) -> Row:
    """A single-turn `Row` with the usual identifiers."""
    messages = conversation(prompt, response)
    row_id = f"{name}-{number}"
    return Row(id=row_id, dataset=name, prompt_id=text_id(prompt), messages=messages, taxonomy=taxonomy, **labels)


def prompt_row(name: str, number: int | str, prompt: str, **meta: Any) -> PromptRow:
    """A `PromptRow` with the usual identifiers."""
    return PromptRow(id=f"{name}-{number}", dataset=name, prompt_id=text_id(prompt), prompt=prompt, meta=meta)


def pair(name: str, number: int | str, texts: tuple[str, str, str], system: str | None = None, **meta: Any) -> PairRow:
    """A `PairRow` from (prompt, chosen, rejected) with the usual identifiers."""
    prompt, chosen, rejected = texts
    return PairRow(
        id=f"{name}-{number}",
        dataset=name,
        prompt_id=text_id(prompt),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        system=system,
        meta=meta,
    )


def blank(drops: Drops, row: dict[str, Any], *fields: str) -> bool:
    """Whether one of the text fields is empty; the row is then counted as dropped under that field's name."""
    for field in fields:
        if not str(row.get(field) or "").strip():
            drops[f"empty {field}"] += 1
            return True
    return False


def choose(value: Any, allowed: dict[Any, Any], what: str) -> Any:
    """`allowed[value]`; a value outside the schema fails with the allowed ones."""
    if value not in allowed:
        raise ValueError(f"{what}: {value!r} is not one of {list(allowed)}")
    return allowed[value]


def flag(value: Any, what: str) -> bool:
    """A boolean; anything else fails."""
    found: bool = choose(value, {True: True, False: False}, what)
    return found


def optional(drops: Drops, row: dict[str, Any], field: str, allowed: dict[Any, Any]) -> Any:
    """`allowed[row[field]]`; an empty or null value is None and noticed under the field's name."""
    if row[field] in (None, ""):
        drops[f"note: no {field}"] += 1
        return None
    return choose(row[field], allowed, field)
