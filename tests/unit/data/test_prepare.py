"""Cutting, capping and counting."""

from pathlib import Path

import pytest

from csrm.data import tables
from csrm.data.adapters.common import labelled, pair
from csrm.data.prepare import cap, prepare
from csrm.data.sources import Parts, load_fixture
from csrm.files import text_id
from csrm.rows import PairRow, Row
from csrm.settings import DataSettings

DATASETS = tables.load_datasets(Path(__file__).parents[3] / "config")


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_every_fixture_is_prepared(dataset: str) -> None:
    rows, notes = prepare(DATASETS[dataset], load_fixture(dataset), DataSettings())
    assert notes["rows_out"] == len(rows) > 0


def test_cut_keeps_first_words_of_responses_and_last_of_prompts() -> None:
    parts: Parts = {"refusal/a": [{"objective": "a b  c d", "assistant_response": "1 2\n3 4", "human_score": "0"}]}
    settings = DataSettings(max_prompt_words=3, max_response_words=3)
    (row,), notes = prepare(DATASETS["pyrit-refusal"], parts, settings)
    assert isinstance(row, Row)
    assert [m.content for m in row.messages] == ["b  c d", "1 2\n3"]
    assert row.prompt_id == text_id("b c d")
    assert row.cut and {what: found["cut"] for what, found in notes["words"].items()} == {"prompt": 1, "response": 1}


def test_short_texts_are_left_alone() -> None:
    parts: Parts = {"pairs": [{"prompt": " a ", "chosen": "b\n", "rejected": "c"}]}
    (row,), _ = prepare(DATASETS["safe-rlhf"], parts, DataSettings(max_prompt_words=1, max_response_words=1))
    assert isinstance(row, PairRow)
    assert (row.prompt, row.chosen, row.cut) == (" a ", "b\n", False)


def test_lengths_are_audited_before_the_cut() -> None:
    answers = [" ".join(["w"] * n) for n in (*range(1, 20), 400)]
    parts: Parts = {"pairs": [{"prompt": "a b", "chosen": text, "rejected": "x y"} for text in answers]}
    rows, notes = prepare(DATASETS["safe-rlhf"], parts, DataSettings(max_response_words=10))
    found = {"n": 40, "median": 2, "p95": 18, "max": 400, "limit": 10, "cut": 10}
    assert notes["words"]["response"] == found and notes["words"]["prompt"]["cut"] == 0
    assert sum(row.cut for row in rows) == 10


def test_pairs_that_the_cut_makes_equal_are_dropped() -> None:
    parts: Parts = {"pairs": [{"prompt": "a", "chosen": "x y", "rejected": "x z"}]}
    parts["pairs"].append({"prompt": "a", "chosen": "x y", "rejected": "z"})
    rows, notes = prepare(DATASETS["safe-rlhf"], parts, DataSettings(max_response_words=1))
    assert len(rows) == 1 and notes["dropped"] == {"equal responses after the cut": 1}


def test_cap_takes_whole_prompts_in_hash_order() -> None:
    rows = [labelled("d", f"{p}-{n}", f"prompt {p}", f"answer {n}") for p in range(20) for n in range(3)]
    kept = cap([*rows], 10)
    assert len(kept) == 9
    assert all(sum(k.prompt_id == row.prompt_id for k in kept) == 3 for row in kept)
    assert [k.id for k in kept] != [row.id for row in rows[:9]]
    assert {k.id for k in cap(list(reversed(rows)), 10)} == {k.id for k in kept}
    assert cap([*rows], None) == rows


def test_cap_is_counted() -> None:
    _, notes = prepare(DATASETS["cosapien-prompts"], load_fixture("cosapien-prompts"), DataSettings(row_cap=2))
    assert notes["dropped"] == {"row_cap": 1} and notes["rows_out"] == 2


def test_no_rows_changed_schema_and_wrong_kind_fail() -> None:
    dataset = DATASETS["safe-rlhf"]
    with pytest.raises(ValueError, match="no row is left"):
        prepare(dataset, {"pairs": []}, DataSettings())
    with pytest.raises(ValueError, match="no field 'type'"):
        prepare(DATASETS["xstest"], {"prompts": [{"prompt": "a"}]}, DataSettings())
    with pytest.raises(ValueError, match="is a PairRow, the table says 'labelled'"):
        wrong = dataset.model_copy(update={"kind": "labelled"})
        prepare(wrong, load_fixture("safe-rlhf"), DataSettings())


def test_ids_must_be_unique() -> None:
    row = {"prompt": "a", "type": "homonyms", "id": "1"}
    with pytest.raises(ValueError, match=r"more than once: \['xstest-1'\]"):
        prepare(DATASETS["xstest"], {"prompts": [row, row]}, DataSettings())


def test_pair_helper_sets_the_prompt_id() -> None:
    assert pair("d", 1, ("A  b", "c", "d")).prompt_id == text_id("a B")
