"""Which printed number stands beside a measured one, what may be compared, and what other papers print."""

import pytest
from report_samples import document, rows_of

from csrm.bench.guards.table import load_guards
from csrm.bench.registry import load_benchmarks
from csrm.report import literature, tables
from csrm.report.counterparts import DATASETS, ROWS, counterpart, counterparts, verdict
from csrm.report.published import PAPER, footnote, published

BENCHMARKS = load_benchmarks("config")


def test_a_copied_number_is_set_against_its_own_class_only():
    name = "dynaguard-8b-cot"
    assert counterpart("Table 2", name, "beavertails", "f1_safe") is None
    fact = counterpart("Table 2", name, "beavertails", "f1_unsafe")
    assert fact.value == 0.836 and "without chain of thought" in footnote(fact)
    comparable, reason = verdict(
        document("beavertails-30k-test", name, "paper"), "f1_unsafe", fact, BENCHMARKS["beavertails-30k-test"]
    )
    assert comparable == "no" and "another protocol" in reason


def test_a_number_of_an_unstated_class_is_set_against_both():
    for metric, printed in (("f1", 0.911), ("auprc", 0.965)):
        for own in ("safe", "unsafe"):
            assert counterpart("Table 2", "csrm", "beavertails-30k-test", f"{metric}_{own}").value == printed
    assert counterpart("Table 2", "csrm", "beavertails-30k-test", "auroc") is None


def test_only_the_benchmark_itself_has_a_printed_counterpart():
    names = {name for name, _, _ in DATASETS}
    assert names <= set(BENCHMARKS) and not [name for name in names if BENCHMARKS[name].stand_in_for]
    assert {(paper, dataset) for _, paper, dataset in DATASETS} <= {(f.paper, f.dataset) for f in published()}
    assert {(paper, row) for _, paper, row in ROWS} <= {(f.paper, f.row) for f in published()}
    places = {"cosapien": "Table 2", "wildguard-response": "Table 2", "beavertails-30k-test": "Table 2"}
    for name, table in {**places, "or-bench-union": "Table 4"}.items():
        assert counterpart(table, "csrm", name, "f1_safe") is not None
    assert counterpart("Table 3", "csrm", "safe-rlhf-test", "pair_accuracy").value == 0.763
    for name in ("or-bench", "wildguard-prompt", "wildguard-refusal", "scenario-types", "cosapien-demonstrations"):
        assert counterparts("csrm", name, "f1_safe") == ()


def test_every_guard_stands_in_some_paper():
    assert set(load_guards("config")) <= {model for model, _, _ in ROWS}
    assert counterpart("Table 4", "gpt-oss-safeguard-20b", "xstest", "f1_safe").value == 0.918


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        (0, ""),
        (60, "; capped: 40 of 100 items (score.item_cap)"),
        (None, "; whether score.item_cap left out items is not recorded"),
    ],
)
def test_left_out_items_are_a_reason(left_out, told):
    name = "beavertails-30k-test"
    found = document(name, scale="paper", left_out=left_out)
    fact = counterpart("Table 2", "csrm", name, "f1_safe")
    told = f"the paper does not state the test split, the positive class{told}"
    assert verdict(found, "f1_safe", fact, BENCHMARKS[name]) == ("partly", told)
    found["overall"]["counts"]["truncated"] = 3
    assert verdict(found, "f1_safe", fact, BENCHMARKS[name])[1] == f"{told}; 3 inputs were cut at score.max_length"
    found["overall"]["counts"].update(truncated=0, cut=2)
    cut = "2 items were cut to data.max_prompt_words and data.max_response_words"
    assert verdict(found, "f1_safe", fact, BENCHMARKS[name])[1] == f"{told}; {cut}"


def test_other_settings_than_the_scales_are_not_comparable():
    name = "beavertails-30k-test"
    fact = counterpart("Table 2", "csrm", name, "f1_safe")
    changed = {**document(name, scale="paper"), "changed": ["data.row_cap", "train.steps"]}
    told = "other settings than the published set-up's: data.row_cap, train.steps"
    assert verdict(changed, "f1_safe", fact, BENCHMARKS[name]) == ("no", told)
    untrained = {**changed, "model": "zero-shot", "changed": ["train.steps"]}
    fact = counterpart("Table 2", "zero-shot", name, "f1_safe")
    assert verdict(untrained, "f1_safe", fact, BENCHMARKS[name])[0] == "partly"


def test_what_is_not_stated_is_told_whole():
    fact = counterpart("Table 4", "gpt-oss-safeguard-20b", "xstest", "f1_safe")
    told = verdict(document("xstest", "gpt-oss-safeguard-20b", "paper"), "f1_safe", fact, BENCHMARKS["xstest"])[1]
    assert told.startswith(
        "the paper does not state the configuration's text, the positive class, the baselines' prompts"
    )
    (fact,) = [f for f in counterparts("wildguard", "dynabench-full", "f1_unsafe") if f.paper.startswith("DynaGuard")]
    found = document("dynabench-full", "wildguard", "paper")
    told = verdict(found, "f1_unsafe", fact, BENCHMARKS["dynabench-full"])
    assert told == ("no", "printed with the policy in the prompt, here WildGuard's own format, which reads none")


def test_results_look_through_all_papers():
    documents = [document("xstest-response", "wildguard", "paper"), document("wildguard-prompt", "wildguard", "paper")]
    documents += [document("beavertails-30k-test", "csrm", "paper")]
    text, _ = tables.results_table(documents, BENCHMARKS)
    rows = {(r["benchmark"], r["model"], r["metric"]): r for r in rows_of(text)}
    found = rows["xstest-response", "wildguard", "f1_unsafe"]
    assert (found["published"], found["printed_in"], found["comparable"]) == ("0.932", "DynaGuard, Table 3", "partly")
    assert rows["xstest-response", "wildguard", "f1_safe"]["reason"] == "nothing printed for it"
    prompt = rows["wildguard-prompt", "wildguard", "f1_unsafe"]
    assert (prompt["published"], prompt["comparable"]) == ("0.889", "partly"), "its adapter reads the prompt alone"
    assert rows["beavertails-30k-test", "csrm", "smece"]["printed_in"] == "CSRM, Table 2"
    assert found["n_safe"] == found["n_unsafe"] == "20" and found["data"] == "ab" * 32 and found["truncated"] == "0"
    assert rows["xstest-response", "always-safe", "fnr"]["measured"] == "1.0"
    assert rows["xstest-response", "always-safe", "fnr"]["protocol"] == BENCHMARKS["xstest-response"].protocol


def test_literature_shows_every_number_once_or_beside_ours():
    documents = [document("xstest-response", model, "small") for model in ("wildguard", "csrm")]
    documents += [document("wildguard-prompt", "shieldgemma-9b", "small"), document("pyrit-seen")]
    text, markdown = literature.literature_table(documents, BENCHMARKS)
    rows = rows_of(text)
    assert {r["benchmark"] for r in rows} == {"xstest-response", "wildguard-prompt"}
    own = [r for r in rows if r["source"] == "measured@small"]
    assert {(r["model"], r["published"]) for r in own} == {
        ("wildguard", "0.932"),
        ("wildguard", "0.947"),
        ("shieldgemma-9b", "0.542"),
        ("shieldgemma-9b", "0.46"),
    }
    assert {r["comparable"] for r in own} == {"no"} and all(r["n"] and r["low"] for r in own)
    guards = [r for r in rows if r["model"].startswith("GuardReasoner-8B")]
    assert {(r["published"], r["metric"]) for r in guards} >= {("0.9375", "f1_unsafe"), ("0.935", "f1_unsafe")}
    assert len(rows) == sum(
        f.paper != PAPER and (n, f.paper, f.dataset) in DATASETS
        for f in published()
        for n in {"xstest-response", "wildguard-prompt"}
    )
    assert "| DynaGuard, Table 3 |" in markdown and "GuardReasoner" in markdown
    with pytest.raises(ValueError, match="no other paper prints a number"):
        literature.literature_table([document("pyrit-seen")], BENCHMARKS)
