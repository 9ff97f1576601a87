"""Training in several processes: the configurations, the launcher's command, and weights equal to one process's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from csrm.cli import main
from csrm.files import read_json, write_rows
from csrm.settings import TrainSettings
from csrm.train import launch

CONFIGS = Path(__file__).parents[3] / "envs" / "accelerate"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_knows_every_key(path: Path) -> None:
    config: Any = load_config_from_file(str(path))
    assert config.num_processes in (2, 8) and config.num_machines == 1
    assert (config.mixed_precision == "bf16") == (config.num_processes == 8)


def test_the_effective_batch_is_shared_by_the_processes() -> None:
    settings = TrainSettings(batch_groups=128, device_groups=8)
    assert (settings.accumulation(), settings.accumulation(8)) == (16, 2)
    with pytest.raises(ValueError, match=r"batch_groups 128 must be a multiple of train.device_groups 8 times 3"):
        settings.accumulation(3)


def test_missing_launcher_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.yaml does not exist: name a configuration such as envs"):
        launch.command(tmp_path / "none.yaml", ["train"])


def test_missing_reporter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from csrm.train import trainer

    monkeypatch.setattr(trainer, "find_spec", lambda name: None if name == "trackio" else object())
    with pytest.raises(ValueError, match=r"train.report_to names \['trackio'\], not installed"):
        trainer._arguments(TrainSettings(report_to=["trackio", "wandb"]), 0, tmp_path)


def test_named_reporters_reach_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from csrm.train import trainer

    monkeypatch.setattr(trainer, "find_spec", lambda name: object())
    assert trainer._arguments(TrainSettings(report_to=["trackio", "wandb"]), 0, tmp_path).report_to == [
        "trackio",
        "wandb",
    ]
    assert trainer._arguments(TrainSettings(), 0, tmp_path).report_to == []


@pytest.mark.slow
def test_two_processes_train_the_weights_of_one(tiny_backbone: Path, tmp_path: Path) -> None:
    """Whole runs of `csrm train`: in this process, and through the launcher of the settings."""
    write_rows(tmp_path / "groups.jsonl", training_groups())
    assert main(train_arguments(tmp_path, tiny_backbone, "one")) == 0
    # `-m csrm.cli` replaces itself by the launcher
    run(["csrm.cli", *train_arguments(tmp_path, tiny_backbone, "two", launcher=str(CONFIGS / "cpu2.yaml"))])
    assert_same_training(tmp_path, tiny_backbone, "one", "two")
    assert not (tmp_path / "scratch-two").exists() or not any((tmp_path / "scratch-two").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("shards", "method"), [("fsdp2", "full"), ("fsdp2", "lora"), ("zero3", "full")])
def test_sharded_training_gives_the_weights_of_one_process(
    shards: str, method: str, tiny_backbone: Path, tmp_path: Path
) -> None:
    """The shipped configuration for two processes on a CPU; stopped after its checkpoint, and started again."""
    if shards == "zero3":
        pytest.importorskip("deepspeed", reason="optional: pip install -c constraints.txt -e '.[zero3]' to test it")
    config = yaml.safe_load((CONFIGS / f"{shards}.yaml").read_text(encoding="utf-8"))
    (tmp_path / "launcher.yaml").write_text(yaml.safe_dump({**config, "num_processes": 2, "mixed_precision": "no"}))
    write_rows(tmp_path / "groups.jsonl", training_groups())
    assert main(train_arguments(tmp_path, tiny_backbone, "one", method=method)) == 0
    options = ["--config_file", str(tmp_path / "launcher.yaml"), str(Path(__file__).with_name("sharded_on_cpu.py"))]
    arguments = train_arguments(tmp_path, tiny_backbone, "two", checkpoint_steps=2, method=method)
    words = ["accelerate.commands.launch", *options, *arguments]
    marks = {launch.MARK: "test", "DS_ACCELERATOR": "cpu"}
    assert "stopped at step 3" in run(words, **marks, CSRM_TEST_STOP_AT="3", expected=1)
    run(words, **marks)
    assert_same_training(tmp_path, tiny_backbone, "one", "two", steps_timed=2)


def run(words: list[str], expected: int = 0, **variables: str) -> str:
    """What `python -m <words>` prints, without the marks of a launcher that runs these tests."""
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def assert_same_training(folder: Path, backbone: Path, one: str, two: str, steps_timed: int = 4) -> None:
    """Equal weights, which differ from the backbone's, and equal logs; the second run was of two processes."""
    import torch
    from safetensors.torch import load_file

    left, right = (load_file(folder / name / "model.safetensors") for name in (one, two))
    start = load_file(backbone / "model.safetensors")
    assert set(left) == set(right)
    assert all(torch.allclose(left[key], right[key], atol=2e-5) for key in left)
    assert any(not torch.allclose(left[key], start[key], atol=1e-3) for key in left)
    logs = [log_entries(folder / name / "log.jsonl") for name in (one, two)]
    assert len(logs[0]) == len(logs[1]) == 4
    for mine, other in zip(*logs, strict=True):
        assert [other[key] for key in PARTS] == pytest.approx([mine[key] for key in PARTS], abs=1e-4)
    notes = [read_json(folder / name / "manifest.json")["notes"] for name in (one, two)]
    assert notes[0]["tokens_computed"] == notes[1]["tokens_computed"]
    assert [note["processes"] for note in notes] == [1, 2]
    assert [note["steps_timed"] for note in notes] == [4, steps_timed]


PARTS = ("loss", "loss_cls", "loss_rm", "accuracy", "brier", "p_safe", "share_safe", "grad_norm", "step")


def log_entries(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def train_arguments(folder: Path, backbone: Path, name: str, **changes: Any) -> list[str]:
    values = {"steps": 4, "batch_groups": 8, "device_groups": 2, "warmup_steps": 0, "learning_rate": 3e-3}
    settings = TrainSettings.model_validate({**values, "dtype": "float32", "sa": False, **changes})
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
    options = {"variant": "csrm", "groups": folder / "groups.jsonl", "backbone": backbone, "settings": path}
    options |= {"scratch": folder / f"scratch-{name}", "output": folder / name}
    return ["train", *(str(word) for key, value in options.items() for word in (f"--{key}", value))]


def training_groups() -> list[dict[str, Any]]:
    """Conversations of several lengths; half rank their branches, the others are labelled."""
    made: list[dict[str, Any]] = []
    for n in range(24):
        turns = [{"role": "user", "content": f"Tell me {n}."}, {"role": "assistant", "content": "The song. " * (n + 1)}]
        source = "cca" if n % 2 else "base"
        labels = ("safe", "unsafe")
        branches = [{"config": [{"name": w}], "label": x, "source": source} for w, x in zip("ab", labels, strict=True)]
        pairs = [[0, 1]] if n % 2 else []
        made.append({"id": str(n), "prompt_id": str(n), "messages": turns, "branches": branches, "pairs": pairs})
    return made
