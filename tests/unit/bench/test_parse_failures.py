"""Answers without a verdict: every rule, and the count in the metrics."""

import pytest

from csrm.bench.evaluate import compare, evaluate
from csrm.bench.parse_failures import apply_rule
from csrm.configs.safety_config import Category
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import MetricSettings

TURNS = [Message(role="user", content="q"), Message(role="assistant", content="a")]


def item(name, label=None, **more):
    return Item(id=name, prompt_id=name, messages=TURNS, config=[Category(name="Pets")], label=label, **more)


def score(name, value=0.0, parsed=False):
    return ScoreRow(id=name, log_odds=value, n_tokens=1, parsed=parsed)


ITEMS = [item("a", "safe"), item("b", "unsafe"), item("c", "safe"), item("d", "unsafe")]
SCORES = [score("a", 2.0, True), score("b", -1.0, True), score("c"), score("d")]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("wrong", [2, -1, -10, 10]), ("safe", [2, -1, 10, 10]), ("unsafe", [2, -1, -10, -10]), ("exclude", [2, -1])],
)
def test_rules(rule, expected):
    items, scores = apply_rule(ITEMS, SCORES, rule)
    assert [row.log_odds for row in scores] == expected and [i.id for i in items] == [s.id for s in scores]


def test_pairs_are_wrong_or_left_out_whole():
    items = [item("x", pair="p", rank="chosen"), item("y", pair="p", rank="rejected"), item("z", "safe")]
    scores = [score("x"), score("y", 1.0, True), score("z", 1.0, True)]
    assert apply_rule(items, scores, "wrong")[1][0].log_odds == -10
    assert [i.id for i in apply_rule(items, scores, "exclude")[0]] == ["z"]
    assert apply_rule(items, [score("x", 1.0, True), score("y"), scores[2]], "wrong")[1][1].log_odds == 10


def test_the_metrics_print_the_count_and_f1_under_every_rule():
    found = evaluate(ITEMS, SCORES, MetricSettings(bootstrap=10), 0)
    assert found["unparsed"] == 2 and found["parse_failure"] == "wrong"
    assert found["overall"]["metrics"]["f1_unsafe"]["value"] == 0.5
    rules = {rule: values["f1_unsafe"] for rule, values in found["f1_by_parse_failure_rule"].items()}
    assert rules == {"wrong": 0.5, "unsafe": 0.8, "safe": pytest.approx(2 / 3), "exclude": 1.0}
    left = evaluate(ITEMS, SCORES, MetricSettings(bootstrap=10, parse_failure="exclude"), 0)
    assert left["overall"]["counts"]["n"] == 2 and left["unparsed"] == 2
    clean = evaluate(ITEMS[:2], SCORES[:2], MetricSettings(bootstrap=10), 0)
    assert clean["unparsed"] == 0 and clean["f1_by_parse_failure_rule"] == {}


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="none of 2 answers held a verdict"):
        evaluate(ITEMS[2:], SCORES[2:], MetricSettings(bootstrap=10, parse_failure="exclude"), 0)


def test_two_models_are_compared_on_the_same_items():
    other = [score("a"), score("b", 1.0, True), score("c", 1.0, True), score("d", -1.0, True)]
    settings = MetricSettings(bootstrap=10, parse_failure="exclude")
    found = compare(ITEMS, SCORES, other, settings, 0, ["accuracy"])
    assert found["n_prompts"] == 1 and found["differences"]["accuracy"]["value"] == 1.0
