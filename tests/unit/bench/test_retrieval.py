"""Recall of relevant policy entries: by hand, as a proxy, with intervals, and errors that say what is missing."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csrm import files
from csrm.bench import retrieval, retrieval_commands
from csrm.bench.retrieval import Query, evaluate_retrieval, recall_at_k
from csrm.configs.taxonomy import load_taxonomy
from csrm.data.adapters import ADAPTERS
from csrm.data.sources import load_fixture, read_file
from csrm.rows import Message, Row

RULES = ["Never promise a delivery date.", "Greet the customer.", "Do not mention pets.", "Use short words."]


def row(name: str, said: str, taxonomy: str = "none", **fields: Any) -> Row:
    messages = [Message(role="user", content="q"), Message(role="assistant", content=said)]
    return Row(id=name, dataset="d", prompt_id=name, messages=messages, taxonomy=taxonomy, **fields)


def named(name: str, said: str, *relevant: int) -> Row:
    return row(name, said, meta={"policy": RULES, "relevant_rules": list(relevant), "relevance_source": "human"})


def at(found: dict[str, Any], k: int) -> dict[str, Any]:
    point: dict[str, Any] = found["recall"][k - 1]
    assert point["k"] == k
    return point


def test_recall_is_the_share_of_each_conversations_own_relevant_entries() -> None:
    queries = [Query("a", [2, 0, 1], frozenset({0, 1})), Query("b", [1, 0], frozenset({1}))]
    np.testing.assert_array_equal(recall_at_k(queries, 4), [[0, 0.5, 1, 1], [1, 1, 1, 1]])
    with pytest.raises(ValueError, match="1 conversations have no relevant entry"):
        recall_at_k([*queries, Query("c", [0], frozenset())], 4)


@given(st.permutations(range(6)), st.sets(st.integers(0, 5), min_size=1))
def test_recall_rises_to_one(ranking: list[int], relevant: set[int]) -> None:
    (values,) = recall_at_k([Query("a", ranking, frozenset(relevant))], 8)
    assert (np.diff(values) >= 0).all() and values[5] == values[7] == 1


def test_named_rules_are_found_by_their_words() -> None:
    rows = [named("a", "I promise a delivery date: Friday.", 1), named("b", "Dogs are nice.", 3), named("c", "Yes.")]
    found = evaluate_retrieval(rows, 0.5, 50, 0.95, 0, top=5)
    assert found["relevance"] == retrieval.BROUGHT and found["sources"] == ["human"]
    assert found["counts"] == {"rows": 3, "n": 2, "dropped": {"nothing relevant": 1}}
    # the words of b are in no rule, so its rules keep the policy's order and the third one comes third
    assert [point["value"] for point in found["recall"]] == [0.5, 0.5, 1, 1, 1]
    assert [point["chance"] for point in found["recall"]] == [0.25, 0.5, 0.75, 1, 1]
    assert [point["n_longer"] for point in found["recall"]] == [2, 2, 2, 0, 0]
    assert at(found, 1)["low"] == 0 and at(found, 1)["high"] == 1
    assert at(found, 4)["low"] is None, "by construction 1"


def test_labelled_categories_are_a_proxy_and_named_so() -> None:
    taxonomy = load_taxonomy("beavertails")
    first, second = taxonomy.categories[0], taxonomy.categories[5]
    rows = [
        row("a", f"{first.name} {first.guideline}", "beavertails", harms={first.key: 1.0, second.key: 0.25}),
        row("b", "nothing of it", "beavertails", harms={second.key: 1.0}),
        row("c", "nothing of it", "beavertails"),
    ]
    found = evaluate_retrieval(rows, 0.5, 50, 0.95, 0, top=6)
    assert found["relevance"].startswith("proxy") and found["counts"]["n"] == 2
    assert found["entries"] == {"median": 14.0, "max": 14} and at(found, 1)["value"] == 0.5
    assert at(found, 6)["chance"] == pytest.approx(6 / 14)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a", "x", meta={"policy": RULES})], r"'a' of data set 'd' has a policy and no relevant_rules.*contracts"),
        ([named("a", "x", 1), row("b", "x")], "'b' of data set 'd' has no policy"),
        ([row("a", "x")], "neither a policy with relevant_rules nor labelled categories"),
        ([named("a", "x")], "none of 1 conversations has a relevant entry"),
    ],
)
def test_what_is_missing_is_said(rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_retrieval(rows, 0.5, 50, 0.95, 0)


def test_dynabench_itself_cannot_be_measured() -> None:
    rows = list(ADAPTERS["dynabench"]("dynabench", load_fixture("dynabench"), Counter()))
    with pytest.raises(ValueError, match="which DynaBench does not publish"):
        evaluate_retrieval(rows, 0.5, 50, 0.95, 0)  # type: ignore[arg-type]


def test_command_on_the_rows_of_the_smoke_scale(tmp_path: Path, root: Path) -> None:
    parts = {"rows": read_file(root / "src/csrm/data/project/smoke_policies.jsonl")}
    files.write_rows(tmp_path / "rows.jsonl", list(ADAPTERS["dynabench-relevant"]("smoke-policies", parts, Counter())))
    (tmp_path / "metrics.yaml").write_text("bootstrap: 20\n")
    (tmp_path / "augment.yaml").write_text("standard_threshold: 0.5\n")
    parser = argparse.ArgumentParser()
    retrieval_commands.register(parser.add_subparsers())
    paths = f"--rows {tmp_path}/rows.jsonl --settings {tmp_path}/metrics.yaml --output {tmp_path}/out.json"
    more = f"--augment-settings {tmp_path}/augment.yaml --dataset smoke-policies --scale smoke --seed 0"
    options = parser.parse_args(["evaluate-retrieval", *paths.split(), *more.split()])
    options.run(options)
    found = files.read_json(tmp_path / "out.json")
    assert (found["kind"], found["dataset"], found["scale"]) == ("retrieval", "smoke-policies", "smoke")
    assert found["counts"]["n"] == 11 and 0.5 < at(found, 1)["value"] < at(found, 5)["value"] == 1
    assert (tmp_path / "out.json.manifest.json").is_file()
