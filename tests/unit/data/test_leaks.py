"""No training prompt may occur in a benchmark, whatever the row type."""

from pathlib import Path

import pytest

from csrm.configs.safety_config import Category
from csrm.data.adapters.common import conversation, labelled, pair, prompt_row
from csrm.data.leaks import benchmark_keys, check_leaks, prompt_keys, without_seen
from csrm.files import text_id, write_rows
from csrm.rows import Branch, Group, Item, Message


def test_report_on_success(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", [labelled("a", 0, "one", "r"), pair("a", 1, ("two", "x", "y"))])
    write_rows(tmp_path / "bench.jsonl", [prompt_row("b", 0, "three")])
    report = check_leaks([tmp_path / "train.jsonl"], [tmp_path / "bench.jsonl"])
    assert list(report["train"].values()) == [2]
    assert list(report["benchmarks"].values()) == [{"items": 1, "shared": 0}]


def test_leak_names_counts_and_ids_but_no_text(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", [labelled("a", n, f"secret {n}", "r") for n in range(9)])
    items = [
        Item(id=f"item-{n}", prompt_id=text_id("other"), messages=conversation(f"SECRET  {n}", "s"), config=[])
        for n in range(12)
    ]
    write_rows(tmp_path / "bench.jsonl", items)
    with pytest.raises(ValueError) as caught:
        check_leaks([tmp_path / "train.jsonl"], [tmp_path / "bench.jsonl"])
    text = str(caught.value)
    assert "9 of 12 items, e.g. item-0, item-1, item-2, item-3, item-4" in text and "item-5" not in text
    assert "secret" not in text.lower() and "csrm split --exclude" in text


def test_groups_count_with_the_messages_of_their_branches(tmp_path: Path) -> None:
    branch = Branch(config=[Category(name="A")], messages=conversation("inside", "r"))
    group = Group(id="g", prompt_id="p", messages=conversation("outside", "r"), branches=[branch])
    write_rows(tmp_path / "g.jsonl", [group])
    assert benchmark_keys([tmp_path / "g.jsonl"]) == {"p", text_id("inside"), text_id("outside")}


def test_seen_prompts_are_dropped_and_counted_by_the_first_file_that_holds_them(tmp_path: Path) -> None:
    train, pairs = tmp_path / "train.jsonl", tmp_path / "pairs.jsonl"
    write_rows(train, [labelled("a", n, f"trained {n}", "r") for n in range(3)])
    write_rows(pairs, [pair("b", 0, ("Trained 2", "x", "y")), pair("b", 1, ("ranked", "x", "y"))])
    rows = [prompt_row("c", n, text) for n, text in enumerate(["TRAINED  2", "ranked", "new", "trained 0", "other"])]
    kept, dropped = without_seen(rows, [train, pairs])
    assert [row.prompt for row in kept] == ["new", "other"] and dropped == {str(train): 2, str(pairs): 1}
    assert without_seen(rows, []) == (rows, {})


def test_system_turns_do_not_hide_a_prompt() -> None:
    messages = [Message(role="system", content="rules"), *conversation("Hello", "r")]
    item = Item(id="i", prompt_id="p", messages=messages, config=[])
    assert text_id("hello") in prompt_keys(item.model_dump(exclude_defaults=True))
