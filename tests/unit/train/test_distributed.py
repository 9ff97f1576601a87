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


@pytest.mark.slow
def test_two_processes_train_the_weights_of_one(tiny_backbone: Path, tmp_path: Path) -> None:
    """Whole runs of `csrm train`: in this process, and through the launcher of the settings."""
    import torch
    from safetensors.torch import load_file

    write_rows(tmp_path / "groups.jsonl", training_groups())
    runs = {"one": None, "two": str(CONFIGS / "cpu2.yaml")}
    for name, launcher in runs.items():
        arguments = train_arguments(tmp_path, tiny_backbone, name, launcher)
        if launcher is None:
            assert main(arguments) == 0
        else:
            # `-m csrm.cli` replaces itself by the launcher
            environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
            words = [sys.executable, "-m", "csrm.cli", *arguments]
            run = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=500, check=False)
            assert run.returncode == 0, run.stdout + run.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in runs)
    start = load_file(tiny_backbone / "model.safetensors")
    assert set(one) == set(two)
    assert all(torch.allclose(one[key], two[key], atol=2e-5) for key in one)
    assert any(not torch.allclose(one[key], start[key], atol=1e-3) for key in one)
    logs = [log_entries(tmp_path / name / "log.jsonl") for name in runs]
    assert len(logs[0]) == len(logs[1]) == 4
    for left, right in zip(*logs, strict=True):
        assert [right[key] for key in PARTS] == pytest.approx([left[key] for key in PARTS], abs=1e-4)
    notes = [read_json(tmp_path / name / "manifest.json")["notes"] for name in runs]
    assert notes[0]["tokens_computed"] == notes[1]["tokens_computed"] and notes[0]["steps_timed"] == 4
    assert not (tmp_path / "scratch-two").exists() or not any((tmp_path / "scratch-two").iterdir())


PARTS = ("loss", "loss_cls", "loss_rm", "accuracy", "grad_norm", "step")


def log_entries(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def train_arguments(folder: Path, backbone: Path, name: str, launcher: str | None) -> list[str]:
    values = {"steps": 4, "batch_groups": 8, "device_groups": 2, "warmup_steps": 0, "learning_rate": 3e-3}
    settings = TrainSettings.model_validate({**values, "dtype": "float32", "sa": False, "launcher": launcher})
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
