"""The table of licences names every data set, model and guard in use, once."""

import csv

import pytest

from csrm.cli import main
from csrm.report.licences import parse_used


def test_one_line_for_each_thing_in_use(tmp_path):
    used = ["training-data=beavertails", "benchmark=wildguardmix-test", "benchmark=beavertails", "guard=wildguard"]
    used += ["benchmark=cosapien-prompts", "prompt-data=cosapien-prompts"]
    used += ["backbone=smollm2-135m-instruct", "policy=smollm2-135m-instruct", "language-model=google/gemma-3-27b-it"]
    prefix = str(tmp_path / "licences")
    assert main(["table", "--table", "licences", "--used", *used, "--scale", "demo", "--output-prefix", prefix]) == 0
    with (tmp_path / "licences.csv").open() as text:
        lines = {line["id"]: line for line in csv.DictReader(text)}
    assert len(lines) == 6 and lines["cosapien-prompts"]["used_as"] == "benchmark, prompt data"
    assert lines["beavertails"]["used_as"] == "training data, benchmark"
    assert lines["beavertails"]["licence"] == "CC BY-NC 4.0" and lines["beavertails"]["pin"].startswith("8401fe60")
    assert (lines["wildguardmix-test"]["licence"], lines["wildguardmix-test"]["gated"]) == ("ODC-BY", "yes")
    assert lines["smollm2-135m-instruct"]["used_as"] == "backbone, policy"
    guard = lines["wildguard"]
    assert guard["licence"].startswith("Apache-2.0") and guard["locator"] == "allenai/wildguard"
    assert lines["google/gemma-3-27b-it"]["licence"] == "not recorded"
    assert (tmp_path / "licences.md").read_text().count("\n| ") == 2 + 6


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("beavertails", "write ROLE=ID"),
        ("food=beavertails", "training-data, benchmark"),
    ],
)
def test_words_of_another_form_are_named(word, message):
    with pytest.raises(ValueError, match=message):
        parse_used([word])


def test_unknown_ids_are_named(tmp_path, capsys):
    options = ["--used", "guard=nobody", "--scale", "demo", "--output-prefix", str(tmp_path / "l")]
    assert main(["table", "--table", "licences", *options]) == 1
    assert "guard 'nobody' is in none of the tables; known: dynaguard-8b" in capsys.readouterr().err
