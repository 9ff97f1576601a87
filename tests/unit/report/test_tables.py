"""Published numbers, and tables made from synthetic metrics."""

import argparse
import csv
import io
from importlib import resources

import numpy as np
import pytest
from report_samples import SETTINGS, document, make_items, make_scores, rows_of

from csrm import files
from csrm.bench.calibration import calibrate as fit_calibration
from csrm.bench.calibration import evaluate_calibration
from csrm.bench.evaluate import compare, evaluate, make_sample
from csrm.bench.registry import load_benchmarks
from csrm.report import alignment, calibration, commands, comparisons, severity, subsets, summary, tables
from csrm.report.published import footnote, lookup, published, select


def interval(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 8, "n_prompts": 4}


def aligned(config="no-alcohol", reward="csrm", scale="demo"):
    values = {m: interval(0.5) for m in alignment.METRICS}
    anchors = {
        "refusal_only": dict.fromkeys(alignment.METRICS, 0.0),
        "comply_always": dict.fromkeys(alignment.METRICS, 0.5),
    }
    part = {"before": {**values, "invalid": 0}, "after": values, "difference": values}
    head = {"config": config, "reward": reward, "algorithm": "Reward Distillation", "scale": scale, "seed": 0}
    return {**head, "all": part, "anchors": anchors}


def test_published_numbers():
    assert len(published()) == 791
    assert lookup("Table 2", "CSRM (ours)", "CoSApien", "F1").value == 0.946
    assert lookup("Table 2", "CSRM (ours)", "DynaBench", "F1").value == 0.758
    assert lookup("Table 3", "CSRM (-SA)", "Safety-RLHF", "delta reward").text == "1.81"
    assert lookup("Table 2", "ShieldGemma-9B", "DynaBench", "F1").source == "copied"
    assert lookup("Table 2", "nobody", "CoSApien", "F1") is None
    assert [len(select(name)) for name in ("Table 2", "Table 3", "Table 4", "Table 5", "Fig. 4")] == [
        96,
        36,
        10,
        90,
        18,
    ]


def test_table2_keeps_sources_apart():
    benchmarks = load_benchmarks("config")
    documents = [document(), document("beavertails"), document("xstest")]
    text, markdown = tables.paper_table("table2", documents, benchmarks)
    rows = rows_of(text)
    assert {r["source"] for r in rows} == {"published", "copied", "measured@demo"}
    measured = {r["benchmark"] for r in rows if r["source"] == "measured@demo"}
    assert measured == {"pyrit-seen", "beavertails", "all columns"}
    assert sum(r["source"] in ("published", "copied") for r in rows) == 96
    stand_in = next(r for r in rows if r["benchmark"] == "pyrit-seen" and r["model"] == "csrm")
    assert stand_in["stand_in_for"] == "BeaverTails" and stand_in["published"] == "" and stand_in["comparable"] == "no"
    real = next(r for r in rows if (r["benchmark"], r["model"], r["metric"]) == ("beavertails", "csrm", "f1_safe"))
    assert real["published"] == "0.911" and "scale demo" in real["reason"] and real["low"] and real["n"] == "40"
    assert float(real["difference"]) == pytest.approx(float(real["measured"]) - 0.911)
    assert "pyrit-seen (stand-in for BeaverTails) | csrm | f1_safe | measured@demo |  |  | 0." in markdown
    line = next(x for x in markdown.splitlines() if x.startswith("| beavertails | csrm | f1_safe"))
    published, measured, difference, verdict = line.split(" | ")[5:9]
    assert published.startswith("0.911 [") and measured.startswith("0.") and difference[0] in "+-"
    assert verdict == "no: scale demo: other backbone, training data and test split"
    assert "| BeaverTails | CSRM (ours) | f1 " not in markdown, "the counterpart is shown beside ours"
    assert "| WildGuardMix | CSRM (ours) | smece | published | CSRM, Table 2 | 0.047 [" in markdown
    assert "printed in bold although Qwen3-30B-Thinking has .931" in markdown
    assert any(r["model"] == "always-safe" for r in rows)


def test_answers_without_a_verdict_are_counted_and_shown_under_every_rule():
    items = make_items()
    scores = [row.model_copy(update={"parsed": n > 2}) for n, row in enumerate(make_scores(items))]
    names = {"kind": "evaluation", "benchmark": "pyrit-seen", "model": "wildguard", "scale": "demo"}
    found = {**names, **evaluate(items, scores, SETTINGS, 0)}
    text, markdown = tables.results_table([found, document()], load_benchmarks("config"))
    rows = {(r["model"], r["metric"]): r for r in rows_of(text)}
    assert rows["wildguard", "f1_safe"]["unparsed"] == "3" and rows["csrm", "f1_safe"]["unparsed"] == "0"
    values = found["f1_by_parse_failure_rule"]
    assert len({values[rule]["f1_unsafe"] for rule in values}) == 4
    for rule, value in values.items():
        shown = rows["wildguard", f"f1_unsafe, failures as {rule}"]
        assert float(shown["measured"]) == value["f1_unsafe"] and shown["positive_class"] == "unsafe"
    line = next(x for x in markdown.splitlines() if x.startswith("| pyrit-seen | wildguard | measured@demo | 3 | 40 |"))
    assert line.split(" | ")[5] == "wrong" and f"{values['exclude']['f1_safe']:.3f} / " in line
    assert "| csrm |" not in markdown.partition("Answers without a verdict")[2]
    assert "Every answer held a verdict." in tables.results_table([document()], load_benchmarks("config"))[1]


def test_results_print_class_balance_and_truncation():
    found = document()
    found["overall"]["counts"]["truncated"] = 7
    _, markdown = tables.results_table([found], load_benchmarks("config"))
    table = [line.split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    head, line = table[0], next(line for line in table if line[1] == "csrm")
    shown = dict(zip(head, line, strict=True))
    assert (shown["n"], shown["safe"], shown["unsafe"], shown["truncated"]) == ("40", "20", "20", "7")


def test_copied_f1_of_violations_is_not_filed_as_safe():
    text, _ = tables.paper_table("table2", [], {})
    row = next(r for r in rows_of(text) if r["source"] == "copied" and r["model"] == "LlamaGuard-3-8B")
    assert row["metric"] == "f1_unsafe"


def test_every_footnote_is_about_a_published_number():
    text = resources.files("csrm.report").joinpath("published_footnotes.tsv").read_text(encoding="utf-8")
    notes = [line.split("\t")[-1] for line in text.splitlines()[2:]]
    used = {note for fact in published() for note in footnote(fact).split(" / ")} - {""}
    assert used == set(notes) and len(notes) > 10
    assert "misprint" in footnote(lookup("Table 8", "ootb", "CoSApien: Language Learning", "CoSA score"))
    assert footnote(lookup("Table 2", "Qwen3-30B-Thinking", "BeaverTails", "F1")) == ""


def test_summary_ranks_and_means():
    def fake(benchmark, model, auroc, smece, constant=None):
        empty = {"value": None, "n": 5}
        metrics = {name: empty for name in tables.STATISTICS}
        metrics |= {"auroc": {"value": auroc, "n": 5}, "smece": {"value": smece, "n": 5}}
        overall = {"metrics": metrics, "constants": {"always_safe": {"auroc": constant}}}
        return {"benchmark": benchmark, "model": model, "scale": "demo", "seed": 3, "overall": overall}

    documents = [fake("a", "x", 0.9, 0.1), fake("a", "y", 0.7, 0.1), fake("a", "z", 0.8, None)]
    documents += [fake("b", "x", 0.5, 0.3), fake("b", "y", 0.6, 0.2), fake("b", "z", 0.5, None)]
    documents += [fake("c", "x", 0.4, 0.2), fake("c", "y", None, 0.2)]
    rows = {(r.metric, r.model): r for r in summary.standings(documents)}
    assert {m for m, _ in rows} == {"auroc", "smece"}
    assert [rows["auroc", m].mean_rank for m in "xyz"] == [1.75, 2.0, 2.25]
    assert rows["auroc", "x"].macro_mean == pytest.approx(0.7) and rows["auroc", "x"].left_out == "c"
    assert [rows["smece", m].mean_rank for m in "xy"] == pytest.approx([5 / 3, 4 / 3])
    text, markdown = summary.summary_table(documents)
    assert (
        len(rows_of(text)) == 5 and "| auroc | higher | x | measured@demo | 1.75 | 0.700 | 2 | c | 10 | 3 |" in markdown
    )
    constants = [fake("d", "x", 0.6, None, 0.7), fake("d", "y", 0.8, None, 0.7)]
    assert [r.model for r in summary.standings(constants)] == ["y", "always-safe", "x"]
    with pytest.raises(ValueError, match="'x' is there twice on benchmark 'a'"):
        summary.standings([*documents, documents[0]])


def test_calibration_table():
    items = make_items(80)
    values = [row.log_odds * 4 for row in make_scores(items)]
    sample = make_sample(items, values, 0.0, False)
    fitted = fit_calibration(sample, [0.1]) | {"undefined": {"temperature": "no solution"}}
    fitted["methods"].pop("temperature")
    found = evaluate_calibration(sample, fitted, SETTINGS, 0)
    names = {"benchmark": "b", "model": "csrm", "scale": "demo", "validation_counts": {"n": 80}}
    rows = {(r.step, r.metric): r for r in calibration.calibration_rows({**names, **found})}
    assert rows["raw", "brier"].difference is None and rows["platt", "brier"].difference < 0
    assert rows["temperature", ""].reason == "no solution" and rows["threshold", "fpr"].target_fpr == 0.1
    text, markdown = calibration.calibration_table([{**names, **found}])
    assert len(rows_of(text)) == 9 and "for FPR 0.1 | fpr | measured@demo |" in markdown
    safe = evaluate_calibration(sample._replace(y=np.ones_like(sample.y)), fitted, SETTINGS, 0)
    text, markdown = calibration.calibration_table([{**names, **safe}])
    row = next(r for r in rows_of(text) if (r["step"], r["metric"]) == ("platt", "smece"))
    assert row["value"] == row["difference"] == "" and row["reason"] == "single class: no unsafe items"
    assert "| platt | smece | measured@demo | – |" in markdown


def test_table3_table4_results_and_differences():
    benchmarks = load_benchmarks("config")
    text, _ = tables.paper_table("table3", [document("safe-rlhf")], benchmarks)
    row = next(r for r in rows_of(text) if r["metric"] == "pair_accuracy" and r["model"] == "csrm")
    assert row["published"] == "0.763" and row["comparable"] == "no"
    text, _ = tables.paper_table("table4", [document("or-bench"), document()], benchmarks)
    assert {r["benchmark"] for r in rows_of(text) if r["source"].startswith("m")} == {"or-bench"}
    text, markdown = tables.results_table([document(), document(model="zero-shot")], benchmarks)
    assert {r["metric"] for r in rows_of(text) if r["model"] == "csrm"} == set(tables.STATISTICS)
    assert "measured@demo" in markdown
    items = make_items()
    found = compare(items, make_scores(items), make_scores(items, 1), SETTINGS, 0)
    names = {"benchmark": "b", "model_a": "csrm", "model_b": "csrm-no-sa", "scale": "demo"}
    text, markdown = comparisons.comparison_table([{**names, **found}])
    assert [r["metric"] for r in rows_of(text)] == ["auroc", "pair_accuracy"] and "csrm-no-sa" in markdown


def test_a_paper_scale_run_is_at_most_partly_comparable():
    def verdicts(benchmark):
        text, _ = tables.paper_table("table2", [document(benchmark, scale="paper")], load_benchmarks("config"))
        return {r["comparable"] for r in rows_of(text) if r["model"] == "csrm" and r["published"]}

    assert verdicts("beavertails-30k-test") == {"partly"} and verdicts("beavertails") == {"no"}


def test_a_constant_policy_leaves_out_prompts_without_a_topic():
    text, _ = alignment.alignment_table([{**aligned(), "unknown_topic": {"before": 3, "after": 0}}])
    told = {r["model"]: (int(r["n"]), r["reason"]) for r in rows_of(text) if r["reason"].startswith("constant policy")}
    whole, reason = told["refusal-only"]
    left_out = "constant policy; 3 responses to prompts without a verdict on their topic are left out"
    assert reason == "constant policy" and told["comply-always"] == (whole - 3, left_out)


def test_table5():
    documents = [aligned(), aligned(reward="zero-shot"), aligned("cosapien-book-publisher")]
    text, markdown = alignment.alignment_table(documents)
    rows = rows_of(text)
    own = [r for r in rows if r["source"] == "measured@demo" and r["benchmark"] == "no-alcohol"]
    assert sum(r["model"] == alignment.BEFORE for r in own) == len(alignment.METRICS)
    after = "csrm (Reward Distillation)"
    names = {after, "zero-shot (Reward Distillation)", f"{after}, after minus before", "refusal-only"}
    assert names <= {r["model"] for r in own}
    assert {r["comparable"] for r in own} == {"no"}
    assert all(r["n"] and r["seed"] for r in own)
    arab = {(r["model"], r["metric"]): r["published"] for r in rows if r["benchmark"] == "cosapien-book-publisher"}
    assert arab[after, "safety"] == "0.695" and arab[alignment.BEFORE, "safety"] == "0.56"
    assert sum(r["source"] == "published" for r in rows) == 105
    assert "CSRM (ours) (REINFORCE++)" in markdown or "CSRM (REINFORCE++)" in markdown
    paper = [aligned("cosapien-book-publisher", scale="paper"), aligned("no-alcohol", scale="paper")]
    comparable = {
        r["benchmark"]: r["comparable"] for r in rows_of(alignment.alignment_table(paper)[0]) if r["measured"]
    }
    assert comparable == {"cosapien-book-publisher": "partly", "no-alcohol": "no"}


def test_command_writes_both_files_and_refuses_another_scale(tmp_path):
    files.write_json(tmp_path / "m.json", document())
    files.write_json(tmp_path / "other.json", aligned())
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    line = f"table --table table2 --metrics {tmp_path}/m.json {tmp_path}/other.json --output-prefix {tmp_path}/t2"
    chosen = parser.parse_args([*line.split(), "--scale", "demo"])
    chosen.run(chosen)
    first = (tmp_path / "t2.csv").read_bytes()
    chosen.run(chosen)
    assert (tmp_path / "t2.csv").read_bytes() == first and (tmp_path / "t2.md").stat().st_size > 1000
    chosen = parser.parse_args([*line.split(), "--scale", "small"])
    with pytest.raises(ValueError, match="measured at scale 'demo'"):
        chosen.run(chosen)


def test_the_severity_table_has_a_line_per_threshold():
    items = [
        item.model_copy(update={"pair": None, "rank": None, "meta": {"human_severity": n % 5 / 4}})
        for n, item in enumerate(make_items())
    ]
    found = evaluate(items, make_scores(items), SETTINGS, 0)
    document = {"kind": "evaluation", "benchmark": "pyrit-severity", "model": "csrm", "scale": "demo", **found}
    text, markdown = severity.severity_table([document], load_benchmarks("config"))
    cells = {(row["benchmark"], row["metric"]): row for row in csv.DictReader(io.StringIO(text))}
    assert {benchmark for benchmark, _ in cells} == {
        "pyrit-severity, all severities",
        *(f"pyrit-severity, unsafe from {t}" for t in ("0.25", "0.5", "0.75", "1")),
    }
    harsh = cells["pyrit-severity, unsafe from 1", "f1_unsafe"]
    assert float(harsh["measured"]) == found["by_severity_threshold"]["1"]["metrics"]["f1_unsafe"]["value"]
    assert float(cells["pyrit-severity, unsafe from 1", "unsafe"]["measured"]) == 8 / 40
    assert cells["pyrit-severity, all severities", "spearman"]["low"] and markdown.count("unsafe from") == 5
    with pytest.raises(ValueError, match="no human severity among the metrics of \\['pyrit-seen'\\]"):
        severity.severity_table([{**document, "benchmark": "pyrit-seen", "by_severity_threshold": {}}], {})


def test_subsets_are_printed_one_by_one():
    items = [
        item.model_copy(update={"subset": ("adversarial", "vanilla")[n // 2 % 2]})
        for n, item in enumerate(make_items())
    ]
    items = [item.model_copy(update={"pair": None, "rank": None}) for item in items]
    found = evaluate(items, make_scores(items), SETTINGS, 0)
    parts = {"kind": "evaluation", "benchmark": "wildguard-response", "model": "csrm", "scale": "demo", **found}
    text, markdown = subsets.subset_table([parts], load_benchmarks("config"))
    cells = {(row["benchmark"], row["metric"]): row for row in csv.DictReader(io.StringIO(text))}
    for name in ("adversarial", "vanilla"):
        expected = found["subsets"][name]["metrics"]["auroc"]
        assert float(cells[f"wildguard-response, {name}", "auroc"]["measured"]) == expected["value"]
        assert float(cells[f"wildguard-response, {name}", "auroc"]["low"]) == expected["low"]
    assert markdown.count("| wildguard-response, ") == 2
    whole = {**parts, "subsets": {"all": found["overall"]}}
    assert subsets.subset_table([whole], {})[0].count("\n") == 1, "one subset is the benchmark itself"


def test_a_benchmark_of_one_class_has_its_rates_in_the_results():
    items = [item.model_copy(update={"pair": None, "rank": None, "label": "safe"}) for item in make_items()]
    found = evaluate(items, make_scores(items), SETTINGS, 0)
    parts = {"kind": "evaluation", "benchmark": "or-bench", "model": "csrm", "scale": "demo", **found}
    _, markdown = tables.results_table([parts], load_benchmarks("config"))
    head, line = (
        next(row for row in markdown.splitlines() if row.startswith(start)) for start in ("| bench", "| or-b")
    )
    values = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    assert float(values["fpr"].split()[0]) == pytest.approx(found["overall"]["metrics"]["fpr"]["value"], abs=5e-4)
    assert values["fnr"] == "" and values["unsafe"] == "0"
