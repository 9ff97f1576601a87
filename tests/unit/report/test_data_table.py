"""Table 1 counts what the groups hold, keeps published and measured numbers apart, and names licences."""

import csv

import pytest

from csrm.cli import main
from csrm.configs.safety_config import Category
from csrm.data.tables import load_datasets
from csrm.files import read_json, write_rows
from csrm.report.data_table import Count, count, data_table
from csrm.rows import Branch, Group, Message

MESSAGES = [Message(role="user", content="q"), Message(role="assistant", content="a")]


def group(identity, source, labels, pairs=()):
    branches = [Branch(config=[Category(name="Pets")], label=label, source=source) for label in labels]
    return Group(id=identity, prompt_id="p", messages=MESSAGES, branches=branches, pairs=list(pairs))


GROUPS = [
    group("base:b-1", "base", ["safe"]),
    group("base:t:2", "base", ["unsafe"]),
    group("cca:b-1", "cca", ["safe", "unsafe", "unsafe"], [(0, 1), (0, 2)]),
    group("cca:t:2", "cca", ["safe"]),
    group("sa:b-1:violence:0", "sa", [None, None], [(1, 0)]),
    group("sa:b-1:violence:1", "sa", ["safe", "unsafe"], [(1, 0)]),
    group("response:r-1", "response", [None, None], [(0, 1)]),
]
ROWS = {"b-1": "beavertails", "t:2": "topics", "r-1": "safe-rlhf"}


def test_counts_by_source_and_data_set():
    counts = count(GROUPS, ROWS)
    assert counts["base", "beavertails"] == counts["base", "topics"] == Count(1, 1, 1, 0)
    assert counts["cca", "all"] == Count(2, 2, 4, 2) and counts["cca", "beavertails"] == Count(1, 1, 3, 2)
    assert counts["sa", "beavertails"] == counts["sa", "all"] == Count(1, 2, 2, 2)
    assert counts["response", "safe-rlhf"] == Count(1, 1, 0, 1)
    with pytest.raises(ValueError, match=r"'base:t:2'.*--rows"):
        count(GROUPS, {"b-1": "beavertails"})


def test_the_larger_split_stands_in_the_line_of_its_data_set():
    counts = {("base", "beavertails-330k-train"): Count(1, 1, 1, 0), ("base", "all"): Count(1, 1, 1, 0)}
    text, _ = data_table(counts, load_datasets("config"), "paper")
    lines = {(r["source"], r["dataset"], r["task"]): r for r in csv.DictReader(text.splitlines())}
    assert lines["base", "beavertails-330k-train", "CLS"]["published"] == "330000"
    assert ("base", "beavertails", "CLS") not in lines and lines["sa", "beavertails", "RM"]["published"] == "185000"


def test_a_data_set_without_a_licence_line_is_named():
    with pytest.raises(ValueError, match="'nowhere' has no line in datasets"):
        data_table({("base", "nowhere"): Count(1, 1, 1, 0)}, load_datasets("config"), "demo")


def test_command_sets_published_beside_measured(tmp_path):
    write_rows(tmp_path / "groups.jsonl", GROUPS)
    write_rows(tmp_path / "rows.jsonl", [{"id": row, "dataset": name} for row, name in ROWS.items()])
    files = ["--groups", str(tmp_path / "groups.jsonl"), "--rows", str(tmp_path / "rows.jsonl")]
    prefix = tmp_path / "table1"
    assert main(["table", "--table", "table1", *files, "--scale", "small", "--output-prefix", str(prefix)]) == 0
    with (tmp_path / "table1.csv").open() as text:
        lines = {(r["source"], r["dataset"], r["task"]): r for r in csv.DictReader(text)}
    own = lines["base", "beavertails", "CLS"]
    assert (own["published"], own["measured"], own["scale"]) == ("330000", "1", "small")
    assert own["licence"] == "CC BY-NC 4.0" and own["published_as"] == "BeaverTails"
    cca = lines["cca", "all", "CLS"]
    assert (cca["published"], cca["measured"], cca["conversations"]) == ("260000", "4", "2")
    assert (
        lines["sa", "beavertails", "RM"]["published"] == "185000"
        and lines["sa", "beavertails", "RM"]["measured"] == "2"
    )
    assert lines["sa", "wildguardmix", "RM"]["measured"] == "" == lines["sa", "wildguardmix", "RM"]["scale"]
    assert lines["evaluation", "dynabench", "CLS"]["published"] == "543"
    assert lines["base", "topics", "CLS"]["licence"] == "Apache-2.0 (prompts)"
    assert (lines["all", "all", "CLS"]["published"], lines["all", "all", "CLS"]["measured"]) == ("643000", "8")
    assert (lines["all", "all", "RM"]["published"], lines["all", "all", "RM"]["measured"]) == ("281000", "5")
    markdown = (tmp_path / "table1.md").read_text()
    assert "| measured@small |" in markdown and "| cca | all | CLS | 260,000 | 4 |" in markdown
    assert "| 15,000 [1] | – |" in markdown and "| 83,000 [2] |" in markdown
    assert "1. Appendix A describes about 34,248 interactions" in markdown
    assert "30,000 instances" in lines["response", "safe-rlhf", "RM"]["footnote"]
    roles = {entry["role"] for entry in read_json(f"{prefix}.csv.manifest.json")["inputs"]}
    assert roles == {"groups", "rows", "datasets"}


def test_what_is_evaluated_on_is_counted_where_the_run_has_it(tmp_path):
    write_rows(tmp_path / "groups.jsonl", GROUPS)
    write_rows(tmp_path / "rows.jsonl", [{"id": row, "dataset": name} for row, name in ROWS.items()])
    write_rows(tmp_path / "d.jsonl", [{"id": str(n), "dataset": "dynabench"} for n in range(3)])
    write_rows(tmp_path / "c.jsonl", [{"id": str(n), "dataset": "cosapien-judged"} for n in range(2)])
    files = ["--groups", str(tmp_path / "groups.jsonl"), "--rows", str(tmp_path / "rows.jsonl")]
    files += ["--evaluation", str(tmp_path / "d.jsonl"), str(tmp_path / "c.jsonl")]
    prefix = tmp_path / "table1"
    assert main(["table", "--table", "table1", *files, "--scale", "paper", "--output-prefix", str(prefix)]) == 0
    with (tmp_path / "table1.csv").open() as text:
        lines = {r["dataset"]: r for r in csv.DictReader(text) if r["source"] == "evaluation"}
    found = {name: (line["published"], line["measured"], line["groups"]) for name, line in lines.items()}
    assert found == {"dynabench": ("543", "3", ""), "cosapien-judged": ("200", "2", "")}
    manifest = read_json(f"{prefix}.csv.manifest.json")
    assert {entry["role"] for entry in manifest["inputs"]} >= {"evaluation"}


def test_missing_inputs_are_named(tmp_path, capsys):
    for name, roles in (("table1", "--groups --rows"), ("table2", "--metrics")):
        assert main(["table", "--table", name, "--scale", "demo", "--output-prefix", str(tmp_path / name)]) == 1
        assert f"needs {roles}" in capsys.readouterr().err
