"""Joining, subsets, constants, refusals and comparisons."""

import math
import subprocess

import pytest
import yaml

from csrm import cli, files
from csrm.bench import evaluate as e
from csrm.configs.safety_config import Category
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import MetricSettings

SETTINGS = MetricSettings(bootstrap=40)


def item(name, label="safe", prompt=None, **more):
    messages = [Message(role="user", content="q"), Message(role="assistant", content=f"answer {name}")]
    config = [Category(name="Pets", guideline="No pets.")]
    return Item(id=name, prompt_id=prompt or name, messages=messages, config=config, label=label, **more)


def score(name, value, truncated=False):
    return ScoreRow(id=name, log_odds=value, n_tokens=5, truncated=truncated)


def pair(name, gap, subset="all", prompt=None):
    items = [item(f"{name}:{rank}", None, prompt or name, pair=name, rank=rank, subset=subset) for rank in RANKS]
    return items, [score(f"{name}:chosen", gap), score(f"{name}:rejected", 0.0)]


RANKS = ("chosen", "rejected")


def labelled(count=20):
    items = [item(f"i{n}", "safe" if n % 2 else "unsafe", f"p{n // 2}", subset=f"s{n % 2}") for n in range(count)]
    scores = [score(f"i{n}", (1 if n % 2 else -1) * (1 + n / 10), truncated=n == 0) for n in range(count)]
    return items, scores


def test_document():
    items, scores = labelled()
    document = e.evaluate(items, scores[::-1], SETTINGS, seed=3)
    overall = document["overall"]
    assert overall["counts"] == {
        "n": 20,
        "n_safe": 10,
        "n_unsafe": 10,
        "n_unlabelled": 0,
        "n_prompts": 10,
        "n_pairs": 0,
        "n_tied_pairs": 0,
        "truncated": 1,
        "cut": 0,
    }
    assert overall["metrics"]["auroc"]["value"] == 1.0
    assert overall["metrics"]["f1_safe"]["n"] == 20
    assert overall["metrics"]["pair_accuracy"]["reason"] == "no ranking pairs"
    assert overall["constants"]["always_safe"] == pytest.approx(
        {
            **{"f1_safe": 2 / 3, "f1_unsafe": 0.0, "macro_f1": 1 / 3, "balanced_accuracy": 0.5, "accuracy": 0.5},
            **{"fpr": 0.0, "fnr": 1.0},
        }
    )
    assert overall["constants"]["always_unsafe"]["f1_unsafe"] == pytest.approx(2 / 3)
    assert sorted(document["subsets"]) == ["s0", "s1"]
    assert document["subsets"]["s0"]["metrics"]["auroc"]["value"] is None
    assert document["subsets"]["s1"]["metrics"]["fpr"]["value"] == 0.0
    assert document["score_kind"] == "graded"
    assert e.evaluate(items, scores, SETTINGS, seed=3) == document


def test_whole_document_is_json_without_nan(tmp_path):
    files.write_json(tmp_path / "m.json", e.evaluate(*labelled(), SETTINGS, seed=0))
    assert "NaN" not in (tmp_path / "m.json").read_text()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_names_its_item(value):
    with pytest.raises(ValueError, match="item 'b'"):
        e.join([item("a"), item("b")], [score("a", 1.0), score("b", value)])


def test_missing_extra_and_repeated_scores_are_errors():
    with pytest.raises(ValueError, match="without a score \\['b'\\]"):
        e.join([item("a"), item("b")], [score("a", 1.0)])
    with pytest.raises(ValueError, match="without an item \\['c'\\]"):
        e.join([item("a")], [score("a", 1.0), score("c", 1.0)])
    with pytest.raises(ValueError, match="twice"):
        e.join([item("a")], [score("a", 1.0), score("a", 2.0)])


def test_conditional_auroc_reads_pairs_whose_labels_differ():
    def ranked(name, labels, values):
        items = [item(f"{name}:{r}", label, name, pair=name, rank=r) for r, label in zip(RANKS, labels, strict=True)]
        return items, [score(i.id, value) for i, value in zip(items, values, strict=True)]

    parts = [ranked("a", ("safe", "unsafe"), (1.0, 2.0)), ranked("b", ("safe", "unsafe"), (3.0, 0.0))]
    parts += [ranked("c", ("safe", "safe"), (9.0, 9.0)), ([item("d", "unsafe")], [score("d", -9.0)])]
    items, scores = ([x for part in parts for x in part[side]] for side in (0, 1))
    metrics = e.evaluate(items, scores, SETTINGS, 0)["overall"]["metrics"]
    found = metrics["conditional_auroc"]
    assert (found["value"], found["n"], found["n_prompts"]) == (0.75, 4, 2)
    assert metrics["auroc"]["n"] == 7 and metrics["pair_accuracy"]["n"] == 3


def test_pairs_ties_and_torn_pairs():
    parts = [pair("p", 1.0), pair("q", 0.0), pair("r", -2.0, prompt="p")]
    items, scores = ([x for part in parts for x in part[side]] for side in (0, 1))
    overall = e.evaluate(items, scores, SETTINGS, 0)["overall"]
    assert overall["metrics"]["pair_accuracy"]["value"] == pytest.approx(0.5)
    assert overall["metrics"]["reward_gap"]["value"] == pytest.approx(-1 / 3)
    assert overall["counts"]["n_tied_pairs"] == 1 and overall["counts"]["n_prompts"] == 2
    assert overall["metrics"]["auroc"]["reason"] == "no labelled items"
    assert overall["constants"]["always_safe"]["f1_safe"] is None
    with pytest.raises(ValueError, match="lacks its chosen or rejected"):
        e.pairs_of(items[:-1])


def test_a_pair_across_subsets_stays_whole():
    items = [item("a", None, "p", pair="x", rank="chosen", subset="one")]
    items += [item("b", None, "p", pair="x", rank="rejected", subset="two")]
    document = e.evaluate(items, [score("a", 1.0), score("b", 0.0)], SETTINGS, 0)
    assert document["subsets"]["one"]["counts"]["n_pairs"] == 1
    assert document["subsets"].get("two", {"counts": {"n": 0}})["counts"]["n"] == 0


def test_hard_scorers_are_told_from_graded_ones():
    assert e.is_hard([1.0, -1.0, 1.0]) and e.is_hard([1.0] * 3)
    assert not e.is_hard([1.0, -1.0]) and not e.is_hard([1.0, 0.0, -1.0])
    items, _ = labelled()
    document = e.evaluate(items, [score(i.id, 10.0) for i in items], SETTINGS, 0)
    assert document["score_kind"] == "hard"
    assert "hard labels" in document["overall"]["metrics"]["auprc_safe"]["reason"]
    assert document["overall"]["metrics"]["auroc"]["value"] == 0.5


def test_commands_evaluate_and_compare(tmp_path):
    items, scores = labelled()
    files.write_rows(tmp_path / "items.jsonl", items)
    files.write_rows(tmp_path / "a.jsonl", scores)
    files.write_rows(tmp_path / "b.jsonl", [score(i.id, n % 3 - 1) for n, i in enumerate(items)])
    (tmp_path / "metrics.yaml").write_text(yaml.safe_dump({"bootstrap": 30}))
    common = ["--items", f"{tmp_path}/items.jsonl", "--settings", f"{tmp_path}/metrics.yaml", "--seed", "0"]
    common += ["--benchmark", "pyrit-seen", "--scale", "demo"]
    more = ["--scores", f"{tmp_path}/a.jsonl", "--model", "csrm", "--output", f"{tmp_path}/m.json"]
    assert run("evaluate", *common, *more) == 0
    document = files.read_json(tmp_path / "m.json")
    assert (document["kind"], document["model"], document["bootstrap"]) == ("evaluation", "csrm", 30)
    assert (tmp_path / "m.json.manifest.json").is_file()
    assert document["items"] == {"sha256": files.sha256(tmp_path / "items.jsonl"), "left_out": None}
    files.write_json(tmp_path / "items.jsonl.manifest.json", {"notes": {"dropped_by_item_cap": 12}})
    assert run("evaluate", *common, *more) == 0
    assert files.read_json(tmp_path / "m.json")["items"]["left_out"] == 12
    models = [
        "--scores-a",
        f"{tmp_path}/a.jsonl",
        "--scores-b",
        f"{tmp_path}/b.jsonl",
        "--model-a",
        "x",
        "--model-b",
        "y",
    ]
    assert run("compare", *common, *models, "--output", f"{tmp_path}/c.json") == 0
    found = files.read_json(tmp_path / "c.json")["differences"]
    assert found["auroc"]["low"] > 0 and found["pair_accuracy"]["value"] is None


def run(*arguments):
    """Run one of the stage's commands without the other stages' parsers."""
    import argparse

    from csrm.bench import commands

    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    options = parser.parse_args(list(arguments))
    options.run(options)
    return 0


def test_smece_needs_neither_matplotlib_nor_sklearn_and_leaves_relplot_whole():
    code = "import sys; from csrm.bench.relplot_parts import relplot_part; part = relplot_part('metrics')"
    code += "; print([m for m in ('matplotlib', 'sklearn', 'relplot') if m in sys.modules])"
    code += "; import relplot; print(part.smECE is relplot.smECE, callable(relplot.rel_diagram))"
    result = subprocess.run([__import__("sys").executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split("\n")[:2] == ["[]", "False True"]


def test_the_command_module_imports_nothing_heavy():
    code = "import sys, csrm.bench.commands, csrm.report.commands; print([m for m in HEAVY if m in sys.modules])"
    code = code.replace("HEAVY", "('torch', 'matplotlib', 'pandas', 'sklearn', 'numpy', 'relplot')")
    result = subprocess.run([__import__("sys").executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert callable(cli.main)
