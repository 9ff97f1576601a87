"""A broken source row gives a clear error or a named count, never silence: every field of every row of every fixture.

Every field is one of three kinds. A text field must not be empty, a label field must be one of its values, and a free
field decides nothing: whatever it holds, only identifiers and `meta` may differ.
"""

from collections import Counter
from collections.abc import Iterator
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
TEXTS = {
    *("prompt", "response", "chosen", "rejected", "response_0", "response_1", "objective", "assistant_response"),
    *("chosen_response", "rejected_response", "system", "system_prompt", "policy", "transcript", "value"),
    *("response_source", "response_label_source"),
}
SCORES = ("human_score", "human_score_1", "human_score_2", "human_score_3")
RESPONSE_LABELS = ("response_harm_label", "response_refusal_label", "prompt_harm_label", "adversarial", "subcategory")
CATEGORY_SETS = ("spec_i", "spec_j", "mode", "chosen_cat", "rejected_cat")
LABELS: dict[str, tuple[str, ...]] = {
    "aegis2": ("response_label", "violated_categories"),
    "beavertails": ("is_safe", "category"),
    "beavertails-votes": ("is_safe", "category"),
    "coconot": (),
    "cosalign-labelled": ("harm_categorization_response", "addressed_imp_response"),
    "cosalign-test": ("mode", "situation", "allowed_categories", "prompt_categories"),
    "cosalign-test-simplified": ("test_config_category",),
    "cosalign-train": (*CATEGORY_SETS, "chosen_category_error_score", "rejected_category_error_score"),
    "cosapien": ("key", "scenario"),
    "cosapien-judged": ("label", "label_source", "scenario"),
    "cosapien-prompts": ("type",),
    "cst-pairs": ("task",),
    "dynabench": ("label", "metadata", "formatted_output"),
    "dynabench-relevant": ("label", "metadata", "relevant_rules", "relevance_source"),
    "or-bench": ("label",),
    "own-labels": ("label", "messages"),
    "project-pairs": (),
    "prompt2response": (),
    "pyrit-harm": ("harm_category", *SCORES),
    "pyrit-objective": ("human_score",),
    "pyrit-refusal": ("human_score",),
    "safe-rlhf-ranked": ("is_response_0_safe", "is_response_1_safe", "safer_response_id"),
    "safe-rlhf": ("is_response_0_safe", "is_response_1_safe", "safer_response_id"),
    "wildguard-prompts": ("prompt_harm_label", "adversarial"),
    "wildguardmix": RESPONSE_LABELS,
    "xstest": ("label", "type"),
    "xstest-completions": ("final_label", "prompt_label"),
    "xstest-response": ("label", "prompt_type"),
}
MORE_TEXTS = {("cosapien-prompts", "scenario"), ("own-labels", "label_source"), ("prompt2response", "key")}
UNREAD = {("wildguard-prompts", "response")}
# Columns that repeat what the part's name or another column says, and that not every copy has.
REPEATED = {("or-bench", "label"), ("cosalign-test", "allowed_categories"), ("dynabench", "formatted_output")}
NAMES = sorted(set(DATASETS) - OWN)


def kind(dataset: str, field: str) -> str:
    adapter = DATASETS[dataset].adapter
    if field in LABELS[adapter]:
        return "label"
    is_text = (field in TEXTS or (adapter, field) in MORE_TEXTS) and (adapter, field) not in UNREAD
    return "text" if is_text else "free"


def fields(dataset: str, wanted: str) -> Iterator[tuple[str, int, str]]:
    """Part, position and field of everything of a kind that a data set's fixture holds."""
    for part, rows in load_fixture(dataset).items():
        for number, row in enumerate(rows):
            yield from ((part, number, field) for field in row if kind(dataset, field) == wanted)


def broken(parts: Parts, part: str, number: int, field: str, value: Any) -> Parts:
    changed = deepcopy(parts)
    row = changed[part][number]
    row.pop(field)
    if value is not ...:
        row[field] = value
    return changed


def prepared(dataset: str, parts: Parts) -> tuple[list[dict[str, Any]], Counter[str]]:
    """What the rows say, without identifiers, and what was counted by name."""
    rows, notes = prepare(DATASETS[dataset], deepcopy(parts), DataSettings())
    counted = Counter(notes["dropped"]) + Counter(notes["noticed"])
    return [row.model_dump(exclude={"id", "prompt_id"}) for row in rows], counted


def unused(dataset: str, parts: Parts, part: str, number: int) -> bool:
    """Whether the fixture's row is left out, so that nothing in it matters."""
    without = deepcopy(parts)
    without[part].pop(number)
    try:
        return prepared(dataset, without)[0] == prepared(dataset, parts)[0]
    except ValueError:
        return False


def check(dataset: str, part: str, number: int, field: str, how: str) -> None:
    """A broken field is an error, or counted by name."""
    parts = load_fixture(dataset)
    was = parts[part][number][field]
    if (was in (None, "") and how != "outside") or unused(dataset, parts, part, number):
        return
    try:
        left, found = prepared(dataset, broken(parts, part, number, field, BROKEN[how]))
    except ValueError as error:
        assert str(error).startswith(f"{dataset}: ") and len(str(error)) > 30, "the message says what is wrong where"
        return
    whole, counted = prepared(dataset, parts)
    repeated = how == "missing" and (DATASETS[dataset].adapter, field) in REPEATED
    assert (left == whole) if repeated else (found - counted), (part, number, field, how, left)


@pytest.mark.parametrize("how", ["missing", "empty", "null"])
@pytest.mark.parametrize("dataset", NAMES)
def test_no_text_breaks_silently(dataset: str, how: str) -> None:
    for place in fields(dataset, "text"):
        check(dataset, *place, how)


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("dataset", NAMES)
def test_no_label_breaks_silently(dataset: str, how: str) -> None:
    for place in fields(dataset, "label"):
        check(dataset, *place, how)


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("dataset", NAMES)
def test_free_fields_decide_nothing(dataset: str, how: str) -> None:
    parts = load_fixture(dataset)
    whole = [{**row, "meta": None} for row in prepared(dataset, parts)[0]]
    for part, number, field in fields(dataset, "free"):
        try:
            left, _ = prepared(dataset, broken(parts, part, number, field, BROKEN[how]))
        except ValueError:
            continue
        assert [{**row, "meta": None} for row in left] == whole, (part, number, field)


def test_every_label_field_occurs_in_a_fixture() -> None:
    assert set(LABELS) == {DATASETS[name].adapter for name in NAMES}
    found = {(DATASETS[name].adapter, place[2]) for name in NAMES for place in fields(name, "label")}
    assert found == {(adapter, field) for adapter, names in LABELS.items() for field in names}


def test_a_missing_rating_is_counted() -> None:
    parts = load_fixture("pyrit-harm")
    _, notes = prepare(
        DATASETS["pyrit-harm"], broken(parts, "harm/violence_multi", 0, "human_score_2", ""), DataSettings()
    )
    assert notes["noticed"]["empty rating, left out of the mean"] == 1
    _, notes = prepare(DATASETS["pyrit-harm"], broken(parts, "harm/sexual", 0, "human_score", ""), DataSettings())
    assert notes["dropped"]["no human score"] == 1


def test_a_conversation_of_40000_words_is_cut_and_counted() -> None:
    parts = load_fixture("xstest-response")
    part = next(iter(parts))
    parts[part][0]["response"] = "word " * 40_000
    rows, notes = prepare(DATASETS["xstest-response"], parts, DataSettings(max_response_words=100))
    responses = [row.messages[-1].content for row in rows]  # type: ignore[union-attr]
    assert notes["words"]["response"]["cut"] == 1 and max(len(text.split()) for text in responses) == 100
