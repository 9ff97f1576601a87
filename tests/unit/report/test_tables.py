"""Published numbers, and tables made from synthetic metrics."""

import argparse
import csv
import io

import numpy as np
import pytest

from csrm import files
from csrm.bench.evaluate import compare, evaluate
from csrm.bench.registry import load_benchmarks
from csrm.configs.safety_config import Category
from csrm.report import alignment, commands, tables
from csrm.report.published import lookup, published, select
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import MetricSettings

SETTINGS = MetricSettings(bootstrap=30)


def make_items(count=40):
    messages = [Message(role="user", content="q"), Message(role="assistant", content="a")]
    config = [Category(name="Pets")]
    return [
        Item(
            id=f"i{n}",
            prompt_id=f"p{n // 2}",
            messages=messages,
            config=config,
            label="safe" if n % 2 else "unsafe",
            pair=f"pair{n // 2}",
            rank="chosen" if n % 2 else "rejected",
        )
        for n in range(count)
    ]


def make_scores(items, seed=0):
    noise = np.random.default_rng(seed).normal(size=len(items))
    return [
        ScoreRow(id=i.id, log_odds=float(z + (i.label == "safe")), n_tokens=3)
        for i, z in zip(items, noise, strict=True)
    ]


def document(benchmark="pyrit-seen", model="csrm", scale="demo"):
    items = make_items()
    found = evaluate(items, make_scores(items), SETTINGS, 0)
    return {"kind": "evaluation", "benchmark": benchmark, "model": model, "scale": scale, **found}


def interval(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 8, "clusters": 4}


def aligned(config="no-alcohol", reward="csrm", scale="demo"):
    values = {m: interval(0.5) for m in alignment.METRICS}
    anchors = {
        "refusal_only": dict.fromkeys(alignment.METRICS, 0.0),
        "comply_always": dict.fromkeys(alignment.METRICS, 0.5),
    }
    part = {"before": values, "after": values, "difference": values}
    return {"config": config, "reward": reward, "scale": scale, "seed": 0, "all": part, "anchors": anchors}


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


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
    assert {r["benchmark"] for r in rows if r["source"] == "measured@demo"} == {"pyrit-seen", "beavertails"}
    assert sum(r["source"] in ("published", "copied") for r in rows) == 96
    stand_in = next(r for r in rows if r["benchmark"] == "pyrit-seen" and r["model"] == "csrm")
    assert stand_in["stand_in_for"] == "BeaverTails" and stand_in["published"] == "" and stand_in["comparable"] == "no"
    real = next(r for r in rows if (r["benchmark"], r["model"], r["metric"]) == ("beavertails", "csrm", "f1_safe"))
    assert real["published"] == "0.911" and "scale demo" in real["reason"] and real["low"] and real["n"] == "40"
    assert float(real["difference"]) == pytest.approx(float(real["measured"]) - 0.911)
    assert "pyrit-seen (stand-in for BeaverTails) | csrm | measured@demo" in markdown
    assert "| BeaverTails | CSRM (ours) | published | 0.911" in markdown
    assert any(r["model"] == "always-safe" for r in rows)


def test_copied_f1_of_violations_is_not_filed_as_safe():
    text, _ = tables.paper_table("table2", [], {})
    row = next(r for r in rows_of(text) if r["source"] == "copied" and r["model"] == "LlamaGuard-3-8B")
    assert row["metric"] == "f1_unsafe"


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
    text, markdown = tables.comparison_table([{**names, **found}])
    assert [r["metric"] for r in rows_of(text)] == ["auroc", "pair_accuracy"] and "csrm-no-sa" in markdown


def test_a_paper_scale_run_is_at_most_partly_comparable():
    text, _ = tables.paper_table("table2", [document("beavertails", scale="paper")], load_benchmarks("config"))
    assert {r["comparable"] for r in rows_of(text) if r["model"] == "csrm" and r["published"]} == {"partly"}


def test_table5():
    documents = [aligned(), aligned(reward="zero-shot"), aligned("cosapien-book-publisher")]
    text, markdown = alignment.alignment_table(documents)
    rows = rows_of(text)
    own = [r for r in rows if r["source"] == "measured@demo" and r["benchmark"] == "no-alcohol"]
    assert sum(r["model"] == alignment.BEFORE for r in own) == len(alignment.METRICS)
    assert {"csrm", "zero-shot", "csrm, after minus before", "refusal-only"} <= {r["model"] for r in own}
    assert {r["comparable"] for r in own} == {"no"}
    arab = {(r["model"], r["metric"]): r["published"] for r in rows if r["benchmark"] == "cosapien-book-publisher"}
    assert arab["csrm", "safety"] == "0.695" and arab[alignment.BEFORE, "safety"] == "0.56"
    assert sum(r["source"] == "published" for r in rows) == 105
    assert "CSRM (ours) (REINFORCE++)" in markdown or "CSRM (REINFORCE++)" in markdown


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
