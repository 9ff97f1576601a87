"""DynaBench's transcripts, policies and metadata, in every form that its files use."""

from collections import Counter
from typing import Any

import pytest

from csrm.data.adapters import ADAPTERS
from csrm.data.adapters.dynabench import metadata, rules, turns
from csrm.data.sources import load_fixture

CUT = "note: text before the first turn, cut"
KEPT = "note: line that begins with another speaker, kept as text"
CONTINUED = "note: line that continues a rule"
BEFORE = "note: policy text before the first rule, kept as a rule"


def adapt(dataset: str, parts: Any = None) -> tuple[list[Any], dict[str, int]]:
    drops: Counter[str] = Counter()
    rows = list(ADAPTERS["dynabench"](dataset, parts or load_fixture(dataset), drops))
    return rows, {name: count for name, count in drops.items() if count}


def test_turns_and_policies_of_the_test_split() -> None:
    rows, drops = adapt("dynabench")
    assert [m.role for m in rows[0].messages] == ["user", "assistant"]
    assert "said User: maybe" in rows[0].messages[0].content
    assert rows[0].meta["policy"] == ["Never promise a delivery date, not even a likely one.", "Greet the customer."]
    assert "num_hops" not in rows[0].meta and rows[0].meta["failure_mode"] == "plain"
    assert [row.safe for row in rows] == [False, True]
    assert drops == {
        "transcript without a response": 1,
        "note: user turn after the last response, cut": 2,
        CONTINUED: 1,
    }


def test_the_training_split_has_lists_nulls_and_formatted_texts() -> None:
    rows, drops = adapt("dynabench-train")
    assert [(row.safe, row.meta["policy"]) for row in rows] == [
        (False, ["Never promise a delivery date.", "Greet the customer."]),
        (True, ["Greet the customer."]),
    ]
    assert drops == {"policy without a rule": 1, "note: no metadata": 2}


@pytest.mark.parametrize(
    ("output", "note"),
    [
        ("<answer>PASS</answer>", "note: formatted_output contradicts the label"),
        ("<answer>\nFAIL\n</answer>", None),
        ("<think>FAIL</think>", "note: no answer in formatted_output"),
    ],
)
def test_the_formatted_output_is_held_against_the_label(output: str, note: str | None) -> None:
    row = load_fixture("dynabench-train")["train"][0] | {"formatted_output": output}
    rows, drops = adapt("d", {"train": [row]})
    assert rows[0].safe is False and drops == {"note: no metadata": 1} | ({note: 1} if note else {})


@pytest.mark.parametrize(
    ("transcript", "said", "counted"),
    [
        ("User: a\nAgent: b", ["user a", "assistant b"], {}),
        ("'User': a\n'Agent': b\nmore", ["user a", "assistant b\nmore"], {}),
        ("Scene: a shop.\nUser: a\nAgent: b", ["user a", "assistant b"], {CUT: 1}),
        ("\n\nUser: a\nAgent: b", ["user a", "assistant b"], {}),
        ("User: a\nAssistant: b\nUser: c", ["user a", "assistant b", "user c"], {}),
        ("User: a\nAssistant: b\nAgent: c", ["user a\nAssistant: b", "assistant c"], {KEPT: 1}),
        ("System: be kind\nUser: a\nAgent: b", ["user a", "assistant b"], {CUT: 1, KEPT: 1}),
        ("User: a note: b\nAgent: c", ["user a note: b", "assistant c"], {}),
        ("nobody speaks", [], {}),
    ],
)
def test_no_text_of_a_transcript_is_lost_uncounted(transcript: str, said: list[str], counted: dict[str, int]) -> None:
    drops: Counter[str] = Counter()
    assert [f"{m.role} {m.content}" for m in turns(transcript, drops)] == said
    assert +drops == counted


def test_an_empty_last_response_is_cut_and_counted() -> None:
    row = load_fixture("dynabench")["test"][1] | {"transcript": "User: a\nAgent: b\nUser: c\nAgent:"}
    rows, drops = adapt("d", {"test": [row]})
    assert [m.content for m in rows[0].messages] == ["a", "b"]
    assert drops == {"note: empty response at the end, cut": 1, "note: user turn after the last response, cut": 1}


@pytest.mark.parametrize(
    ("policy", "found", "counted"),
    [
        ("1. Greet.\n2. Be kind.", ["Greet.", "Be kind."], {}),
        ("1) Greet,\nalways.\n2) Be kind.", ["Greet, always.", "Be kind."], {CONTINUED: 1}),
        (
            "1. Never name:\n  1. a price,\n  2. a date.\n2. Greet.",
            ["Never name: 1. a price, 2. a date.", "Greet."],
            {CONTINUED: 2},
        ),
        ("1.\nGreet.", ["Greet."], {CONTINUED: 1}),
        ("1. Wait\n1.5 hours.", ["Wait 1.5 hours."], {CONTINUED: 1}),
        ("You sell tea.\n1. Greet.", ["You sell tea.", "Greet."], {BEFORE: 1}),
        ("Greet.\nBe kind.", ["Greet.", "Be kind."], {}),
        (["1. Greet,\nalways.", " ", "Be kind."], ["Greet,\nalways.", "Be kind."], {}),
        ("", [], {}),
        (None, [], {}),
    ],
)
def test_a_rule_is_one_entry_however_many_lines_it_has(policy: Any, found: list[str], counted: dict[str, int]) -> None:
    drops: Counter[str] = Counter()
    assert rules(policy, drops) == found and drops == counted


@pytest.mark.parametrize("value", [{"a": 1, "b": -1}, '{"a": 1, "b": ""}', "{'a': 1}", "a: 1"])
def test_metadata_in_any_form(value: Any) -> None:
    drops: Counter[str] = Counter()
    assert metadata(value, drops) == {"a": 1} and not drops


@pytest.mark.parametrize(
    ("value", "note"), [(None, "no metadata"), ("", "no metadata"), ("x", "metadata that cannot be read")]
)
def test_metadata_that_says_nothing_is_noticed(value: Any, note: str) -> None:
    drops: Counter[str] = Counter()
    assert metadata(value, drops) == {} and drops == {f"note: {note}": 1}
