"""Every scale plans its jobs without network; the rule graphs are what they were."""

import re
from pathlib import Path

import pytest
from workflow_tools import SNAPSHOTS, empty_mirror, planned, rule_graph, run, snakemake


@pytest.mark.parametrize("scale", ["smoke", "demo"])
def test_dry_run(scale: str, copy: Path) -> None:
    jobs = planned(snakemake(copy, "--dry-run", "--config", f"scale={scale}"))
    assert jobs["all"] == 1 and jobs["train_csrm"] == 1 and jobs["train_variant"] >= 1


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_dry_run_from_the_hub(scale: str, copy: Path) -> None:
    printed = snakemake(copy, "--dry-run", "--config", f"scale={scale}")
    jobs = planned(printed)
    assert jobs["all"] == 1 and jobs["train_csrm"] == 1 and jobs["train_variant"] == 2
    pairs = [jobs.get(rule, 0) for rule in ("split_pairs", "augment_pairs")]
    assert pairs == [scale == "paper"] * 2, "small holds categories out, which pairs do not name"
    assert all(f"data/raw/{raw}/manifest.json" in printed for raw in ("or-bench", "beavertails"))


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_dry_run_with_a_mirror(scale: str, copy: Path, tmp_path: Path) -> None:
    mirror = empty_mirror(tmp_path / "mirror")
    printed = snakemake(copy, "--dry-run", "--config", f"scale={scale}", f"data_root={mirror}")
    jobs = planned(printed)
    assert jobs["all"] == 1 and jobs["train_csrm"] == 1 and jobs["train_variant"] == 2
    pairs = [jobs.get(rule, 0) for rule in ("split_pairs", "augment_pairs")]
    assert pairs == [scale == "paper"] * 2, "small holds categories out, which pairs do not name"
    assert not any(f"data/raw/{raw}/" in printed for raw in ("or-bench", "beavertails"))
    assert ("data/raw/safe-rlhf/" in printed) == (scale == "paper"), "the mirror holds a sample, not the test split"


def test_benchmarks_of_data_that_only_a_mirror_holds_are_left_out_by_name(copy: Path, tmp_path: Path) -> None:
    printed = snakemake(copy, "--dry-run", "--config", "scale=small")
    assert "benchmark xstest-completions is left out: data_root holds no xstest-completions" in printed
    assert "items/xstest-completions.jsonl" not in printed and "items/allowed-categories.jsonl" in printed
    mirror = empty_mirror(tmp_path / "mirror")
    printed = snakemake(copy, "--dry-run", "--config", "scale=paper", f"data_root={mirror}")
    assert "benchmark cosapien is left out" in printed and "items/cosapien-demonstrations.jsonl" in printed
    (mirror / "cosapien-judged").mkdir()
    (mirror / "cosapien-judged/judged.jsonl").touch()
    printed = snakemake(copy, "--dry-run", "--config", "scale=paper", f"data_root={mirror}")
    assert "left out" not in printed and "metrics/csrm/cosapien.json" in printed


def test_a_dry_run_at_the_paper_scale_prints_the_price(copy: Path) -> None:
    printed = snakemake(copy, "--dry-run", "--config", "scale=paper")
    assert printed.count("| csrm |") == 1 and "8 devices of 989 TFLOP/s at 40 % utilisation" in printed
    assert "device-hours" not in snakemake(copy, "--dry-run", "--config", "scale=demo")


def test_the_price_takes_the_utilisation_that_was_measured(copy: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"notes": {"flops_per_second": 2.5e14, "processes": 1}}', encoding="utf-8")
    given = f"price={{manifest: '{manifest}', tflops: 500}}"
    printed = snakemake(copy, "--dry-run", "--config", "scale=paper", given)
    assert f"8 devices of 500 TFLOP/s at 50 % utilisation (measured, {manifest})" in printed
    refused = run(copy, "snakemake", "--dry-run", "--config", "scale=paper", "price={manifest: none.json}")
    assert refused.returncode and "none.json does not exist: give the manifest.json" in refused.stdout


def test_the_paper_scale_plans_its_guards_without_their_weights(copy: Path) -> None:
    target = "results/paper/metrics/wildguard/wildguard-refusal.json"
    options = ("scale=paper", "score={models: [wildguard, qwen3-30b-thinking, minilm-lr]}")
    printed = snakemake(copy, "--dry-run", "--printshellcmds", target, "--config", *options)
    assert planned(printed)["score_guard"] == 1 and "--task refusal" in printed and "--served wildguard" in printed
    told = next(line for line in printed.splitlines() if line.startswith("score.guards"))
    assert told.startswith("score.guards data/guards is no folder: it should hold the weights of ")
    # those that are scored, and those whose scores align a policy
    assert "wildguard (allenai/wildguard)" in told and "llamaguard-3-8b (" in told and "shieldgemma" not in told
    printed = snakemake(copy, "--dry-run", "--config", "scale=paper")
    assert all(
        f"scores/{name}/beavertails-30k-test.jsonl" in printed for name in ("qwen3-30b-thinking", "shieldgemma-9b")
    )


def test_a_variant_with_augmentation_of_its_own_gets_its_own_groups(copy: Path) -> None:
    option = "train={variants: [csrm, csrm-no-cca, csrm-bank-10, csrm-llm]}"
    printed = snakemake(copy, "--dry-run", "--printshellcmds", "--config", option)
    jobs = planned(printed)
    assert jobs["augment_cca"] == 3 and jobs["train_variant"] == 3 and jobs["plot_variety"] == 1
    assert "--item-cap 120" in printed, "the demo's"
    assert "results/augmented/csrm-bank-10/cca.jsonl" in printed and "--llm results/models/backbone" in printed


def test_table6_comes_with_variants_of_another_backbone_or_margin(copy: Path) -> None:
    option = "train={variants: [csrm, csrm-no-cca, csrm-margin-1, csrm-qwen3]}"
    target = "results/tables/table6.md"
    printed = snakemake(copy, "--dry-run", "--printshellcmds", target, "--config", option)
    slices = " ".join(f"results/config/train/{name}.yaml" for name in ("csrm", "csrm-margin-1", "csrm-qwen3"))
    assert f"--variant-settings {slices} --scale demo" in printed and "metrics/csrm-qwen3/pyrit-seen.json" in printed
    assert "metrics/csrm-no-cca" not in printed and "csrm fetch --model qwen3-1.7b" in printed
    refused = run(copy, "snakemake", "--dry-run", target, "--config", "seed=1")
    assert refused.returncode and "it comes with train.variants" in refused.stdout


def test_a_baseline_is_a_reward_offline_and_online(copy: Path) -> None:
    option = "align={rewards: [csrm, minilm-lr-no-config], algorithms: [dpo, reinforce], configs: [no-pets]}"
    target = "results/tables/table5.md"
    printed = snakemake(copy, "--dry-run", "--printshellcmds", target, "--config", option)
    jobs = planned(printed)
    assert jobs["score_responses_baseline"] == jobs["score_responses"] == 1 and jobs["compare_policies"] == 6
    online = "--baseline minilm-lr-no-config --baseline-encoder data/raw/minilm --fitted results/models/baselines/"
    assert f"{online}minilm-lr-no-config.joblib" in printed and "--model results/models/csrm/csrm" in printed


def test_policies_of_two_rewards_are_compared_where_neither_was_trained(copy: Path) -> None:
    option = "align={rewards: [csrm, zero-shot], configs: [no-pets], tested: [no-meat]}"
    printed = snakemake(copy, "--dry-run", "--printshellcmds", "results/tables/table5.md", "--config", option)
    assert planned(printed)["compare_policies"] == 2
    answers = "judgements/no-meat/after/dpo/"
    own, others = f"results/{answers}csrm@no-pets.jsonl", f"results/{answers}zero-shot@no-pets.jsonl"
    assert f"--judgements {own} --other-judgements {others}" in printed
    assert "--config-id no-meat --trained-under no-pets --algorithm dpo --reward csrm --other zero-shot" in " ".join(
        printed.replace("\\", " ").split()
    )


def test_the_demo_trains_a_helpfulness_model_only_when_asked_to(copy: Path) -> None:
    assert "helpfulness" not in " ".join(planned(snakemake(copy, "--dry-run")))
    printed = snakemake(copy, "--dry-run", "--printshellcmds", "--config", "helpfulness={reward: trained}")
    jobs = planned(printed)
    assert (jobs["build_helpfulness_pairs"], jobs["train_helpfulness"], jobs["score_helpfulness"]) == (1, 1, 3)
    assert "rows/pyrit-refusal.jsonl" in printed and "data/raw/pyrit/manifest.json" in printed


def test_alignment_takes_prompts_of_a_data_set_and_cosalign_its_own_harms(copy: Path, tmp_path: Path) -> None:
    mirror = empty_mirror(tmp_path / "mirror")
    judge = "judge: llm, llm: {model: judge, base_url: 'http://127.0.0.1:1/v1'}"
    labels = "seen: [violence], seen_configs: [[]], unseen: [drugs], unseen_configs: [[drugs]]"
    options = ["scale=small", f"data_root={mirror}"]
    options += [f"align={{configs: [general-harm], tested: [], prompts: data, {judge}}}"]
    options += [f"cosa={{taxonomy: cosalign, data: [beavertails], {labels}, {judge}}}"]
    printed = snakemake(
        copy,
        *("--dry-run", "--printshellcmds", "results/small/align/general-harm/prompts/train.jsonl"),
        *("results/small/cosa/pairs.jsonl", "--config", *options),
    )
    assert "--rows results/small/interim/rows/cosalign-test.jsonl" in printed
    assert planned(printed)["draw_prompts"] == planned(printed)["import_responses"] == 1
    assert "csrm cosalign-import --rows results/small/interim/rows/beavertails.jsonl" in printed


def test_a_trained_helpfulness_model_rewards_and_the_proxy_judges(copy: Path, tmp_path: Path) -> None:
    mirror = empty_mirror(tmp_path / "mirror")
    printed = snakemake(copy, "--dry-run", "--printshellcmds", "--config", "scale=small", f"data_root={mirror}")
    commands = dict(re.findall(r"csrm ([\w-]+)((?:.*\\\n)*.*)", printed))
    trained = "--helpfulness results/small/models/helpfulness/trained --helpfulness-map"
    assert trained in commands["prefer"] and "--encoder data/raw/minilm" in commands["judge"]
    assert all(f"rows/{name}.jsonl" in commands["helpfulness-pairs"] for name in ("coconot", "xstest-completions"))
    assert "align/no-alcohol/prompts/test.jsonl" in commands["helpfulness-pairs"].partition("--exclude")[2]


def test_the_paper_scale_is_judged_by_its_language_model(copy: Path) -> None:
    target = "results/paper/tables/table5.md"
    printed = snakemake(copy, "--dry-run", "--printshellcmds", target, "--config", "scale=paper")
    commands = dict(re.findall(r"csrm ([\w-]+)((?:.*\\\n)*.*)", printed))
    assert "--rated" in commands["judge"] and "--encoder" not in commands["judge"], "H is the rating, not the proxy"
    drawn, sampled = commands["align-prompts"], re.findall(r"csrm sample .*prompts/test.jsonl(?:.*\\\n)*.*", printed)
    assert "--test-rows results/paper/interim/rows/cosapien-prompts.jsonl" in drawn
    assert planned(printed)["draw_prompts"] == 5 and sampled and all("--samples 5 " in line for line in sampled)
    printed = snakemake(
        copy, "--dry-run", "--printshellcmds", "results/paper/tables/judge.md", "--config", "scale=paper"
    )
    measured = printed.partition("csrm evaluate-judge")[2].partition("--output")[0]
    assert "--align-settings results/paper/config/align.yaml" in measured and "--encoder" not in measured


def test_helpfulness_data_that_only_a_mirror_holds_are_left_out_by_name(copy: Path) -> None:
    printed = snakemake(copy, "--dry-run", "--config", "scale=small")
    assert "helpfulness data xstest-completions are left out" in printed and planned(printed)["train_helpfulness"] == 1


def test_a_published_helpfulness_model_is_fetched_and_not_trained(copy: Path) -> None:
    printed = snakemake(copy, "--dry-run", "--printshellcmds", "--config", "scale=paper")
    jobs = planned(printed)
    assert "train_helpfulness" not in jobs and jobs["evaluate_helpfulness"] == 1
    assert "--helpfulness data/raw/skywork-reward-llama-3.1-8b --helpfulness-map" in printed
    assert "csrm fetch --model skywork-reward-llama-3.1-8b" in printed
    assert "--item-cap" not in printed, "the paper scale leaves out no item"
    assert "results/paper/tables/literature.csv" in printed
    licences = printed.partition("csrm table --table licences")[2].partition("--output-prefix")[0]
    for used in ("training-data=wildguardmix", "benchmark=xstest-response", "backbone=llama-3.1-8b-instruct"):
        assert used in licences
    assert "benchmark=cosapien-prompts" in licences and "prompt-data=cosapien-prompts" in licences
    assert "language-model=google/gemma-3-27b-it" in licences


@pytest.mark.parametrize(
    ("dataset", "folder"), [("cosapien", "microsoft/CoSApien"), ("xstest-completions", "paul-rottger/xstest")]
)
def test_data_that_only_a_mirror_holds_are_named(dataset: str, folder: str, copy: Path) -> None:
    result = run(copy, "snakemake", "--dry-run", "--config", "scale=small", f"data={{train: [{dataset}]}}")
    assert result.returncode and f"{dataset!r} exists only in a local mirror" in result.stdout
    assert f"set data_root to the folder that holds {folder}" in result.stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("scale=large", "scale 'large' is unknown"),
        ("train={speed: 2}", "train.speed"),
        ("seed=-1", "seed"),
        ("helpfulness={reward: trained, judge: trained}", "would be judged by the model that it was optimised for"),
        ("helpfulness={reward: llama}", "helpfulness.reward ['llama'] are unknown"),
        ("align={judge_data: [xstst]}", "align.judge_data ['xstst'] are unknown: choose among"),
        ("align={configs: [example]}", "config/safety_configs/example.yaml, which align.configs names: no category"),
    ],
)
def test_wrong_settings_stop_the_run(option: str, message: str, copy: Path) -> None:
    result = run(copy, "snakemake", "--dry-run", "--config", option)
    assert result.returncode and message in result.stdout


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("results/metrics/nosuch/pyrit-seen.json", "model 'nosuch' is not in this run; known: csrm, csrm-no-cca, "),
        ("results/scores/wildguard/pyrit-seen.jsonl", "model 'wildguard' is not in this run"),
        ("results/tables/seeds.md", "table 'seeds' is not in this run(.*); it comes with train.seeds"),
    ],
)
def test_targets_outside_the_settings_name_the_setting(target: str, message: str, copy: Path) -> None:
    result = run(copy, "snakemake", "--dry-run", target, "--config", "seed=1")
    assert result.returncode and re.search(message, result.stdout), result.stdout
    assert "MissingRuleException" not in result.stdout


@pytest.mark.parametrize("scale", ["smoke", "demo"])
def test_rule_graph(scale: str, copy: Path) -> None:
    expected = (SNAPSHOTS / f"rulegraph.{scale}.txt").read_text(encoding="utf-8")
    hint = "the rule graph changed; if that is meant: python tests/workflow/make_rulegraphs.py"
    assert rule_graph(copy, scale) == expected, hint
