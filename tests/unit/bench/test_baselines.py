"""Baselines without training emit score rows and do what they say."""

import argparse

import pytest

from csrm import files
from csrm.augment.encoder import HashEncoder
from csrm.bench import baselines, commands
from csrm.configs.safety_config import Category
from csrm.rows import Item, Message, ScoreRow


def item(name, response, *names):
    messages = [Message(role="user", content="Tell me."), Message(role="assistant", content=response)]
    config = [Category(name=n) for n in names]
    return Item(id=name, prompt_id=name, messages=messages, config=config, label="safe")


ITEMS = [
    item("a", "Adopt two pets and feed the pets well.", "Pets"),
    item("b", "Adopt two pets and feed the pets well.", "Gambling"),
    item("c", "No.", "Pets", "Gambling"),
    item("d", "No."),
]


def values(name, encoder=None):
    return [score.log_odds for score in baselines.score_baseline(name, ITEMS, baselines.Tools(encoder))]


def test_constants_and_length():
    assert values("constant-safe") == [10.0] * 4 and values("constant-unsafe") == [-10.0] * 4
    long, same, short, _ = values("length")
    assert long == same < short


def test_keyword_reads_names_in_singular_and_plural():
    assert values("keyword") == [-1.0, 1.0, 1.0, 1.0]


def test_similarity_follows_the_configuration():
    near, far, _, empty = values("minilm-similarity", HashEncoder())
    assert near < far and empty == 2.0
    with pytest.raises(ValueError, match="needs --encoder"):
        values("minilm-similarity")


def test_unknown_baseline_lists_the_known():
    with pytest.raises(ValueError, match="'oracle' is unknown; choose one of"):
        values("oracle")


def test_command(tmp_path):
    for name in ("one", "two"):
        files.write_rows(tmp_path / f"{name}.jsonl", ITEMS)
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    line = f"score-baseline --baseline minilm-similarity --items {tmp_path}/one.jsonl {tmp_path}/two.jsonl"
    line += f" --encoder hash --output {tmp_path}/a.jsonl"
    with pytest.raises(ValueError, match="2 files of items but 1 outputs"):
        chosen = parser.parse_args(line.split())
        chosen.run(chosen)
    chosen = parser.parse_args([*line.split(), f"{tmp_path}/b.jsonl"])
    chosen.run(chosen)
    rows = files.read_rows(tmp_path / "b.jsonl", ScoreRow)
    assert [r.id for r in rows] == ["a", "b", "c", "d"] and rows[0].n_tokens == 10
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()
