"""A user's own conversations: JSON lines in, messages out, with errors that name file and line."""

from pathlib import Path
from typing import Any, NamedTuple, get_args

from csrm.files import numbered_dicts
from csrm.rows import Message

ROLES = get_args(Message.model_fields["role"].annotation)
EXPECTED = 'expected {"messages": [...]}'


class Conversation(NamedTuple):
    """One line of a file: its number, its `id` where it has one, and the messages, the last of which is judged."""

    line: int
    id: Any
    messages: list[Message]


def read_conversations(path: Path) -> list[Conversation]:
    """Read JSON lines of `{"messages": [{"role": ..., "content": ...}]}`, each with an `id` of its own if you like.

    Raises:
        ValueError: if a line is none, or its last message is not the assistant's or is empty; file and line are named.
    """
    found = []
    for line, row in numbered_dicts(path):
        messages = judged_messages(row, f"{path}, line {line}")
        found.append(Conversation(line, row.get("id"), messages))
    if not found:
        raise ValueError(f'{path} holds no conversations: write a line {{"messages": [...]}} for each')
    return found


def judged_messages(row: Any, place: str) -> list[Message]:
    """The `messages` of one object; errors begin with `place`.

    Raises:
        ValueError: if there are none, or the last one is not the assistant's or is empty.
    """
    if isinstance(row, list):
        raise ValueError(f"{place}: {EXPECTED}, got a list: write one conversation a line (JSON lines)")
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list) or not row["messages"]:
        raise ValueError(f"{place}: {EXPECTED}, got {str(row)[:80]}")
    messages = [_message(m, f"{place}, message {n}") for n, m in enumerate(row["messages"], 1)]
    if messages[-1].role != "assistant":
        raise ValueError(
            f"{place}: the last message is of role {messages[-1].role!r}; it is the one that is judged and must be "
            "the assistant's"
        )
    if not messages[-1].content.strip():
        raise ValueError(f"{place}: the last message is empty; it is the one that is judged: leave the line out")
    return messages


def _message(data: Any, place: str) -> Message:
    if not isinstance(data, dict) or set(data) != {"role", "content"} or not isinstance(data["content"], str):
        raise ValueError(f'{place}: expected {{"role": "...", "content": "..."}}, got {str(data)[:80]}')
    if data["role"] not in ROLES:
        raise ValueError(f"{place}: role {data['role']!r} is unknown: choose among {', '.join(ROLES)}")
    return Message.model_validate(data)
