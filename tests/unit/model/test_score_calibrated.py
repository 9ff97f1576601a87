"""`csrm score` finds its model's calibration, says which file it used, and labels at the recommended thresholds."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from csrm import files
from csrm.cli import main
from csrm.model.calibrated import places

CONVERSATION = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
MODEL = "out/models/csrm/mine"
BESIDE = "out/calibration/mine/calibration.json"


def document(model: str = "mine", **thresholds: float) -> dict[str, Any]:
    found = [{"target_fpr": 0.05, "threshold": thresholds.get("strict", 50.0)}, {"target_fpr": 0.1, "threshold": -50.0}]
    methods = {"platt": {"slope": 0.0, "offset": 2.0}, "temperature": {"temperature": 1.0}}
    return {"kind": "calibration", "model": model, "methods": methods, "undefined": {}, "thresholds": found}


@pytest.fixture
def run(tmp_path: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folders: a model as training leaves it, and its calibration beside."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_backbone, MODEL)
    card = {"variant": "mine", "section_order": "config-last", "verbalizer": {}}
    files.write_json(Path(MODEL) / "csrm.json", card)
    files.write_json(Path(BESIDE), document())
    Path("policy.yaml").write_text("categories: [Alcohol]\n")
    Path("own.jsonl").write_text(CONVERSATION)
    return tmp_path


def score(*options: str) -> int:
    return main(["score", "--config", "policy.yaml", "--model", MODEL, *options, "own.jsonl"])


def test_without_being_asked_scores_stay_raw(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score() == 0
    assert "calibration.json" not in capsys.readouterr().err


def test_a_method_finds_the_calibration_of_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("--method", "platt") == 0
    out = capsys.readouterr()
    assert f"{BESIDE} calibrates p_safe (platt); safe above p_safe .5" in out.err
    assert json.loads(out.out)["p_safe"] == pytest.approx(0.8808, abs=1e-4)


@pytest.mark.parametrize(("target", "label"), [("0.05", "unsafe"), ("0.1", "safe")])
def test_a_target_labels_at_its_threshold(
    target: str, label: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("--target-fpr", target) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["label"] == label
    assert f"safe above log-odds {'+' if label == 'unsafe' else '-'}50.000" in out.err


def test_a_copy_in_the_folder_comes_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_json(Path(MODEL) / "calibration.json", document(strict=-50.0))
    assert score("--target-fpr", "0.05") == 0
    out = capsys.readouterr()
    assert f"{MODEL}/calibration.json" in out.err and json.loads(out.out)["label"] == "safe"


def test_what_is_missing_or_not_its_own_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("--target-fpr", "0.2") == 1
    assert "no threshold for a target false positive rate of 0.2; it has 0.05, 0.1" in capsys.readouterr().err
    files.write_json(Path(BESIDE), document("other"))
    assert score("--method", "platt") == 1
    assert "calibrates 'other', and out/models/csrm/mine holds 'mine'" in capsys.readouterr().err
    Path(BESIDE).unlink()
    assert score("--method", "platt") == 1
    error = capsys.readouterr().err
    assert f"no {MODEL}/calibration.json nor {BESIDE}: make it with `snakemake --cores all {BESIDE}`" in error
    files.write_json(Path(MODEL) / "manifest.json", {"overrides": {"scale": "smoke"}})
    assert score("--method", "platt") == 1
    assert f"`snakemake --cores all {BESIDE} --config scale=smoke`" in capsys.readouterr().err


def test_only_a_model_of_a_run_has_a_place_beside() -> None:
    assert places(Path("/x/own")) == [Path("/x/own/calibration.json")]
    assert places(Path("/x/models/csrm/a"))[1] == Path("/x/calibration/a/calibration.json")
