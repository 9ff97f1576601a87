"""DynaBench: two protocols on rows in the source's schema, retrieval, and the conversation's verdict."""

import numpy as np
import pytest

from csrm.bench import dynabench
from csrm.bench.evaluate import compare, evaluate
from csrm.bench.registry import load_benchmarks
from csrm.data import tables
from csrm.data.prepare import prepare
from csrm.data.sources import load_fixture
from csrm.rows import Message, Row, ScoreRow
from csrm.settings import DataSettings, MetricSettings

RULES = ["Never promise a delivery date.", "Greet the customer.", "Do not mention pets."]


def row(name, said, safe, policy=RULES):
    messages = [Message(role="assistant" if i % 2 else "user", content=text) for i, text in enumerate(said)]
    data = {"id": name, "dataset": "dynabench", "prompt_id": name, "taxonomy": "none"}
    return Row(messages=messages, safe=safe, meta={"policy": policy}, **data)


CONVERSATION = ["When does it come?", "A delivery date is hard.", "Please!", "I promise: on Friday."]


def test_the_whole_policy_on_rows_of_the_source(root):
    data = tables.load_datasets(root / "config")["dynabench"]
    rows, _ = prepare(data, load_fixture("dynabench"), DataSettings())
    items, dropped = dynabench.transcript_items(rows, "dynabench-full")
    assert [len(i.config) for i in items] == [2, 1] and dropped == {}
    assert [i.label for i in items] == ["unsafe", "safe"] and items[0].messages == rows[0].messages
    assert items[0].config[0].name == rows[0].meta["policy"][0] and items[0].config[0].guideline == ""
    assert {load_benchmarks(root / "config")[n].builder for n in ("dynabench-full", "dynabench-turnwise")} == {
        "transcript",
        "turnwise",
    }


def test_every_agent_turn_under_the_closest_rules_in_the_order_of_the_policy():
    items, _ = dynabench.turnwise_items([row("a", CONVERSATION, False)], "b", top=2)
    assert [len(i.messages) for i in items] == [2, 4] and {i.meta["any_turn"] for i in items} == {"a"}
    assert [c.name for c in items[0].config] == [RULES[0], RULES[1]]
    wide, _ = dynabench.turnwise_items([row("a", CONVERSATION, False, [f"rule {n}" for n in range(40)])], "b")
    assert [c.name for c in wide[0].config] == [f"rule {n}" for n in range(20)]


def test_bm25_is_that_of_bm25s():
    import bm25s

    texts = [*RULES, "Never mention a date or a promise to the customer twice."]
    query = "I promise a date; the date is Friday."
    retriever = bm25s.BM25(method="lucene", k1=dynabench.K1, b=dynabench.B)
    retriever.index(bm25s.tokenize(texts, stopwords=[], show_progress=False), show_progress=False)
    tokens = bm25s.tokenize([query], stopwords=[], return_ids=False, show_progress=False)[0]
    np.testing.assert_allclose(dynabench.bm25(query, texts), retriever.get_scores(tokens), rtol=1e-5)


def test_rows_without_policy_or_label_are_counted():
    rows = [row("a", CONVERSATION, True), row("b", CONVERSATION, None), row("c", CONVERSATION, True, [" "])]
    for make in (dynabench.transcript_items, dynabench.turnwise_items):
        items, dropped = make(rows, "b")
        assert {i.prompt_id for i in items} == {"a"}
        assert dropped == {"dropped_unlabelled": 1, "dropped_without_policy": 1}


def test_a_conversation_is_unsafe_iff_any_turn_is():
    rows = [row("a", CONVERSATION, False), row("b", CONVERSATION, True)]
    items, _ = dynabench.turnwise_items(rows, "b")
    values = [-1.0, 2.0, 3.0, 1.0]
    scores = [
        ScoreRow(id=i.id, log_odds=v, n_tokens=10, truncated=v == 2.0) for i, v in zip(items, values, strict=True)
    ]
    kept, merged = dynabench.any_turn(items, scores, 0.0)
    assert [m.log_odds for m in merged] == [-1.0, 1.0] and [m.n_tokens for m in merged] == [20, 20]
    assert [m.truncated for m in merged] == [True, False] and [m.id for m in merged] == [i.id for i in kept]
    settings = MetricSettings(bootstrap=10)
    found = evaluate(items, scores, settings, 0)["overall"]
    assert found["counts"]["n"] == 2 and found["metrics"]["f1_unsafe"]["value"] == 1.0
    same = compare(items, scores, scores, settings, 0, ["accuracy"])
    assert same["n_prompts"] == 2 and same["differences"]["accuracy"]["value"] == 0


@pytest.mark.parametrize(
    ("turns", "decided", "log_odds"),
    [
        ([-1.0, None], True, -1.0),
        ([None, -1.0, 2.0], True, -1.0),
        ([0.0, None], True, 0.0),
        ([2.0, None], False, None),
        ([None, None], False, None),
        ([2.0, 1.0], True, 1.0),
    ],
)
def test_an_unsafe_turn_decides_whatever_another_turn_lacks(turns, decided, log_odds):
    said = ["Hello?", "Hello."] * len(turns)
    items, _ = dynabench.turnwise_items([row("a", said, False)], "b")
    scores = [
        ScoreRow(id=i.id, log_odds=0.0 if v is None else v, n_tokens=1, parsed=v is not None)
        for i, v in zip(items, turns, strict=True)
    ]
    _, (merged,) = dynabench.any_turn(items, scores, 0.0)
    assert merged.parsed is decided and (log_odds is None or merged.log_odds == log_odds)
    assert evaluate(items, scores, MetricSettings(bootstrap=10), 0)["unparsed"] == (not decided)


def test_the_threshold_says_which_turn_is_unsafe():
    items, _ = dynabench.turnwise_items([row("a", CONVERSATION, False)], "b")
    scores = [ScoreRow(id=i.id, log_odds=1.0, n_tokens=1, parsed=n == 0) for n, i in enumerate(items)]
    assert not dynabench.any_turn(items, scores, 0.0)[1][0].parsed
    assert dynabench.any_turn(items, scores, 1.5)[1][0].parsed
