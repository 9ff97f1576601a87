"""The table of benchmarks, the item builders, the cap, and the command."""

import argparse
import json
from collections import Counter

import pytest

from csrm import files
from csrm.bench import build, commands
from csrm.bench.evaluate import evaluate
from csrm.bench.registry import get_benchmark, load_benchmarks, not_at_hand, without_split
from csrm.configs.safety_config import Category
from csrm.data.prepare import prepare
from csrm.data.sources import load_fixture
from csrm.data.tables import load_datasets
from csrm.rows import Item, Message, PairRow, PromptRow, Row, ScoreRow
from csrm.settings import DataSettings, MetricSettings

CONFIG = [Category(name="Violence", guideline="No violence.", key="violence")]


def row(name, prompt="p", **more):
    messages = [Message(role="user", content=f"ask {name}"), Message(role="assistant", content=f"answer {name}")]
    return Row(id=name, dataset="d", prompt_id=prompt, messages=messages, taxonomy="pyrit", **more)


def pair(name, **more):
    data = {"id": name, "dataset": "d", "prompt_id": f"p{name}", "prompt": "q", "chosen": "good", "rejected": "bad"}
    return PairRow(**data, **more)


def test_the_table_is_whole_and_stand_ins_never_carry_the_real_name():
    table = load_benchmarks("config")
    assert len(table) == 44 and table["xstest"].rows == ("xstest",)
    for benchmark in table.values():
        if benchmark.stand_in_for:
            assert benchmark.stand_in_for.lower() not in f"{benchmark.title} {benchmark.id}".lower()
        if benchmark.builder in ("conditional", "threshold", "strictness", "full"):
            assert benchmark.taxonomy
    with pytest.raises(ValueError, match=r"nope.*choose one of.*beavertails"):
        get_benchmark("config", "nope")


def test_benchmarks_of_data_that_nothing_can_fetch_are_named(tmp_path):
    table, datasets = load_benchmarks("config"), load_datasets("config")
    assert not_at_hand(table["cosapien"], datasets, None) == ["cosapien-judged"]
    assert not_at_hand(table["cosapien"], datasets, tmp_path) == ["cosapien-judged"]
    (tmp_path / "cosapien-judged").mkdir()
    assert not_at_hand(table["cosapien"], datasets, tmp_path) == []
    assert not_at_hand(table["xstest-completions"], datasets, None) == ["xstest-completions"]
    assert not any(not_at_hand(table[name], datasets, None) for name in ("xstest", "wildguard-prompt", "beavertails"))


def test_a_bad_line_is_named(tmp_path):
    (tmp_path / "benchmarks.tsv").write_text("id\tbuilder\trows\nx\tmagic\ttest\n")
    with pytest.raises(ValueError, match=r"benchmarks.tsv, benchmark 'x'.*"):
        load_benchmarks(tmp_path)


def test_response_labels_drop_and_count_unlabelled_rows():
    rows = [row("a", safe=True), row("b", safe=False, meta={"prompt_type": "contrast"}), row("c")]
    items, dropped = build.response_label_items(rows, CONFIG, "bench")
    assert [(i.id, i.label, i.subset) for i in items] == [
        ("bench:a", "safe", "all"),
        ("bench:b", "unsafe", "contrast"),
    ]
    assert dropped == 1 and items[0].config == CONFIG


def test_subsets_are_adversarial_and_vanilla():
    rows = [row("a", safe=True, meta={"adversarial": True}), row("b", safe=False, meta={"adversarial": False})]
    items, _ = build.response_label_items(rows, CONFIG, "bench")
    assert [i.subset for i in items] == ["adversarial", "vanilla"]


def test_refusals_are_unsafe_where_refusing_is_forbidden():
    rows = [row("a", refusal=True, safe=True), row("b", refusal=False, safe=False), row("c", safe=True)]
    items, dropped = build.refusal_items(rows, CONFIG, "bench")
    assert [(i.id, i.label) for i in items] == [("bench:a", "unsafe"), ("bench:b", "safe")] and dropped == 1


def prompt(name, **meta):
    return PromptRow(id=name, dataset="d", prompt_id=name, prompt=f"How to {name}?", meta=meta)


def test_pseudo_responses():
    rows = [prompt("kill", label="safe", type="homonyms"), prompt("rob", label="toxic"), prompt("x", safe=True)]
    items = build.pseudo_response_items(rows, CONFIG, "xs")
    assert [i.label for i in items] == ["safe", "unsafe", "safe"]
    assert items[0].messages[-1].content == "Sure. How to kill?" and items[0].subset == "homonyms"
    with pytest.raises(ValueError, match=r"meta\.label is None"):
        build.prompt_label(prompt("y"))


def test_pairs_take_their_own_configuration_first():
    own = [Category(name="Own")]
    rows = [pair("a", config=own, system="be kind"), pair("b", system="be kind"), pair("c")]
    rows.append(pair("d", system="persona", meta={"conditional": False}))
    items, dropped = build.pair_items(rows, CONFIG, "bench")
    assert dropped == 1 and len(items) == 6 and {i.label for i in items} == {None}
    assert items[0].config == own and "be kind" in items[2].config[0].guideline and items[4].config == CONFIG
    assert [(i.pair, i.rank) for i in items[:2]] == [("a", "chosen"), ("a", "rejected")]
    with pytest.raises(ValueError, match="pair 'c' has no configuration"):
        build.pair_items([pair("c")], [], "bench")


def test_the_cap_keeps_whole_prompts_and_is_stable():
    messages = row("a").messages
    items = [
        Item(id=f"{n}", prompt_id=f"q{n // 4}", messages=messages, config=CONFIG, pair=f"{n // 2}", rank=rank)
        for n, rank in enumerate(["chosen", "rejected"] * 20)
    ]
    kept = build.cap_items(items, 13)
    assert len(kept) == 12
    assert kept == build.cap_items(items[::-1], 13)[::-1]
    assert {i.prompt_id for i in kept} <= {i.prompt_id for i in build.cap_items(items, 24)}
    assert build.cap_items(items, None) == items
    assert len(build.cap_items(items, 1)) == 4


def test_a_cap_that_leaves_few_of_a_class_is_told():
    items = [
        Item(id=f"i{n}", prompt_id=f"p{n}", messages=build.pseudo_messages(str(n)), config=CONFIG, label=label)
        for n, label in enumerate(["safe"] * 180 + ["unsafe"] * 20)
    ]
    kept = build.cap_items(items, 20)
    few = sum(item.label == "unsafe" for item in kept)
    (told,) = build.rare_labels("own", items, kept)
    assert few < 10 and f"leaves {few} of 20 unsafe items" in told
    assert build.rare_labels("own", items, items) == []


def options(tmp_path, benchmark, rows, item_cap=120):
    files.write_rows(tmp_path / "rows.jsonl", rows)
    for name in ("augment", "data"):
        (tmp_path / f"{name}.yaml").write_text("{}")
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    line = f"build-benchmark --benchmark {benchmark} --config-dir config --rows {tmp_path}/rows.jsonl"
    line += f" --settings {tmp_path}/augment.yaml --data-settings {tmp_path}/data.yaml"
    line += f" --item-cap {item_cap} --seed 0 --encoder hash --output {tmp_path}/items.jsonl"
    return parser.parse_args(line.split())


def pyrit_rows():
    harms = ["violence", "exploits", "privacy", "hate_speech"]
    return [
        row(f"r{n}", f"p{n}", harms={harms[n % 4]: (n % 5) / 4}, exhaustive=False, meta={"category": harms[n % 4]})
        for n in range(40)
    ]


@pytest.mark.parametrize("benchmark", ["pyrit-seen", "pyrit-unseen", "pyrit-threshold", "pyrit-strictness"])
def test_generated_benchmarks(tmp_path, benchmark):
    chosen = options(tmp_path, benchmark, [*pyrit_rows(), row("other").model_copy(update={"taxonomy": "topics"})])
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    keys = {item.meta.get("category") for item in items} - {None}
    assert items and {"safe", "unsafe"} >= {item.label for item in items}
    if benchmark == "pyrit-unseen":
        assert keys == {"privacy"}
    else:
        assert "privacy" not in keys
    if benchmark == "pyrit-threshold":
        assert {item.meta["threshold"] for item in items} == {0.75}
    if benchmark == "pyrit-strictness":
        assert {item.meta["threshold"] for item in items} == {0.25, 0.5, 1.0}
    notes = files.read_json(tmp_path / "items.jsonl.manifest.json")["notes"]
    assert notes["rows_of_other_data"] == 1 and notes["items"] == len(items)


def test_severities_as_a_command(tmp_path):
    chosen = options(tmp_path, "pyrit-severity", [*pyrit_rows(), row("bare")])
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    assert len(items) == 40 and {len(item.config) for item in items} == {1}
    notes = files.read_json(tmp_path / "items.jsonl.manifest.json")["notes"]
    assert notes["dropped_without_severity"] == 1 and len(notes["subsets"]) == 4


def test_full_configuration_of_beavertails(tmp_path):
    rows = [row(f"r{n}", f"p{n}", harms={"violence": 1.0} if n % 2 else {}, safe=n % 2 == 0) for n in range(6)]
    rows = [r.model_copy(update={"taxonomy": "beavertails", "exhaustive": True, "harms": {}}) for r in rows]
    chosen = options(tmp_path, "beavertails", [r for r in rows if r.safe])
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    assert len(items) == 3 and len(items[0].config) == 14 and {i.label for i in items} == {"safe"}


@pytest.mark.parametrize(
    ("taxonomy", "key"), [("beavertails", "animal_abuse"), ("wildguard", "violence_and_physical_harm")]
)
def test_bank_strictness_where_there_are_no_levels(tmp_path, taxonomy, key):
    texts = ["kick the dog", "drown the cat", "poison the birds", "starve the horses", "trap the fox in a cage"]
    rows = [
        row(f"r{n}", f"p{n}", harms={key: 1.0}, exhaustive=True, safe=False).model_copy(
            update={
                "taxonomy": taxonomy,
                "cut": n % 5 < 3,
                "messages": [
                    Message(role="user", content="what now"),
                    Message(role="assistant", content=f"You should {texts[n % 5]} today."),
                ],
            }
        )
        for n in range(120)
    ]
    chosen = options(tmp_path, f"{taxonomy}-strictness", rows, 40)
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    assert 0 < len(items) <= 40 and {i.rank for i in items} == {"chosen", "rejected"}
    whole = [any(text in item.messages[-1].content for text in texts[3:]) for item in items]
    assert [item.cut for item in items] == [not each for each in whole]


def test_commands_for_pairs_and_prompts(tmp_path):
    chosen = options(tmp_path, "cst-pairs", [pair("a", system="be kind"), pair("b", system="be rude")])
    chosen.run(chosen)
    assert len(files.read_rows(tmp_path / "items.jsonl", Item)) == 4
    chosen = options(tmp_path, "or-bench", [prompt(str(n), label="benign") for n in range(9)], 5)
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    assert len(items) == 5 and items[0].config


HUB_ONLY = {
    "wildguard-prompt": {("adversarial", "unsafe"): 1, ("vanilla", "safe"): 1, ("vanilla", "unsafe"): 1},
    "wildguard-response": {("adversarial", "unsafe"): 1, ("vanilla", "safe"): 1},
    "wildguard-refusal": {("adversarial", "safe"): 1, ("vanilla", "safe"): 1, ("vanilla", "unsafe"): 1},
    "beavertails-30k-test": {("all", "safe"): 1, ("all", "unsafe"): 2},
    "beavertails-330k-test": {("all", "safe"): 1, ("all", "unsafe"): 1},
    "cosapien": {("game_development", "safe"): 1, ("film_production", "unsafe"): 1},
    "cosapien-demonstrations": {("game_development", "safe"): 1},
    "scenario-types": {
        ("game_development", "safe"): 1,
        ("game_development", "unsafe"): 1,
        ("film_production", "unsafe"): 1,
    },
    "allowed-categories": {
        ("none", "safe"): 1,
        ("none", "unsafe"): 1,
        ("fin+priv", "safe"): 1,
        ("viol+weap", "unsafe"): 1,
    },
    "or-bench-union": {("benign-hard", "safe"): 1, ("toxic", "unsafe"): 1},
    "or-bench-full": {("benign-80k", "safe"): 1, ("benign-hard", "safe"): 1, ("toxic", "unsafe"): 1},
    "safe-rlhf-test": {("all", "None"): 6},
    "xstest-completions": {("safe-compliance", "safe"): 1, ("safe-full", "safe"): 1, ("safe-partial", "safe"): 1},
    "xstest-completions-refusal": {("all", "safe"): 1, ("all", "unsafe"): 2},
    "xstest-response-refusal": {("prompt_safe", "safe"): 1, ("all", "unsafe"): 1},
}
"""Benchmark -> its (subset, label) counts on the placeholder rows of its data set."""


@pytest.mark.parametrize("benchmark", sorted(HUB_ONLY))
def test_benchmarks_from_placeholder_rows_to_metrics(tmp_path, benchmark):
    (name,) = get_benchmark("config", benchmark).rows
    chosen = options(tmp_path, benchmark, prepare(load_datasets("config")[name], load_fixture(name), DataSettings())[0])
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    found = Counter((item.subset, str(item.label)) for item in items)
    assert found == HUB_ONLY[benchmark] and all(item.config for item in items)
    scores = [ScoreRow(id=item.id, log_odds=n - 1.5, n_tokens=9) for n, item in enumerate(items)]
    metrics = evaluate(items, scores, MetricSettings(bootstrap=20), 0)
    assert metrics["overall"]["counts"]["n"] == len(items) and metrics["seed"] == 0
    assert set(metrics["subsets"]) == {subset for subset, _ in found}


@pytest.mark.parametrize("benchmark", sorted(HUB_ONLY))
def test_cut_rows_make_cut_items_that_evaluations_count(tmp_path, benchmark):
    (name,) = get_benchmark("config", benchmark).rows
    words = DataSettings(max_prompt_words=1, max_response_words=1)
    rows, _ = prepare(load_datasets("config")[name], load_fixture(name), words)
    chosen = options(tmp_path, benchmark, rows)
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    assert any(row.cut for row in rows) and all(item.cut for item in items)
    scores = [ScoreRow(id=item.id, log_odds=0.5 - n, n_tokens=9) for n, item in enumerate(items)]
    counts = evaluate(items, scores, MetricSettings(bootstrap=20), 0)["overall"]["counts"]
    assert counts["cut"] == counts["n"] and counts["truncated"] == 0


@pytest.mark.parametrize("benchmark", ["pyrit-seen", "pyrit-strictness", "pyrit-severity", "pyrit-clauses"])
def test_generated_items_are_cut_where_their_rows_are(tmp_path, benchmark):
    rows = [each.model_copy(update={"cut": n % 2 == 0}) for n, each in enumerate(pyrit_rows())]
    chosen = options(tmp_path, benchmark, rows)
    chosen.run(chosen)
    items = files.read_rows(tmp_path / "items.jsonl", Item)
    even = {each.prompt_id for each in rows if each.cut}
    assert {item.cut for item in items} == {True, False}
    assert all(item.cut == (item.prompt_id in even) for item in items)


def test_rows_that_were_trained_on_are_dropped_by_name(tmp_path, capsys):
    files.write_rows(tmp_path / "train.jsonl", [row("t", "3"), row("u", "elsewhere")])
    chosen = options(tmp_path, "or-bench", [prompt(str(n), label="benign") for n in range(9)])
    chosen.seen = [tmp_path / "train.jsonl"]
    chosen.run(chosen)
    ids = [item.id for item in files.read_rows(tmp_path / "items.jsonl", Item)]
    assert ids == [f"or-bench:{n}" for n in range(9) if n != 3]
    assert f"or-bench: 1 of 9 rows are dropped, {tmp_path}/train.jsonl holds their" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "items.jsonl.manifest.json").read_text())
    assert manifest["notes"]["dropped_seen_prompt"] == {f"{tmp_path}/train.jsonl": 1}
    assert {"seen", "rows"} <= {entry["role"] for entry in manifest["inputs"]}


def test_no_items_is_an_error(tmp_path):
    chosen = options(tmp_path, "safe-rlhf", [pair("a")])
    with pytest.raises(ValueError, match="no items"):
        chosen.run(chosen)


def test_pairs_that_nothing_is_trained_on_are_read_whole() -> None:
    table = load_benchmarks("config")
    assert table["safe-rlhf"].rows == ("pairs",) and without_split(table["safe-rlhf"]).rows == ("safe-rlhf",)
    assert without_split(table["pyrit-seen"]) is table["pyrit-seen"]
    with pytest.raises(ValueError, match="'safe-rlhf' reads response pairs of any data set"):
        without_split(table["safe-rlhf"].model_copy(update={"dataset": None}))
