"""Row types: what they accept and refuse."""

from typing import Any

import pytest
from pydantic import ValidationError

from csrm.configs.safety_config import Category
from csrm.rows import Branch, Group, Item, Message, PairRow, PromptRow, Row, ScoreRow

USER = Message(role="user", content="How do I bake bread?")
REPLY = Message(role="assistant", content="With flour, water, salt and yeast.")
CONFIG = [Category(name="Violence")]


def row(**changes: Any) -> Row:
    data = {"id": "r", "dataset": "d", "prompt_id": "p", "messages": [USER, REPLY], "taxonomy": "t"}
    return Row.model_validate({**data, **changes})


def test_row_defaults() -> None:
    assert row().harms == {}
    assert not row().exhaustive
    assert row().safe is None


@pytest.mark.parametrize("severity", [-0.1, 1.01])
def test_severities_lie_in_the_unit_interval(severity: float) -> None:
    with pytest.raises(ValidationError, match=r"severities must lie in \[0, 1\], got {'violence'"):
        row(harms={"violence": severity, "hate": 0.5})
    assert row(harms={"violence": 0.0, "hate": 1.0}).harms["hate"] == 1.0


def test_a_row_ends_with_the_response() -> None:
    with pytest.raises(ValidationError, match="row r: the last message must be the assistant's, got user"):
        row(messages=[USER, REPLY, USER])
    with pytest.raises(ValidationError):
        row(messages=[REPLY])


def test_roles_are_checked() -> None:
    with pytest.raises(ValidationError, match="role"):
        Message.model_validate({"role": "agent", "content": ""})


@pytest.mark.parametrize("model", [Row, PromptRow, PairRow, Branch, Group, Item, ScoreRow])
def test_unknown_keys_are_errors(model: Any) -> None:
    with pytest.raises(ValidationError, match="unheard_of\n  Extra inputs are not permitted"):
        model.model_validate({"unheard_of": 1})


def test_rows_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        row().id = "other"


@pytest.mark.parametrize("pair", [(0, 2), (-1, 0)])
def test_pairs_point_at_branches(pair: tuple[int, int]) -> None:
    branches = [Branch(config=CONFIG, label="safe"), Branch(config=CONFIG, source="sa")]
    good = Group(id="g", prompt_id="p", messages=[USER, REPLY], branches=branches, pairs=[(0, 1)])
    assert good.pairs == [(0, 1)]
    with pytest.raises(ValidationError, match=r"group g: pairs .* point outside its 2 branches"):
        Group(id="g", prompt_id="p", messages=[USER, REPLY], branches=branches, pairs=[(1, 0), pair])


def test_a_group_has_branches() -> None:
    with pytest.raises(ValidationError, match="branches"):
        Group(id="g", prompt_id="p", messages=[USER, REPLY], branches=[])


def test_labels_and_ranks_are_closed_sets() -> None:
    item = {"id": "i", "prompt_id": "p", "messages": [USER, REPLY], "config": CONFIG}
    assert Item.model_validate({**item, "label": "unsafe", "rank": "chosen", "pair": "q"}).subset == "all"
    for bad in ({"label": "harmful"}, {"rank": "best"}, {"messages": []}):
        with pytest.raises(ValidationError):
            Item.model_validate({**item, **bad})


def test_json_round_trip() -> None:
    original = row(harms={"violence": 0.25}, exhaustive=True, meta={"source": 1})
    assert Row.model_validate_json(original.model_dump_json(exclude_defaults=True)) == original
