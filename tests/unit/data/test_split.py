"""Splits: by prompt, deterministic, held-out families whole, benchmark prompts never trained on."""

import pytest

from csrm.configs.taxonomy import Taxonomy, TaxonomyCategory
from csrm.data.adapters.common import labelled, pair
from csrm.data.split import families, position, split, split_name, split_pairs
from csrm.rows import Row
from csrm.settings import DataSettings

SETTINGS = DataSettings(test_share=0.3, validation_share=0.2, held_out=["privacy"])
TOY = Taxonomy(
    name="toy",
    categories=[
        TaxonomyCategory(key="spying", name="Spying", families=["privacy", "exploits"]),
        TaxonomyCategory(key="fights", name="Fights", families=["violence"]),
    ],
)


def load(name: str) -> Taxonomy:
    """The toy taxonomy, whatever the name."""
    return TOY


def rows(count: int = 200) -> list[Row]:
    """Two responses to each of `count` prompts, the second prompt in another spelling."""
    texts = [(f"prompt {n}", f"  PROMPT   {n}") for n in range(count)]
    return [
        labelled("toy", f"{n}-{i}", text, "answer", "toy", harms={"fights": 1.0})
        for n, pair_ in enumerate(texts)
        for i, text in enumerate(pair_)
    ]


def test_prompts_stay_together_in_any_spelling() -> None:
    splits, notes = split(rows(), SETTINGS, 0, load=load)
    prompts = [{row.prompt_id for row in part} for part in splits.values()]
    assert sum(map(len, prompts)) == 200 and not prompts[0] & prompts[1] and not prompts[0] & prompts[2]
    assert sum(notes["rows"].values()) == 400
    assert 80 < notes["rows"]["test"] < 160


def test_split_depends_on_seed_and_prompt_only() -> None:
    every, _ = split(rows(), SETTINGS, 0, load=load)
    few, _ = split(rows()[100:140], SETTINGS, 0, load=load)
    assert {row.id for row in few["test"]} <= {row.id for row in every["test"]}
    other, _ = split(rows(), SETTINGS, 1, load=load)
    assert [row.id for row in every["test"]] != [row.id for row in other["test"]]
    assert 0 <= position("a", 0) < 1


def test_held_out_families_go_to_test_with_their_prompt() -> None:
    train_prompt = next(row for row in rows() if split_name(row.prompt_id, 0, SETTINGS) == "train")
    text = train_prompt.messages[0].content
    unseen = labelled("toy", "unseen", text, "other answer", "toy", harms={"spying": 0.25})
    splits, notes = split([*rows(), unseen], SETTINGS, 0, load=load)
    together = [row for row in splits["test"] if row.prompt_id == unseen.prompt_id]
    assert len(together) == 3 and notes["held_out"] == {"privacy": 3}


def test_families_count_from_severity_category_and_topic() -> None:
    mild = labelled("toy", 0, "a", "b", "toy", harms={"spying": 0.2, "fights": 0.25})
    assert families(mild, load) == {"violence"}
    own = labelled("toy", 0, "a", "b", "toy", harms={"spying": 0.0}, meta={"category": "spying"})
    assert families(own, load) == {"privacy", "exploits"}
    assert families(labelled("toy", 0, "a", "b", meta={"family": "pets"}), load) == {"pets"}
    assert families(labelled("toy", 0, "a", "b"), load) == set()
    for meta in ({"category": None}, {"category": "neutral", "family": "neutral"}):
        assert families(labelled("toy", 0, "a", "b", "toy", meta=meta), load) <= {"neutral"}
    under = pair("p", 0, ("a", "b", "c"), taxonomy="toy", prompt_categories=["fights"])
    assert families(under, load) == {"violence"}


def test_excluded_prompts_are_tested_on_but_not_trained_on() -> None:
    everything = {row.prompt_id for row in rows()}
    splits, notes = split(rows(), SETTINGS, 0, everything - {rows()[0].prompt_id, rows()[2].prompt_id}, load)
    assert len(splits["train"]) + len(splits["validation"]) <= 4
    assert notes["dropped"]["prompt of a benchmark"] + sum(notes["rows"].values()) == 400


def test_nothing_to_train_on_fails_with_the_fix() -> None:
    with pytest.raises(ValueError, match=r"lower data.test_share or shorten data.held_out"):
        split(rows(), SETTINGS.model_copy(update={"held_out": ["violence"]}), 0, load=load)
    with pytest.raises(ValueError, match="must be below 1"):
        split(rows(), SETTINGS.model_copy(update={"test_share": 0.8}), 0, load=load)


def test_a_set_given_twice_fails() -> None:
    with pytest.raises(ValueError, match="given twice"):
        split([*rows(1), *rows(1), *rows(40)[2:]], SETTINGS, 0, load=load)


def test_pairs_split_as_rows_do() -> None:
    pairs = [pair("p", f"{n}-{i}", (f"prompt {n}", "b", "c")) for n in range(100) for i in range(2)]
    splits, _ = split_pairs(pairs, SETTINGS, 0)
    assert {row.prompt_id for row in splits["test"]}.isdisjoint(row.prompt_id for row in splits["train"])
    assert all(position(row.prompt_id, 0) < 0.3 for row in splits["test"])
    barred = {row.prompt_id for row in pairs}
    left, notes = split_pairs(pairs, SETTINGS, 0, barred)
    assert not left["train"] and notes["dropped"]["prompt of a benchmark"] == len(splits["train"])
