"""Pairs of helpfulness: what is preferred to what, what is left out, and that no prompt is in two parts."""

from collections import Counter

import pytest

from csrm.align.helpfulness_pairs import PARTS, answer_pairs, chosen_pairs, split_helpfulness
from csrm.files import text_id
from csrm.rows import Message, PairRow, Row
from csrm.settings import HelpfulnessSettings

SETTINGS = HelpfulnessSettings()


def labelled(number: int, prompt: str, response: str, refusal: bool | None, dataset: str = "pyrit-refusal") -> Row:
    turns = [Message(role="user", content=prompt), Message(role="assistant", content=response)]
    name = f"{dataset}-{number}"
    return Row(id=name, dataset=dataset, prompt_id=text_id(prompt), messages=turns, taxonomy="none", refusal=refusal)


def pair(number: int, prompt: str, dataset: str = "coconot", system: str | None = None, **meta: object) -> PairRow:
    return PairRow(
        id=f"{dataset}-{number}",
        dataset=dataset,
        prompt_id=text_id(prompt),
        prompt=prompt,
        chosen=f"yes {number}",
        rejected=f"no {number}",
        system=system,
        meta=meta,
    )


def test_answers_are_preferred_to_refusals_of_the_same_prompt() -> None:
    rows = [
        labelled(0, "How?", "So.", False),
        labelled(1, "how? ", "No.", True),
        labelled(2, "How?", "Thus.", False),
        labelled(3, "How?", "Unrated.", None),
        labelled(4, "Why?", "I will not.", True),
        labelled(5, "How?", "Elsewhere.", True, dataset="other"),
    ]
    dropped = Counter[str]()
    pairs = answer_pairs(rows, 4, 0, dropped)
    assert sorted((p.chosen, p.rejected) for p in pairs) == [("So.", "No."), ("Thus.", "No.")]
    assert dropped == {"no refusal label, or not one turn": 1, "answers or refusals only": 2}


def test_a_prompt_gives_no_more_pairs_than_allowed() -> None:
    rows = [labelled(i, "How?", f"text {i}", i % 2 == 0) for i in range(8)]
    drawn = answer_pairs(rows, 3, 0, Counter())
    assert len(drawn) == len({p.id for p in drawn}) == 3
    assert drawn == answer_pairs(rows, 3, 0, Counter())
    assert len(answer_pairs(rows, 99, 0, Counter())) == 16


def test_only_the_permissive_side_of_configurable_safety_is_about_helpfulness() -> None:
    rows = [
        pair(0, "a", "cst-pairs", "You are completely uncensored.", conditional=True),
        pair(1, "b", "cst-pairs", "You avoid harm.", conditional=True),
        pair(2, "c", "cst-pairs", "You are honest and uncensored.", conditional=False),
        pair(3, "d"),
    ]
    dropped = Counter[str]()
    assert [p.prompt for p in chosen_pairs(rows, dropped)] == ["a", "d"]
    assert dropped == {"preference under a system prompt": 2}
    assert all(p.system is None for p in chosen_pairs(rows, dropped))


def test_safety_preferences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'safe-rlhf' prefers by something other .*coconot"):
        split_helpfulness([pair(0, "a", "safe-rlhf")], SETTINGS, 0)


def test_no_prompt_is_in_two_parts_whatever_its_spelling_and_data_set() -> None:
    rows: list[Row | PairRow] = [pair(i, f"Question {i}?") for i in range(60)]
    rows += [pair(100 + i, f"  question {i}? ", "cst-pairs", "uncensored", conditional=True) for i in range(60)]
    rows += [labelled(i, f"QUESTION {i // 2}?", f"text {i}", i % 2 == 0) for i in range(120)]
    splits = split_helpfulness(rows, SETTINGS, 3)
    prompts = {name: {p.prompt_id for p in splits.parts[name]} for name in PARTS}
    assert sum(map(len, prompts.values())) == len(set().union(*prompts.values())) == 60
    assert sum(len(part) for part in splits.parts.values()) == 180
    assert {name: len(found) for name, found in prompts.items()} == splits.notes["prompts"]
    assert 8 <= len(prompts["test"]) <= 22, "a quarter of 60, give or take"


def test_prompts_of_the_alignments_test_are_not_fitted_to() -> None:
    rows = [pair(i, f"Question {i}?") for i in range(60)]
    free = split_helpfulness(rows, SETTINGS, 0)
    barred = {free.parts[name][0].prompt_id for name in PARTS}
    splits = split_helpfulness(rows, SETTINGS, 0, barred)
    assert splits.notes["dropped"] == {"prompt of the alignment's test": 2}
    assert not barred & {p.prompt_id for name in ("train", "validation") for p in splits.parts[name]}
    assert splits.parts["test"] == free.parts["test"]


def test_repeated_and_equal_pairs_are_counted() -> None:
    rows = [pair(i, f"Question {i}?") for i in range(60)]
    twice = rows[0].model_copy(update={"id": "again"})
    equal = rows[1].model_copy(update={"id": "equal", "rejected": rows[1].chosen})
    notes = split_helpfulness([*rows, twice, equal], SETTINGS, 0).notes
    assert notes["dropped"] == {"duplicate": 1, "equal responses": 1}


def test_an_empty_part_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no helpfulness pair for .*name more data sets in helpfulness.data"):
        split_helpfulness([pair(0, "a")], SETTINGS, 0)
