"""A broken source row gives a clear error or a counted exclusion, never a silent one: every field of every fixture."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from csrm.data import tables
from csrm.data.prepare import prepare
from csrm.data.sources import Parts, load_fixture
from csrm.settings import DataSettings

DATASETS = tables.load_datasets(Path(__file__).parents[3] / "config")
BROKEN = {"missing": ..., "empty": "", "null": None, "outside": "no such value"}
# Written by the project, in its own schema: checked by their own tests.
OWN = {"smoke", "topics-prompts"}
LABELS = {
    "beavertails": ["is_safe"],
    "dynabench": ["label"],
    "pyrit-harm": ["harm_category"],
    "pyrit-objective": ["human_score"],
    "pyrit-refusal": ["human_score"],
    "wildguardmix": ["response_harm_label", "response_refusal_label", "prompt_harm_label"],
    "aegis2": ["response_label"],
    "xstest": ["label"],
    "xstest-completions": ["final_label", "prompt_label"],
    "xstest-response": ["label"],
    "or-bench": ["label"],
    "wildguardmix-prompts": ["prompt_harm_label", "adversarial"],
    "beavertails-330k-test": ["is_safe"],
    "cosapien-prompts": ["type"],
    "cosapien-judged": ["label", "scenario"],
    "cosalign-test": ["situation"],
}


def broken(parts: Parts, part: str, field: str, value: Any, rows: int = 1) -> Parts:
    changed = deepcopy(parts)
    for row in changed[part][:rows]:
        row.pop(field, None)
        if value is not ...:
            row[field] = value
    return changed


def texts(row: Any) -> list[str]:
    own = [getattr(row, name) for name in ("prompt", "chosen", "rejected") if hasattr(row, name)]
    return own + [message.content for message in getattr(row, "messages", [])[-1:]]


def counted(notes: dict[str, Any]) -> int:
    return sum(notes["dropped"].values()) + sum(notes["noticed"].values())


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("dataset", sorted(set(DATASETS) - OWN))
def test_no_field_breaks_silently(dataset: str, how: str) -> None:
    parts = load_fixture(dataset)
    whole, notes = prepare(DATASETS[dataset], deepcopy(parts), DataSettings())
    for part, rows in parts.items():
        for field in rows[0]:
            try:
                left, found = prepare(DATASETS[dataset], broken(parts, part, field, BROKEN[how]), DataSettings())
            except ValueError as error:
                assert len(str(error)) > 20, "the message says what is wrong"
                continue
            assert all(text.strip() for row in left for text in texts(row)), (part, field)
            assert len(left) >= len(whole) or counted(found) > counted(notes), (part, field)


@pytest.mark.parametrize("dataset", sorted(LABELS))
def test_a_label_outside_the_set_is_an_error(dataset: str) -> None:
    parts = load_fixture(dataset)
    tried = 0
    for part, rows in parts.items():
        for field in (field for field in LABELS[dataset] if field in rows[0]):
            tried += 1
            with pytest.raises(ValueError, match=r"no such value|not one of|labelled|could not convert"):
                prepare(DATASETS[dataset], broken(parts, part, field, "no such value", len(rows)), DataSettings())
    assert tried


def test_a_missing_rating_is_counted() -> None:
    parts = load_fixture("pyrit-harm")
    _, notes = prepare(
        DATASETS["pyrit-harm"], broken(parts, "harm/violence_multi", "human_score_2", ""), DataSettings()
    )
    assert notes["noticed"]["empty rating, left out of the mean"] == 1
    _, notes = prepare(DATASETS["pyrit-harm"], broken(parts, "harm/sexual", "human_score", ""), DataSettings())
    assert notes["dropped"]["no human score"] == 1


def test_a_conversation_of_40000_words_is_cut_and_counted() -> None:
    parts = load_fixture("xstest-response")
    part = next(iter(parts))
    parts[part][0]["response"] = "word " * 40_000
    rows, notes = prepare(DATASETS["xstest-response"], parts, DataSettings(max_response_words=100))
    assert notes["cut"] == {"response": 1} and max(len(texts(row)[0].split()) for row in rows) == 100
