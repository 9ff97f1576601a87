"""`csrm cosalign-check` on files in CoSAlign-Train's columns, with four and seven nameable categories."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from csrm.cosa import commands
from csrm.data.sources import load_fixture
from csrm.files import read_json, write_rows

GOOD = load_fixture("cosalign-train")["train_bt"][0]
DRUGS = "-Illegal Drug_Related Activities and Substance Abuse-"
SEVEN = GOOD | {"spec_i": DRUGS, "spec_j": DRUGS, "mode": "exact_match", "chosen_cat": f"({DRUGS}, 1)"}


def check(folder: Path, rows: list[dict[str, Any]], *options: str) -> dict[str, Any]:
    write_rows(folder / "rows.jsonl", rows)
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers(required=True))
    arguments = ["cosalign-check", "--rows", str(folder / "rows.jsonl"), "--output", str(folder / "report.json")]
    parsed = parser.parse_args([*arguments, *options])
    parsed.run(parsed)
    report: dict[str, Any] = read_json(folder / "report.json")
    return report


def test_rows_that_keep_the_rules_are_reported(tmp_path: Path) -> None:
    report = check(tmp_path, [GOOD, load_fixture("cosalign-train")["train_wg"][0]])
    assert report == {"kind": "cosalign-check", "categories": 4, "rows": 2, "wrong": 0, "problems": {}}
    assert read_json(tmp_path / "report.json.manifest.json")["inputs"]


def test_a_row_that_breaks_them_fails_and_is_in_the_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 rows break CoSAlign's rules, such as rows.jsonl:2: error score"):
        check(tmp_path, [GOOD, GOOD | {"chosen_category_error_score": 0.2}])
    report = read_json(tmp_path / "report.json")
    assert report["wrong"] == 1 and list(report["problems"]) == ["rows.jsonl:2"]


def test_a_row_without_the_columns_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"rows.jsonl, line 1: no columns \['mode', 'spec_i'"):
        check(tmp_path, [{"prompt": "a"}])


def test_seven_categories_can_be_named_where_the_option_says_so(tmp_path: Path) -> None:
    assert check(tmp_path, [GOOD, SEVEN], "--categories", "7")["wrong"] == 0
    with pytest.raises(ValueError, match=r"allows \['drugs'\], which is outside T"):
        check(tmp_path, [GOOD, SEVEN])
    other = SEVEN | {"spec_i": "-Other Harms-", "spec_j": "-Other Harms-"}
    with pytest.raises(ValueError, match=r"allows \['other'\], which is outside T"):
        check(tmp_path, [other], "--categories", "7")
