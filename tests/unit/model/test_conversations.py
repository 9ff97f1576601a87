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
        (GOOD + '{"messages": [{"role": "agent", "content": "a"}]}\n', "line 2: (.|\n)*role"),
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
