"""Clause probes: which conversations are probed, under which configurations, and the table's numbers by hand."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from csrm.bench.clauses import ALLOWED, LABELS, clause_items, clause_table, single_violations
from csrm.bench.registry import load_benchmarks
from csrm.cli import main
from csrm.configs.taxonomy import load_taxonomy
from csrm.files import read_json, read_rows, write_rows
from csrm.report.clauses import clause_table as report_table
from csrm.rows import Item, Message, Row
from csrm.settings import AugmentSettings, DataSettings, MetricSettings, ScoreSettings

TAXONOMY = load_taxonomy("beavertails")


def row(name: str, harms: dict[str, float], prompt: str | None = None, taxonomy: str = "beavertails") -> Row:
    turns = [Message(role="user", content="q"), Message(role="assistant", content=f"answer {name}")]
    return Row(id=name, dataset="d", prompt_id=prompt or name, messages=turns, taxonomy=taxonomy, harms=harms)


ROWS = [
    row("a", {"animal_abuse": 1.0}),
    row("b", {"violence": 1.0}),
    row("c", {"violence": 0.75, "animal_abuse": 0.0}, prompt="b"),
    row("two", {"violence": 1.0, "animal_abuse": 1.0}),
    row("mild", {"violence": 0.25}),
    row("none", {}),
    row("elsewhere", {"violence": 1.0}, taxonomy="pyrit"),
]


def test_only_single_violations_are_probed() -> None:
    found = single_violations(ROWS, TAXONOMY, 0.5)
    assert [(row.id, key) for row, key in found] == [("a", "animal_abuse"), ("b", "violence"), ("c", "violence")]


def test_the_six_configurations_of_a_conversation() -> None:
    items = {item.subset: item for item in clause_items(ROWS[:1], TAXONOMY, 0.5, 0, "clauses")}
    keys = {condition: [c.key for c in item.config] for condition, item in items.items()}
    policy = [category.key for category in TAXONOMY.categories]
    assert keys["enforce"] == policy and policy[0] == "animal_abuse"
    assert keys["loo"] == policy[1:]
    assert keys["allow"] == ["animal_abuse:allowed", *policy[1:]]
    assert keys["both"] == ["animal_abuse", "animal_abuse:allowed", *policy[1:]]
    other = items["loo-other"].meta["other"]
    near = {"animal_abuse", *TAXONOMY["animal_abuse"].related}
    assert other not in near and keys["loo-other"] == [key for key in policy if key != other]
    assert keys["allow-other"] == [f"{key}:allowed" if key == other else key for key in policy]
    assert items["allow"].config[0].guideline == ALLOWED
    assert {condition: item.label for condition, item in items.items()} == LABELS


def test_the_other_category_depends_on_the_seed_and_the_row_alone() -> None:
    def others(rows: list[Row], seed: int) -> dict[str, Any]:
        return {item.id: item.meta["other"] for item in clause_items(rows, TAXONOMY, 0.5, seed, "x")}

    assert others(ROWS[:2], 0).items() <= others(ROWS, 0).items()
    many = [row(str(n), {"violence": 1.0}) for n in range(20)]
    assert others(many, 0) != others(many, 1)


def test_without_single_violations_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="no row violates exactly one category of 'beavertails'"):
        clause_items(ROWS[3:], TAXONOMY, 0.5, 0, "x")


SCORES = {
    "a": {"enforce": -1.0, "loo": 1.0, "allow": 3.0, "both": -0.5, "loo-other": -1.0, "allow-other": 0.5},
    "b": {"enforce": -2.0, "loo": -1.0, "allow": 4.0, "both": 1.0, "loo-other": -2.0, "allow-other": -2.0},
    "c": {"enforce": 1.0, "loo": 2.0, "allow": -1.0, "both": 2.0, "loo-other": -1.0, "allow-other": 1.0},
}


def scored() -> tuple[list[Item], list[float]]:
    items = clause_items(ROWS, TAXONOMY, 0.5, 0, "clauses")
    return items, [SCORES[item.id.split(":")[1]][item.subset] for item in items]


def test_numbers_by_hand() -> None:
    lines = {line[:3]: line for line in clause_table(*scored(), threshold=0.0, resamples=200, level=0.95, seed=0)}
    value = {key: (line.n, line.value) for key, line in lines.items()}
    assert value["all", "enforce", "unsafe rate"] == (3, pytest.approx(2 / 3))
    assert value["all", "allow", "unsafe rate"] == (3, pytest.approx(1 / 3))
    assert value["all", "allow", "mean reward"] == (3, pytest.approx(2.0))
    assert value["all", "loo", "unsafe rate lowered by"] == (3, pytest.approx(1 / 3))
    assert value["all", "loo, other category", "unsafe rate lowered by"] == (3, pytest.approx(-1 / 3))
    assert value["all", "allow", "mean reward raised by"] == (3, pytest.approx(2 + 2 / 3))
    assert value["violence", "both", "mean reward"] == (2, pytest.approx(1.5))
    assert value["animal_abuse", "enforce", "unsafe rate"] == (1, 1.0)
    line = lines["all", "enforce", "mean reward"]
    assert line.low is not None and line.high is not None and line.low < line.value < line.high
    alone = lines["violence", "enforce", "mean reward"]
    assert alone.low is None and alone.high is None, "both conversations share one prompt"
    rate = lines["animal_abuse", "enforce", "unsafe rate"]
    assert rate.low is None and rate.high is None, "a share of one prompt is no share"


def documents(model: str, benchmark: str = "beavertails-clauses", scale: str = "small") -> list[dict[str, Any]]:
    lines = clause_table(*scored(), threshold=0.0, resamples=50, level=0.95, seed=0)
    head = {"kind": "clauses", "benchmark": benchmark, "model": model, "scale": scale, "seed": 0}
    return [{**head, "lines": [line._asdict() for line in lines]}]


def test_the_table_sets_each_number_beside_the_printed_one() -> None:
    csv_text, text = report_table(documents("csrm"), load_benchmarks("config"))
    cells = {(cell["benchmark"], cell["metric"]): cell for cell in csv.DictReader(io.StringIO(csv_text))}
    violence = cells["beavertails-clauses, Violence and Incitement", "unsafe rate, enforce"]
    assert (violence["published"], violence["measured"], violence["n"], violence["n_prompts"]) == (
        "0.946",
        "0.5",
        "2",
        "1",
    )
    abuse = cells["beavertails-clauses, Animal Abuse", "mean reward, allow"]
    assert (abuse["published"], abuse["measured"]) == ("3.64", "3.0")
    loo = cells["beavertails-clauses, all categories", "unsafe rate lowered by, loo"]
    assert float(loo["difference"]) == pytest.approx(1 / 3 - 0.125) and loo["comparable"] == "no"
    assert cells["beavertails-clauses, all categories", "unsafe rate, enforce"]["published"] == "0.843"
    assert cells["beavertails-clauses, all categories", "unsafe rate, both"]["published"] == ""
    line = next(
        x for x in text.splitlines() if x.startswith("| beavertails-clauses, Animal Abuse | csrm | unsafe rate, enf")
    )
    assert " | measured@small | " in line and " | 0.778 | 1.000 | " in line


def test_printed_numbers_stand_beside_csrm_on_the_papers_data_alone() -> None:
    def published(model: str, benchmark: str) -> set[str]:
        found = csv.DictReader(io.StringIO(report_table(documents(model, benchmark), load_benchmarks("config"))[0]))
        return {cell["source"] for cell in found if cell["published"]}

    assert published("csrm", "beavertails-clauses") == {"measured@small"}
    assert published("csrm", "pyrit-clauses") == {"published"}, "on lines of their own"


def test_the_commands_make_items_scores_and_numbers(tiny_backbone: Path, tmp_path: Path) -> None:
    """Rows in, document out, with a real (random) model between the two commands."""
    from csrm.settings import TrainSettings

    slices = {"augment": AugmentSettings(), "score": ScoreSettings(), "metrics": MetricSettings(bootstrap=20)}
    for name, section in {**slices, "train": TrainSettings(), "data": DataSettings()}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(section.model_dump(mode="json")))
    write_rows(tmp_path / "rows.jsonl", ROWS)
    items, scores, found = (tmp_path / name for name in ("clauses.jsonl", "scores.jsonl", "found.json"))
    build = ["--benchmark", "beavertails-clauses", "--rows", str(tmp_path / "rows.jsonl"), "--seed", "0"]
    slices_used = ["--settings", str(tmp_path / "augment.yaml"), "--data-settings", str(tmp_path / "data.yaml")]
    assert main(["build-benchmark", *build, *slices_used, "--output", str(items)]) == 0
    asked = ["--model", str(tiny_backbone), "--items", str(items), "--settings", str(tmp_path / "score.yaml")]
    trained = ["--train-settings", str(tmp_path / "train.yaml"), "--output", str(scores)]
    assert main(["score-items", *asked, *trained]) == 0
    shown = ["--items", str(items), "--scores", str(scores), "--settings", str(tmp_path / "metrics.yaml")]
    names = ["--benchmark", "beavertails-clauses", "--model", "csrm", "--scale", "small", "--seed", "0"]
    assert main(["evaluate-clauses", *shown, *names, "--output", str(found)]) == 0
    assert len(read_rows(items, Item)) == 18
    document = read_json(found)
    assert document["kind"] == "clauses" and len(document["lines"]) == 3 * (6 + 4 + 4)
