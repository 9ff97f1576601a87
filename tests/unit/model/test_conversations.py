"""The user's conversations: read line by line, and a wrong one is named with its line."""

from pathlib import Path

import pytest

from csrm.model.commands import _read_conversations

GOOD = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no conversations"),
        (GOOD + '{"message": []}\n', 'line 2: expected {"messages"'),
        (GOOD + '{"messages": "q"}\n', 'line 2: expected {"messages"'),
        (
            GOOD + GOOD.replace("assistant", "asistant"),
            "mine.jsonl, line 2, message 2: role 'asistant' is unknown: choose among system, user, assistant$",
        ),
        (GOOD.replace("content", "contents"), 'line 1, message 1: expected {"role": .*, got .*contents'),
        (GOOD.replace('"a"', "null"), 'line 1, message 2: expected {"role"'),
        ('{"messages": ["q"]}', "line 1, message 1: expected .*, got q"),
        (GOOD + GOOD.replace("assistant", "user"), "line 2: the last message is of role 'user'"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        _read_conversations(tmp_path / "mine.jsonl")


def test_conversations_are_messages(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(GOOD * 2)
    read = _read_conversations(tmp_path / "mine.jsonl")
    assert [[m.role for m in messages] for messages in read] == [["user", "assistant"]] * 2
