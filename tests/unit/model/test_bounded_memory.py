"""Scoring thousands of items: memory does not grow with their number beyond their texts, and progress is shown."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csrm.cli import main
from csrm.configs.safety_config import Category
from csrm.files import read_dicts, read_json, write_rows
from csrm.rows import Item, Message

FEW, MANY = 300, 3000
# Texts and token ids of the further items take 25 MiB; the keys and values of their tokens would take 200.
GROWTH_MIB = 64
SYLLABLES = ("ba", "ko", "ri", "tu", "se", "mo")


def made_up(count: int) -> Iterator[Item]:
    """Items of some 150 tokens, under two of six categories each."""
    draw = random.Random(count)

    def text(words: int) -> str:
        return " ".join("".join(draw.choices(SYLLABLES, k=2)) for _ in range(words))

    categories = [Category(name=f"C{n}", guideline=text(8)) for n in range(6)]
    for n in range(count):
        said = [Message(role="user", content=text(3)), Message(role="assistant", content=text(draw.randrange(4, 9)))]
        yield Item(id=f"i{n}", prompt_id=f"p{n}", messages=said, config=draw.sample(categories, 2), label="safe")


def test_3000_items_take_no_more_memory_than_300_and_show_progress(tiny_backbone: Path, tmp_path: Path) -> None:
    for count in (FEW, MANY):
        write_rows(tmp_path / f"{count}.jsonl", made_up(count))
    (tmp_path / "score.yaml").write_text("dtype: float32\n")
    (tmp_path / "train.yaml").write_text("{}\n")
    scores = [tmp_path / f"{count}.scores" for count in (FEW, MANY)]
    items = [tmp_path / f"{count}.jsonl" for count in (FEW, MANY)]
    command = [sys.executable, "-c", "from csrm.cli import main; raise SystemExit(main())", "score-items"]
    command += ["--model", tiny_backbone, "--items", *items, "--output", *scores]
    command += ["--settings", tmp_path / "score.yaml", "--train-settings", tmp_path / "train.yaml"]
    # A process counts the peak of what it was forked from as its own: a shell's, not this one's.
    run = subprocess.run(
        ["sh", "-c", '"$0" "$@"; exit $?', *map(str, command)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert len(list(read_dicts(scores[1]))) == MANY
    peaks = [read_json(tmp_path / f"{path.name}.manifest.json")["peak_memory_mib"] for path in scores]
    assert peaks[1] - peaks[0] < GROWTH_MIB, peaks
    shown = [int(count) for count in re.findall(rf"(\d+)/{MANY} \[", run.stderr)]
    assert len(set(shown)) > 3 and shown[-1] == MANY, run.stderr[-500:]


@pytest.mark.parametrize("terminal", [True, False])
def test_own_conversations_show_progress_on_a_terminal(
    terminal: bool,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_rows(tmp_path / "own.jsonl", [{"messages": [m.model_dump() for m in item.messages]} for item in made_up(5)])
    (tmp_path / "policy.yaml").write_text("[Alcohol, Pets]\n")
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    command = ["score", "--model", str(tiny_backbone), "--config", str(tmp_path / "policy.yaml")]
    assert main([*command, str(tmp_path / "own.jsonl")]) == 0
    printed = capsys.readouterr()
    assert ("5/5 [" in printed.err) == terminal
    assert [json.loads(line)["conversation"] for line in printed.out.splitlines()] == list(range(5))
