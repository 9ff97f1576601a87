"""`csrm score` and `CSRM.from_pretrained` asked in the wrong way: one line that names the file and the fix."""

import json
from pathlib import Path

import pytest

from csrm.cli import main
from csrm.model.device import check_folder
from csrm.model.scorer import CSRM

CONVERSATION = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with a policy, a conversation and two files that are no calibration."""
    monkeypatch.chdir(tmp_path)
    files = {"policy.yaml": "categories: [Alcohol]\n", "own.jsonl": CONVERSATION, "other.json": "{}", "text.json": "no"}
    for name, text in files.items():
        Path(name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "nosuch.yaml", "own.jsonl"], "nosuch.yaml: no such file or directory (in "),
        (["--config", "policy.yaml", "nosuch.jsonl"], "nosuch.jsonl: no such file or directory (in "),
        (["--config", ".", "own.jsonl"], ".: is a directory (in "),
        (["--config", "policy.yaml", "--token-budget", "9", "own.jsonl"], "token_budget: input should be greater than"),
        (
            ["--config", "policy.yaml", "--config", "./policy.yaml", "own.jsonl"],
            "several policies are named ['policy']",
        ),
        (["--config", "policy.yaml", "own.jsonl"], "results/models/csrm/csrm does not exist in "),
        (["--config", "policy.yaml", "--model", "csrm", "own.jsonl"], "model folder csrm does not exist in "),
        (["--config", "policy.yaml", "--model", ".", "own.jsonl"], ". holds no config.json"),
    ],
)
def test_one_line_names_what_is_wrong(
    options: list[str], message: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *options]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1 and "Errno" not in error


@pytest.mark.parametrize("name", ["other.json", "text.json"])
def test_what_is_no_calibration_is_said_to_be_none(
    name: str, own: Path, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["score", "--config", "policy.yaml", "--model", str(tiny_backbone), "--calibration", name, "own.jsonl"]
    assert main(command) == 1
    assert f"{name} is no calibration: expected a file of `csrm calibrate`" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["csrm", "./csrm", "../a/csrm", "/nowhere/csrm", "results/models/csrm", "~/csrm"])
def test_a_folder_that_is_not_there_is_not_asked_of_the_hub(model: str, own: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist in .*; a model of the hub is named OWNER/NAME"):
        CSRM.from_pretrained(model)


def test_a_name_beside_other_models_is_a_folder(own: Path) -> None:
    check_folder("models/csrm")
    Path("models").mkdir()
    with pytest.raises(FileNotFoundError, match="model folder models/csrm does not exist"):
        check_folder("models/csrm")


def test_a_hub_id_and_a_folder_pass(tiny_backbone: Path) -> None:
    check_folder("owner/name")
    check_folder(tiny_backbone)


@pytest.mark.parametrize("same", [True, False])
def test_a_machine_on_which_company_changes_bits_is_told(
    same: bool, own: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("csrm.model.backends.local.same_bits", lambda model: same)
    assert main(["score", "--config", "policy.yaml", "--model", str(tiny_backbone), "own.jsonl"]) == 0
    assert ("may differ in the last bits" in capsys.readouterr().err) != same


def test_ids_prose_and_cuts_are_told(own: Path, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("prose.txt").write_text("Be kind.\n")
    long = CONVERSATION.replace('"a"', f'"{"a word " * 300}"').replace('{"messages"', '{"id": "mine-7", "messages"', 1)
    Path("own.jsonl").write_text(CONVERSATION + long)
    command = ["score", "--config", "prose.txt", "--model", str(tiny_backbone), "--max-length", "200", "own.jsonl"]
    assert main(command) == 0
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [(row["conversation"], row.get("id"), row["truncated"]) for row in rows] == [
        (0, None, False),
        (1, "mine-7", True),
    ]
    assert "prose.txt has no `S1: Name. Guideline` lines" in shown.err
    assert "1 of 2 inputs were cut to 200 tokens" in shown.err
    assert main([*command, "--output", "out.jsonl"]) == 0
    assert Path("out.jsonl").read_text() == shown.out
    assert main(["audit", "out.jsonl"]) == 1, "the user's own files are known by nothing"
    audited = capsys.readouterr()
    assert "conversations: own.jsonl" in audited.out and "config: prose.txt" in audited.out


def test_a_conversation_without_room_is_named(
    own: Path, tiny_backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["score", "--config", "policy.yaml", "--model", str(tiny_backbone), "--max-length", "20", "own.jsonl"]
    assert main(command) == 1
    assert "the conversation that begins 'q': 1 categories and 2 messages leave no room" in capsys.readouterr().err
