"""The commands, end to end on a tiny random policy, with invented scores."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csrm.align import commands, evaluation_commands
from csrm.data.adapters.common import prompt_row
from csrm.files import read_dicts, read_json, write_rows

Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    align = {"train_prompts": 4, "test_prompts": 4, "max_new_tokens": 6, "steps": 2, "batch_pairs": 2, "lora_rank": 2}
    Path("align.yaml").write_text(json.dumps(align), encoding="utf-8")
    Path("metrics.yaml").write_text('{"bootstrap": 20}', encoding="utf-8")
    config = "{name: no-alcohol, categories: [{name: Alcohol, key: alcohol}]}"
    Path("config.yaml").write_text(config, encoding="utf-8")

    def call(*arguments: Any) -> None:
        parser = argparse.ArgumentParser()
        subparsers = parser.add_subparsers(required=True)
        commands.register(subparsers)
        evaluation_commands.register(subparsers)
        options = parser.parse_args([str(a) for a in arguments])
        options.run(options)

    return call


def test_test_prompts_come_from_a_data_set(run: Run) -> None:
    align = {**json.loads(Path("align.yaml").read_text()), "test_data": "cosapien-prompts"}
    Path("align.yaml").write_text(json.dumps(align), encoding="utf-8")
    config = "{name: cosapien-film-production, categories: [{name: Alcohol, key: alcohol}]}"
    Path("config.yaml").write_text(config, encoding="utf-8")
    duels = [f"Describe duel {n}." for n in range(3)]
    meta = {"scenario": "film_production", "policy": "No gore.", "type": "partial"}
    write_rows(
        "tests.jsonl", (prompt_row("cosapien-prompts", n, duel, **meta).model_dump() for n, duel in enumerate(duels))
    )
    line = ("align-prompts", "--safety-config", "config.yaml", "--settings", "align.yaml", "--encoder", "hash")
    run(*line, "--test-rows", "tests.jsonl", "--output-dir", "prompts")
    assert sorted(row["prompt"] for row in read_dicts("prompts/test.jsonl")) == duels
    notes = read_json("prompts/train.jsonl.manifest.json")["notes"]
    assert notes["test"] == {"asked": 4, "rows": 3, "types": {"partial": 3}}
    assert notes["train"] == {"asked": 4, "rows": 4, "on_topic": 2}
    with pytest.raises(ValueError, match=r"align\.test_data 'cosapien-prompts' needs --test-rows"):
        run(*line, "--output-dir", "prompts")


def test_commands_end_to_end(run: Run, tiny_policy: Path) -> None:
    config, common = ("--safety-config", "config.yaml"), ("--settings", "align.yaml", "--seed", "0")
    run("align-prompts", *config, *common, "--encoder", "hash", "--output-dir", "prompts")
    assert read_json("prompts/train.jsonl.manifest.json")["notes"]["train"] == {"asked": 4, "rows": 4, "on_topic": 2}
    sample = ("sample", "--policy", tiny_policy, *config, *common, "--samples", 4)
    run(*sample, "--prompts", "prompts/train.jsonl", "--output", "train.jsonl")
    run(*sample, "--prompts", "prompts/test.jsonl", "--output", "before.jsonl")
    for name in ("train", "before"):
        run("preference-items", "--samples", f"{name}.jsonl", *config, "--output", f"{name}-items.jsonl")
        items = list(read_dicts(f"{name}-items.jsonl"))
        scores = ({"id": item["id"], "log_odds": float(i % 5), "n_tokens": 1} for i, item in enumerate(items))
        write_rows(f"{name}-scores.jsonl", scores)
    prefer = ("prefer", "--samples", "train.jsonl", "--scores", "train-scores.jsonl", *config, *common)
    run(*prefer, "--encoder", "hash", "--output", "pairs.jsonl")
    notes = read_json("pairs.jsonl.manifest.json")["notes"]
    assert notes["pairs"] + sum(notes["dropped"].values()) == 4
    train = (
        "train-policy",
        "--algorithm",
        "reward-distillation",
        "--policy",
        tiny_policy,
        "--preferences",
        "pairs.jsonl",
        *common,
    )
    run(*train, "--scratch", "scratch", "--checkpoints", "half", "--output", "adapter")
    assert [row["step"] for row in read_dicts("adapter/log.jsonl")] == [1, 2]
    assert read_json("half/manifest.json")["notes"]["checkpoints"] == [1]
    run(*sample, "--adapter", "adapter", "--prompts", "prompts/test.jsonl", "--output", "after.jsonl")
    for name in ("before", "after"):
        files = ("--generations", f"{name}.jsonl", "--settings", "align.yaml", "--output", f"{name}-judged.jsonl")
        run("judge", *files, *config, "--encoder", "hash")
    identity = ("--config-id", "no-alcohol", "--reward", "csrm", "--scale", "smoke", "--seed", "0")
    judged = ("--judgements-before", "before-judged.jsonl", "--judgements-after", "after-judged.jsonl")
    run(
        "evaluate-policy",
        "--algorithm",
        "reward-distillation",
        *judged,
        "--settings",
        "metrics.yaml",
        *identity,
        "--output",
        "evaluation.json",
    )
    result = read_json("evaluation.json")
    assert (result["config"], result["reward"], result["scale"]) == ("no-alcohol", "csrm", "smoke")
    assert result["algorithm"] == "Reward Distillation"
    assert result["all"]["before"]["safety"]["n"] == 16
    two = ("--seeds", 0, 1, "--algorithm", "dpo", "--settings", "metrics.yaml", *identity)
    sides = [(f"{side}-judged.jsonl",) * 2 for side in ("before", "after")]
    run(
        "evaluate-policy", "--judgements-before", *sides[0], "--judgements-after", *sides[1], *two, "--output", "s.json"
    )
    means = read_json("s.json")["over_seeds"]
    assert (
        means["after"]["safety"]["value"] == result["all"]["after"]["safety"]["value"] and result["over_seeds"] is None
    )
    compared = ("compare-policies", "--other", "zero-shot", *two, "--output", "c.json", "--judgements", *sides[1])
    run(*compared, "--other-judgements", *sides[0])
    found = read_json("c.json")
    assert found["other"] == "zero-shot" and found["seeds"] == [0, 1]
    assert found["difference"]["safety"]["value"] == pytest.approx(means["difference"]["safety"]["value"])
    with pytest.raises(ValueError, match=r"1 files of judgements for the seeds \[0, 1\]"):
        run(*compared, "--other-judgements", "before-judged.jsonl")
    curve = ("evaluate-checkpoints", "--algorithm", "reward-distillation", "--adapter", "adapter", *identity)
    curve += ("--align-settings", "align.yaml", "--settings", "metrics.yaml", "--output", "curve.json")
    judged = ["before-judged.jsonl", "before-judged.jsonl", "after-judged.jsonl"]
    scores = ["before-scores.jsonl"] * 3
    run(*curve, "--judgements", *judged, "--scores", *scores)
    points = read_json("curve.json")["curve"]
    assert [(p["step"], p["kl"]) for p in points] == [(0, None), (1, None), (2, None)]
    assert points[1]["since_start"]["reward"]["value"] == 0
    write_rows("adapter/log.jsonl", [{"step": 1, "kl": 0.0}, {"step": 2, "kl": 0.5}])
    run(*curve, "--judgements", *judged, "--scores", *scores)
    assert [p["kl"] for p in read_json("curve.json")["curve"]] == [0, 0.5, None], "a batch is drawn before its update"
    with pytest.raises(ValueError, match="kept at 2 steps: give 3 --judgements and --scores, got 2 and 3"):
        run(*curve, "--judgements", *judged[1:], "--scores", *scores)
    inputs = ("--samples", "before.jsonl", "--scores", "before-scores.jsonl", "--judgements", "before-judged.jsonl")
    slices = ("--align-settings", "align.yaml", "--settings", "metrics.yaml")
    others = ("--others", "same", "--other-scores", "before-scores.jsonl")
    run("pareto", *inputs, *others, *slices, *identity, "--output", "pareto.json")
    result = read_json("pareto.json")
    assert [p["offset"] for p in result["points"]] == [-4, -2, 0, 2, 4]
    assert 0 <= result["hypervolume"]["value"] <= 1 and result["hypervolume_minus"]["same"]["value"] == 0
    with pytest.raises(ValueError, match="names 0 rewards, --other-scores 1"):
        run("pareto", *inputs, *others[2:], *slices, *identity, "--output", "pareto.json")


def test_answer_topics_writes_rows(run: Run, tiny_policy: Path) -> None:
    prompt = {"id": "a", "dataset": "topics", "prompt_id": "a", "prompt": "what ?", "meta": {"category": "alcohol"}}
    write_rows("prompts.jsonl", [prompt])
    Path("topics.yaml").write_text('{"max_new_tokens": 6}', encoding="utf-8")
    common = ("--settings", "topics.yaml", "--seed", "0", "--output", "rows.jsonl")
    run("answer-topics", "--policy", tiny_policy, "--prompts", "prompts.jsonl", *common)
    row = next(read_dicts("rows.jsonl"))
    assert row["taxonomy"] == "topics" and row["meta"]["category"] == "alcohol"
