"""Table 2 decides which class the paper's numbers take as positive, where the run allows it."""

import pytest
from report_samples import document, rows_of

from csrm.bench.registry import load_benchmarks
from csrm.report import tables
from csrm.report.counterparts import MODELS
from csrm.report.published import lookup

BENCHMARKS = load_benchmarks("config")
COLUMNS = {"beavertails-30k-test": "BeaverTails", "cosapien": "CoSApien", "wildguard-response": "WildGuardMix"}
VARIANTS = ("csrm", "csrm-no-cca", "csrm-no-sa", "zero-shot")


def documents(fits, scale="paper"):
    """Evaluations in which the class `fits` has the printed F1 plus .01, and the other class .3 less."""
    found = []
    for benchmark, column in COLUMNS.items():
        for model in VARIANTS:
            one = document(benchmark, model, scale)
            for metric in ("F1", "AUPRC"):
                printed = lookup("Table 2", MODELS[model], column, metric).value
                for name in ("safe", "unsafe"):
                    value = printed + 0.01 if name == fits[metric] else printed - 0.3
                    one["overall"]["metrics"][f"{metric.lower()}_{name}"]["value"] = value
            found.append(one)
    return found


@pytest.mark.parametrize(("first", "second"), [("safe", "unsafe"), ("unsafe", "safe")])
def test_the_class_that_fits_is_named_per_metric(first, second):
    text, markdown = tables.paper_table("table2", documents({"F1": first, "AUPRC": second}), BENCHMARKS)
    assert f"**F1: {first} fits**, {first} is closer for 12 of 12 numbers (sign test p = 0.00049)" in markdown
    assert f"**AUPRC: {second} fits**" in markdown
    means = ("0.010", "0.300") if first == "safe" else ("0.300", "0.010")
    counts = ("4", "0") if first == "safe" else ("0", "4")
    assert f"| F1 | cosapien | {' | '.join(means)} | {' | '.join(counts)} | 4 |" in markdown
    rows = {(r["benchmark"], r["metric"]): r for r in rows_of(text) if r["model"] == "all models"}
    mean = rows["all columns", f"mean absolute difference, f1_{first}"]
    assert float(mean["measured"]) == pytest.approx(0.01) and mean["n"] == "12" and mean["source"] == "measured@paper"
    lines = [r for r in rows_of(text) if (r["benchmark"], r["model"]) == ("cosapien", "csrm")]
    printed = {r["metric"]: r["published"] for r in lines}
    assert printed["f1_safe"] == printed["f1_unsafe"] == "0.946" and printed["auprc_unsafe"] == "0.987"


def test_split_evidence_decides_nothing():
    found = documents({"F1": "safe", "AUPRC": "safe"})
    for one in found[::2]:
        metrics = one["overall"]["metrics"]
        metrics["f1_safe"], metrics["f1_unsafe"] = metrics["f1_unsafe"], metrics["f1_safe"]
    _, markdown = tables.paper_table("table2", found, BENCHMARKS)
    assert "**F1: undecided**, safe is closer for 6 of 12 numbers (sign test p = 1)" in markdown


def test_other_scales_and_stand_ins_decide_nothing():
    _, markdown = tables.paper_table("table2", documents({"F1": "safe", "AUPRC": "safe"}, "small"), BENCHMARKS)
    assert "**F1: undecided at this scale**, none of 12 numbers may be compared (scale small" in markdown
    _, markdown = tables.paper_table("table2", [document()], BENCHMARKS)
    assert "**F1: undecided**, no measured number stands beside a printed one" in markdown


def test_copied_numbers_decide_nothing():
    copied = document("wildguard-response", "dynaguard-8b-cot", "paper")
    _, markdown = tables.paper_table("table2", [copied], BENCHMARKS)
    assert "**F1: undecided**, no measured number stands beside a printed one" in markdown


def test_metrics_that_a_table_lacks_are_not_decided():
    assert "AUPRC" not in tables.paper_table("table4", [document("xstest")], BENCHMARKS)[1].partition("Which class")[2]
    assert "Which class" not in tables.paper_table("table3", [document("safe-rlhf")], BENCHMARKS)[1]
