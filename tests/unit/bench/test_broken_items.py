"""Broken benchmark rows, items and scores: a clear error or a counted exclusion, from the commands that read them."""

import argparse
import json
import math

import pytest
import yaml

from csrm import files
from csrm.bench import build, commands
from csrm.bench.evaluate import evaluate
from csrm.configs.safety_config import Category
from csrm.model.scorer import Request
from csrm.rows import Item, Message, PairRow, PromptRow, Row, ScoreRow
from csrm.settings import MetricSettings

CONFIG = [Category(name="Violence")]
SETTINGS = MetricSettings(bootstrap=10)


def row(name, response="No.", **more):
    messages = [Message(role="user", content=f"ask {name}"), Message(role="assistant", content=response)]
    return Row(id=name, dataset="d", prompt_id=name, messages=messages, taxonomy="t", safe=True, **more)


def item(name, label="safe", said="No."):
    messages = [Message(role="user", content="q"), Message(role="assistant", content=said)]
    return Item(id=name, prompt_id=name, messages=messages, config=CONFIG, label=label)


def test_empty_texts_are_left_out_and_counted():
    kept, counts = build.without_blanks([row("a"), row("b", ""), row("c", " \n")])
    assert [r.id for r in kept] == ["a"] and counts == {"dropped_empty_response": 2}
    prompts = [PromptRow(id=n, dataset="d", prompt_id=n, prompt=n.strip()) for n in ("a", " ")]
    assert build.without_blanks(prompts)[1] == {"dropped_empty_prompt": 1}
    data = {"dataset": "d", "prompt_id": "p", "prompt": "q"}
    pairs = [PairRow(id="a", chosen="x", rejected="", **data), PairRow(id="b", chosen="x", rejected="y", **data)]
    kept, counts = build.without_blanks(pairs)
    assert [p.id for p in kept] == ["b"] and counts == {"dropped_empty_rejected": 1}


@pytest.fixture
def run_build(tmp_path, root):
    """Run build-benchmark on a file of row dictionaries; returns the items and the notes."""
    for name in ("augment", "data"):
        (tmp_path / f"{name}.yaml").write_text("{}")
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())

    def run(rows, benchmark="xstest-response"):
        (tmp_path / "rows.jsonl").write_text("".join(f"{line}\n" for line in rows))
        line = f"build-benchmark --benchmark {benchmark} --config-dir {root}/config --rows {tmp_path}/rows.jsonl"
        line += f" --settings {tmp_path}/augment.yaml --data-settings {tmp_path}/data.yaml --seed 0"
        line += f" --item-cap 120 --output {tmp_path}/items.jsonl"
        chosen = parser.parse_args(line.split())
        chosen.run(chosen)
        notes = files.read_json(tmp_path / "items.jsonl.manifest.json")["notes"]
        return files.read_rows(tmp_path / "items.jsonl", Item), notes

    return run


def dumped(*rows):
    return [json.dumps(one.model_dump() if isinstance(one, Row) else one) for one in rows]


def test_build_counts_empty_and_unlabelled_responses(run_build):
    unlabelled = row("c").model_copy(update={"safe": None})
    items, notes = run_build(dumped(row("a"), row("b", "  "), unlabelled))
    assert [i.id for i in items] == ["xstest-response:a"]
    assert notes["dropped_empty_response"] == 1 and notes["dropped_unlabelled"] == 1 and notes["rows"] == 3


def test_build_names_the_file_the_row_and_the_field(run_build):
    for field in ("prompt_id", "messages", "taxonomy"):
        data = row("b").model_dump()
        del data[field]
        with pytest.raises(ValueError, match=rf"rows\.jsonl, row 2 is not a valid Row(.|\n)*{field}"):
            run_build(dumped(row("a"), data))
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 2: not valid JSON"):
        run_build([*dumped(row("a")), "{broken"])
    with pytest.raises(ValueError, match=r"row 1 is not a valid Row(.|\n)*safe"):
        run_build(dumped({**row("a").model_dump(), "safe": "perhaps"}))
    with pytest.raises(ValueError, match="no items from"):
        run_build(dumped(row("a", "")))


def test_a_prompt_label_outside_the_set_is_named(run_build):
    data = {"id": "a", "dataset": "d", "prompt_id": "a", "prompt": "q", "meta": {"label": "grey"}}
    with pytest.raises(ValueError, match=r"'a': meta\.label is 'grey'; expected one of"):
        run_build(dumped(data), "xstest")


def test_items_and_scores_outside_their_sets_are_refused(tmp_path):
    data = item("a").model_dump()
    files.write_rows(tmp_path / "items.jsonl", [{**data, "label": "grey"}])
    with pytest.raises(ValueError, match=r"row 1 is not a valid Item(.|\n)*label"):
        files.read_rows(tmp_path / "items.jsonl", Item)
    files.write_rows(tmp_path / "scores.jsonl", [{"id": "a", "n_tokens": 1}])
    with pytest.raises(ValueError, match=r"row 1 is not a valid ScoreRow(.|\n)*log_odds"):
        files.read_rows(tmp_path / "scores.jsonl", ScoreRow)
    with pytest.raises(ValueError, match="is nan"):
        evaluate([item("a")], [ScoreRow(id="a", log_odds=math.nan, n_tokens=1)], SETTINGS, 0)


def test_a_conversation_of_40000_tokens_is_cut_and_counted(tiny_scorer):
    said = "no weapons here " * 13_334
    assert len(tiny_scorer.tokenizer(said).input_ids) >= 40_000
    items = [item("a", said=said), item("b", "unsafe"), item("c", "safe", "Yes.")]
    scores = tiny_scorer.score_requests([Request(i.messages, i.config) for i in items])
    assert [s.truncated for s in scores] == [True, False, False] and scores[0].n_tokens <= tiny_scorer.max_length
    rows = [
        ScoreRow(id=i.id, log_odds=s.log_odds, n_tokens=s.n_tokens, truncated=s.truncated)
        for i, s in zip(items, scores, strict=True)
    ]
    found = evaluate(items, rows, SETTINGS, 0)
    assert found["overall"]["counts"]["truncated"] == 1 and found["overall"]["counts"]["n"] == 3


def test_settings_files_with_unknown_keys_are_refused(run_build, tmp_path):
    (tmp_path / "augment.yaml").write_text(yaml.safe_dump({"item_kap": 3}))
    with pytest.raises(ValueError, match="item_kap"):
        run_build(dumped(row("a")))
