"""Means over seeds: equal to the metrics of each seed, paired with the reference, and wider where seeds differ."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from csrm.bench.evaluate import evaluate
from csrm.bench.seeds import METRICS, over_seeds
from csrm.cli import main
from csrm.configs.safety_config import Category
from csrm.files import read_json, write_rows
from csrm.report.seeds import seed_table
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import MetricSettings

SETTINGS = MetricSettings(bootstrap=300)
CONFIG = [Category(name="c", guideline="")]


def items(count: int = 40) -> list[Item]:
    """Pairs of a safe (chosen) and an unsafe (rejected) item, a prompt each."""
    turns = [Message(role="user", content="q"), Message(role="assistant", content="a")]
    sides = (("safe", "chosen"), ("unsafe", "rejected"))
    return [
        Item.model_validate(
            {"id": f"{i}:{rank}", "prompt_id": str(i), "messages": turns, "config": CONFIG, "label": label}
            | {"pair": str(i), "rank": rank}
        )
        for i in range(count)
        for label, rank in sides
    ]


def scores(of: list[Item], gap: float, seed: int) -> list[ScoreRow]:
    rng = np.random.default_rng(seed)
    return [
        ScoreRow(id=item.id, log_odds=float(rng.normal() + gap * (item.label == "safe")), n_tokens=1) for item in of
    ]


def test_the_mean_is_that_of_the_seeds() -> None:
    asked = items()
    runs = [scores(asked, 1.0, seed) for seed in (1, 2, 3)]
    found = over_seeds(asked, runs, None, SETTINGS, seed=0)
    single = [evaluate(asked, run, SETTINGS, 0)["overall"]["metrics"] for run in runs]
    for name in METRICS:
        assert found[name]["by_seed"] == pytest.approx([one[name]["value"] for one in single])
        assert found[name]["value"] == pytest.approx(np.mean([one[name]["value"] for one in single]))
        assert found[name]["n"] == single[0][name]["n"]
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_intervals_hold_the_seeds_too() -> None:
    asked = items(200)
    alike = [scores(asked, 1.0, seed) for seed in (1, 2, 3)]
    apart = [scores(asked, gap, seed) for seed, gap in enumerate((0.0, 1.0, 2.0))]
    narrow, wide = (over_seeds(asked, runs, None, SETTINGS, seed=0)["auroc"] for runs in (alike, apart))
    assert wide["high"] - wide["low"] > 3 * (narrow["high"] - narrow["low"])


def test_a_share_that_is_whole_with_every_seed_has_the_exact_interval_of_its_prompts() -> None:
    asked = items(12)
    found = over_seeds(asked, [scores(asked, 50.0, seed) for seed in (1, 2)], None, SETTINGS, seed=0)
    whole = found["pair_accuracy"]
    assert (whole["value"], whole["high"]) == (1, 1)
    assert whole["low"] == pytest.approx(0.025 ** (1 / 12))
    assert found["auroc"]["low"] is None, "no share"


def test_the_reference_is_resampled_alike() -> None:
    asked = items()
    runs = [scores(asked, 1.0, seed) for seed in (1, 2)]
    same = over_seeds(asked, runs, runs, SETTINGS, seed=0)
    assert same["pair_accuracy"]["difference"]["value"] == 0
    assert same["pair_accuracy"]["difference"]["by_seed"] == [0, 0]
    assert same["pair_accuracy"]["difference"]["low"] is None, "every resample gives 0"
    better = [scores(asked, 3.0, seed) for seed in (1, 2)]
    found = over_seeds(asked, better, runs, SETTINGS, seed=0)["auroc"]["difference"]
    assert 0 < found["low"] < found["value"] < found["high"]


def test_another_number_of_seeds_is_refused() -> None:
    asked = items(4)
    with pytest.raises(ValueError, match="2 seeds of the variant, 1 of the reference"):
        over_seeds(asked, [scores(asked, 1.0, s) for s in (1, 2)], [scores(asked, 1.0, 1)], SETTINGS, seed=0)


def test_a_metric_without_a_value_says_why() -> None:
    alone = {"pair": None, "rank": None}
    safe = [item.model_copy(update=alone) for item in items() if item.label == "safe"]
    found = over_seeds(safe, [scores(safe, 1.0, 1)], None, SETTINGS, seed=0)
    assert found["auroc"]["value"] is None and found["auroc"]["reason"] == "single class: no unsafe items"


def test_the_command_and_its_table(tmp_path: Path) -> None:
    asked = items()
    write_rows(tmp_path / "items.jsonl", asked)
    (tmp_path / "metrics.yaml").write_text(yaml.safe_dump(SETTINGS.model_dump(mode="json")))
    for model, gap in (("csrm", 2.0), ("csrm+seed-1", 2.0), ("plain", 0.0), ("plain+seed-1", 0.0)):
        write_rows(tmp_path / model / "b.jsonl", scores(asked, gap, len(model)))
    command = ["evaluate-seeds", "--items", str(tmp_path / "items.jsonl"), "--settings", str(tmp_path / "metrics.yaml")]
    command += ["--benchmark", "b", "--scale", "smoke", "--seed", "0"]
    own, plain = ([str(tmp_path / m / "b.jsonl") for m in (name, f"{name}+seed-1")] for name in ("csrm", "plain"))
    assert main([*command, "--scores", *own, "--model", "csrm", "--output", str(tmp_path / "a.json")]) == 0
    second = ["--scores", *plain, "--reference", *own, "--model", "plain", "--output", str(tmp_path / "b.json")]
    assert main([*command, *second]) == 0
    documents = [read_json(tmp_path / name) for name in ("a.json", "b.json")]
    assert documents[1]["models"] == ["plain", "plain+seed-1"]
    text = seed_table(documents)[1]
    line = next(line for line in text.splitlines() if "| auroc | plain |" in line)
    assert "| -0." in line and re.fullmatch(r" own: 0\.\d{3}, 1: 0\.\d{3} ", line.split("|")[6])
