"""Clause probes: which conversations are probed, under which configurations, and the table's numbers by hand."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from csrm.bench.clauses import ALLOWED, LABELS, Line, clause_items, clause_table, single_violations, to_markdown
from csrm.cli import main
from csrm.configs.taxonomy import load_taxonomy
from csrm.files import read_rows, write_rows
from csrm.rows import Item, Message, Row
from csrm.settings import AugmentSettings, MetricSettings, ScoreSettings

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
    assert value["violence", "both", "mean reward"] == (2, pytest.approx(1.5))
    assert value["animal_abuse", "enforce", "unsafe rate"] == (1, 1.0)
    line = lines["all", "enforce", "mean reward"]
    assert line.low is not None and line.high is not None and line.low < line.value < line.high
    alone = lines["violence", "enforce", "mean reward"]
    assert alone.low is None and alone.high is None, "both conversations share one prompt"
    rate = lines["animal_abuse", "enforce", "unsafe rate"]
    assert rate.low is None and rate.high is None, "a share of one prompt is no share"


def test_markdown_has_a_line_a_category_and_the_shifts() -> None:
    lines: list[Line] = clause_table(*scored(), threshold=0.0, resamples=50, level=0.95, seed=0)
    text = to_markdown(lines, {"violence": "Violence"}).splitlines()
    assert text[0].startswith("| category | N | unsafe rate, enforce | unsafe rate, allow | unsafe rate, both |")
    assert "| Violence | 2 | 0.500 | 0.500 | 0.000 | -0.50 | +1.50 | +1.50 |" in text
    assert any(line.startswith("| loo, other category | 3 | -0.333 [") for line in text)


def test_the_commands_make_items_scores_and_the_table(tiny_backbone: Path, tmp_path: Path) -> None:
    """Rows in, table out, with a real (random) model between the two commands."""
    from csrm.settings import TrainSettings

    slices = {"augment": AugmentSettings(), "score": ScoreSettings(), "metrics": MetricSettings(bootstrap=20)}
    for name, section in {**slices, "train": TrainSettings()}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(section.model_dump(mode="json")))
    write_rows(tmp_path / "rows.jsonl", ROWS)
    file = {name: str(tmp_path / name) for name in ("rows.jsonl", "augment.yaml", "score.yaml", "metrics.yaml")}
    items, scores = str(tmp_path / "clauses.jsonl"), str(tmp_path / "scores.jsonl")
    common = ["--taxonomy", "beavertails", "--seed", "0"]
    build = ["--rows", file["rows.jsonl"], "--settings", file["augment.yaml"]]
    assert main(["build-clauses", *build, *common, "--output", items]) == 0
    asked = ["--model", str(tiny_backbone), "--items", items, "--settings", file["score.yaml"], "--output", scores]
    assert main(["score-items", *asked, "--train-settings", str(tmp_path / "train.yaml")]) == 0
    shown = ["--items", items, "--scores", scores, "--settings", file["metrics.yaml"]]
    assert main(["clause-table", *shown, *common, "--output-prefix", str(tmp_path / "table7")]) == 0
    assert len(read_rows(Path(items), Item)) == 18
    lines = (tmp_path / "table7.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * (6 + 4)
    assert "| Animal Abuse | 1 |" in (tmp_path / "table7.md").read_text()
