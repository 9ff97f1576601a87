"""Training that is killed by the system and started again ends with the same weights."""

import os
import signal
import subprocess
import time
from pathlib import Path

import yaml
from workflow_tools import Finished, environment, run

from csrm.files import sha256

STEPS = 60


def _command(smoke: Finished, folder: Path, name: str) -> list[str]:
    settings = yaml.safe_load((smoke.results / "config" / "train.yaml").read_text(encoding="utf-8"))
    changes = {"steps": STEPS, "batch_groups": 2, "device_groups": 2, "checkpoint_steps": 5}
    (folder / "train.yaml").write_text(yaml.safe_dump({**settings, **changes}), encoding="utf-8")
    groups = sorted(str(path) for path in (smoke.results / "augmented" / "train").glob("*.jsonl"))
    backbone = str(smoke.results / "models" / "backbone" / "random-tiny")
    command = ["csrm", "train", "--variant", "csrm", "--groups", *groups, "--backbone", backbone, "--seed", "5"]
    command += ["--settings", str(folder / "train.yaml"), "--scratch", str(folder / f"{name}-scratch")]
    return [*command, "--output", str(folder / name)]


def test_killed_training_resumes_to_the_same_weights(smoke: Finished, tmp_path: Path) -> None:
    whole = run(smoke.copy, *_command(smoke, tmp_path, "whole"))
    assert whole.returncode == 0, whole.stdout
    command = _command(smoke, tmp_path, "killed")
    with (tmp_path / "killed.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=smoke.copy, env=environment(smoke.copy), stdout=log, stderr=log)
        deadline = time.time() + 120
        while not list((tmp_path / "killed-scratch").glob("*/checkpoint-*/trainer_state.json")):
            assert process.poll() is None and time.time() < deadline, (tmp_path / "killed.log").read_text()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    again = run(smoke.copy, *command)
    assert again.returncode == 0, again.stdout
    assert sha256(tmp_path / "killed" / "model.safetensors") == sha256(tmp_path / "whole" / "model.safetensors")
    assert len((tmp_path / "killed" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == STEPS
    assert not [path for path in (tmp_path / "killed-scratch").rglob("*") if path.is_file()]
