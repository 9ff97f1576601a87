"""One run of the smoke workflow, end to end: targets, manifests, reruns, audit."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from workflow_tools import SNAPSHOTS, Finished, derived_rules, planned, rule_blocks, run, snakemake

SMOKE = ("--config", "scale=smoke")
# Rules of what smoke does not have: nothing to fetch, no response pairs, no topics, no guards, one seed, one reward.
NOT_IN_SMOKE = {
    "fetch_raw",
    "answer_topics",
    "split_pairs",
    "augment_pairs",
    "score_guard",
    "score_responses_guard",
    "import_responses",
    "evaluate_seeds",
    "compare_policies",
    "plot_variety",
}
FIGURES = ("configurability", "training", "strictness", "figure3", "figure4", "figure5", "figure8", "overoptimisation")
TABLES = (
    "licences",
    "table1",
    "augmentation",
    "results",
    "comparisons",
    "subsets",
    "summary",
    "calibration",
    "table2",
    "table3",
    "table5",
    "table7",
    "proposers",
    "pareto",
    "judge",
    "retrieval",
    "helpfulness",
)


def test_every_rule_ran(smoke: Finished) -> None:
    ran = set(re.findall(r"^(?:local)?rule (\w+):", smoke.printed, re.MULTILINE))
    graph = (SNAPSHOTS / "rulegraph.smoke.txt").read_text(encoding="utf-8").split()
    assert ran == set(graph) - {"->"}
    assert ran - {"all"} == (set(rule_blocks()) | derived_rules()) - NOT_IN_SMOKE


def test_targets_are_there(smoke: Finished) -> None:
    made = [smoke.results / "interim" / "pins.json"]
    made += [smoke.results / "tables" / f"{table}.{kind}" for table in TABLES for kind in ("csv", "md")]
    made += [smoke.results / "figures" / f"{figure}.{kind}" for figure in FIGURES for kind in ("pdf", "png", "csv")]
    assert [path for path in made if not path.is_file() or not path.stat().st_size] == []


@pytest.mark.parametrize(
    "folder",
    [
        "tables",
        "figures",
        "scores",
        "metrics",
        "calibration",
        "items",
        "augmented",
        "align",
        "judgements",
        "helpfulness",
    ],
)
def test_every_artifact_has_a_manifest(folder: str, smoke: Finished) -> None:
    files = [p for p in (smoke.results / folder).rglob("*") if p.is_file() and not p.name.endswith("manifest.json")]
    files = [p for p in files if p.name != ".snakemake_timestamp"]
    assert files
    assert [p for p in files if not p.with_name(f"{p.name}.manifest.json").is_file()] == []


def test_every_model_has_a_manifest(smoke: Finished) -> None:
    folders = {p.parent for p in (smoke.results / "models").rglob("*.safetensors")}
    # The backbone, two variants, H, a policy and its checkpoint under three algorithms, two stages of CoSAlign.
    assert len(folders) == 12
    assert [p for p in folders if not (p / "manifest.json").is_file()] == []


def test_scratch_is_empty(smoke: Finished) -> None:
    assert [p for p in (smoke.results / "scratch").rglob("*") if p.is_file()] == []


def test_second_run_is_idle(smoke: Finished) -> None:
    assert "Nothing to be done" in snakemake(smoke.copy, *SMOKE)


def test_touched_inputs_rerun_nothing(smoke: Finished) -> None:
    later = time.time() + 5
    touched = ["src/csrm/data/project/smoke.jsonl", "config/safety_configs/no-alcohol.yaml", "config/benchmarks.tsv"]
    for name in touched:
        os.utime(smoke.copy / name, (later, later))
    assert "Nothing to be done" in snakemake(smoke.copy, "--dry-run", *SMOKE)


@pytest.mark.parametrize(
    ("option", "runs", "rests"),
    [
        ("score={token_budget: 2048}", "score_benchmark", "train_csrm"),
        ("item_cap=12", "build_benchmark", "train_policy"),
        ("metrics={bootstrap: 60}", "evaluate_benchmark", "score_benchmark"),
        ("train={learning_rate: 0.5}", "train_csrm", "augment_cca"),
        ("align={beta: 0.2}", "train_policy", "train_csrm"),
        ("helpfulness={center: 0.5}", "train_helpfulness", "train_csrm"),
        ("helpfulness={reward: proxy}", "label_preferences", "train_helpfulness"),
    ],
)
def test_a_setting_reruns_its_own_stage(option: str, runs: str, rests: str, smoke: Finished) -> None:
    jobs = planned(snakemake(smoke.copy, "--dry-run", *SMOKE, option))
    assert runs in jobs and rests not in jobs, jobs
    assert "Nothing to be done" in snakemake(smoke.copy, "--dry-run", *SMOKE)


def test_where_models_are_scored_reruns_nothing(smoke: Finished) -> None:
    option = "score={backend: openai, base_url: 'http://localhost:8000/v1'}"
    assert "Nothing to be done" in snakemake(smoke.copy, "--dry-run", *SMOKE, option)


def test_audit_holds(smoke: Finished) -> None:
    for name in ("figures/figure5.pdf", "tables/table5.csv"):
        result = run(smoke.copy, "csrm", "audit", str(smoke.results / name))
        assert result.returncode == 0, result.stdout
        assert "every hash on the chain holds" in result.stdout
        assert "smoke.jsonl" in result.stdout or "no-alcohol.yaml" in result.stdout


def test_a_dry_run_with_other_settings_leaves_no_trace(smoke: Finished) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (smoke.results / "config").rglob("*.yaml")}
    options = ["metrics={bootstrap: 60}", "train={variants: [csrm, csrm-bank-10]}"]
    jobs = planned(snakemake(smoke.copy, "--dry-run", *SMOKE, *options))
    assert jobs["evaluate_benchmark"] and jobs["augment_cca"] == 1
    assert {path: path.stat().st_mtime_ns for path in (smoke.results / "config").rglob("*.yaml")} == kept
    audit = run(smoke.copy, "csrm", "audit", str(smoke.results / "figures" / "figure5.pdf"))
    assert audit.returncode == 0, audit.stdout
    snakemake(smoke.copy, "--dry-run", *SMOKE, "outdir=results/elsewhere")
    assert not (smoke.copy / "results" / "elsewhere").exists()


def _changed(path: Path) -> bytes:
    before = path.read_bytes()
    path.write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
    return before


@pytest.mark.parametrize(
    "name", ["scores/csrm/smoke-seen.jsonl", "augmented/train/cca.jsonl", "models/csrm/csrm/config.json"]
)
def test_audit_finds_one_changed_byte(name: str, smoke: Finished) -> None:
    path = smoke.results / name
    before = _changed(path)
    try:
        result = run(smoke.copy, "csrm", "audit", str(smoke.results / "figures" / "figure5.pdf"))
    finally:
        path.write_bytes(before)
    assert result.returncode == 1
    assert Path(name).parts[-2] in result.stdout and "changed: recorded" in result.stdout


def test_a_further_seed_trains_each_variant_once_more_and_nothing_else(smoke: Finished) -> None:
    seeds = [*SMOKE, "train={seeds: [1]}"]
    target = "results/smoke/metrics/seeds/csrm-no-sa/smoke-unseen.json"
    jobs = planned(snakemake(smoke.copy, target, "--dry-run", *seeds))
    assert jobs == {"train_variant": 2, "score_benchmark": 2, "evaluate_seeds": 1}
    snakemake(smoke.copy, target, *seeds)
    document = json.loads((smoke.copy / target).read_text(encoding="utf-8"))
    assert document["models"] == ["csrm-no-sa", "csrm-no-sa+seed-1"]
    assert len(document["metrics"]["auroc"]["difference"]["by_seed"]) == 2
    assert "Nothing to be done" in snakemake(smoke.copy, "--dry-run", *SMOKE)


def test_further_seeds_and_rewards_of_alignment_reach_table_5(smoke: Finished) -> None:
    changed = [*SMOKE, "align={seeds: [6], rewards: [csrm, zero-shot], algorithms: [reinforce]}"]
    target = "results/smoke/tables/table5.csv"
    snakemake(smoke.copy, target, *changed)
    text = (smoke.copy / target).read_text(encoding="utf-8")
    names = ("csrm minus zero-shot (REINFORCE++)", "zero-shot (REINFORCE++)")
    assert all(f"{name}, mean of 2 seeds" in text for name in names)
    samples = [smoke.results / "align" / run / "before" / "test.jsonl" for run in ("no-alcohol", "no-alcohol+seed-6")]
    assert samples[0].read_bytes() != samples[1].read_bytes()
    manifest = json.loads(samples[1].with_name("test.jsonl.manifest.json").read_text(encoding="utf-8"))
    assert manifest["seed"] == 6
    snakemake(smoke.copy, *SMOKE)


def test_a_smaller_bank_is_drawn_trained_and_plotted(smoke: Finished) -> None:
    target, option = "results/smoke/figures/variety.csv", "train={variants: [csrm, csrm-bank-10]}"
    printed = snakemake(smoke.copy, target, *SMOKE, option)
    assert "rule plot_variety:" in printed and "rule train_csrm:" not in printed
    sizes = {line.rsplit(",", 1)[1] for line in (smoke.copy / target).read_text(encoding="utf-8").splitlines()[1:]}
    assert "10" in sizes and len(sizes) == 2
