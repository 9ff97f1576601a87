"""The user's conversations: read line by line, and a wrong one is named with its line."""

from pathlib import Path

import pytest

from csrm.data.conversations import read_conversations

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
        (GOOD + "\n" + GOOD.replace('"a"', '" "'), "line 3: the last message is empty"),
        (f"[{GOOD.strip()}]", "line 1: .* got a list: write one conversation a line"),
        ("[\n" + GOOD + "]", "line 1: not valid JSON .* each line holds one whole JSON object"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_conversations(tmp_path / "mine.jsonl")


def test_conversations_are_messages(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(GOOD * 2)
    read = read_conversations(tmp_path / "mine.jsonl")
    assert [[m.role for m in one.messages] for one in read] == [["user", "assistant"]] * 2
    assert [(one.line, one.id) for one in read] == [(1, None), (2, None)]


def test_a_byte_order_mark_is_skipped_and_ids_are_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(GOOD.replace('{"messages"', '{"id": "x7", "messages"'), encoding="utf-8-sig")
    assert [one.id for one in read_conversations(tmp_path / "mine.jsonl")] == ["x7"]


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(GOOD.replace('"a"', '"caf\u00e9"'), encoding="latin-1")
    with pytest.raises(ValueError, match=r"mine.jsonl is not in UTF-8 \(byte 0xe9\)"):
        read_conversations(tmp_path / "mine.jsonl")
