"""The audit sheet is blind and complete; agreement and kappa follow from the answers alone."""

import csv
from random import Random

import augment_fakes as fakes
import pytest
from sklearn.metrics import cohen_kappa_score

from csrm.augment import agreement, strictness_groups
from csrm.augment.strictness_backends import LevelBackend
from csrm.cli import main
from csrm.files import read_json, write_rows

SETTINGS = fakes.settings(dominance=0.3, pool=50)


@pytest.fixture(scope="module")
def groups():
    rows = [row for row in fakes.rows(120) if row.taxonomy == "harms"]
    return strictness_groups.build(rows, fakes.catalogue(), LevelBackend, SETTINGS, Random(0))[0]


@pytest.fixture
def exported(groups, tmp_path):
    write_rows(tmp_path / "sa.jsonl", groups)
    options = ["--groups", str(tmp_path / "sa.jsonl"), "--seed", "1"]
    assert main(["strictness-sheet", *options, "--pairs", "40", "--output", str(tmp_path / "sheet.csv")]) == 0
    with (tmp_path / "sheet.csv").open(newline="") as text:
        return list(csv.DictReader(text))


def fill(path, lines, answers):
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, agreement.COLUMNS)
        writer.writeheader()
        writer.writerows({**line, "stricter": answer} for line, answer in zip(lines, answers, strict=True))


def intended(lines, groups):
    key = agreement.key({line["id"]: line for line in lines}, groups)
    return [key[line["id"]].intended for line in lines]


def measure(tmp_path, *names):
    sheets = [str(tmp_path / f"{name}.csv") for name in names]
    output = tmp_path / "agreement.json"
    arguments = ["--groups", str(tmp_path / "sa.jsonl"), "--seed", "0", "--output", str(output)]
    code = main(["strictness-agreement", "--sheets", *sheets, *arguments])
    return code, read_json(output) if code == 0 else None


def test_sheet_is_blind_distinct_and_seeded(exported, groups):
    assert len(exported) == 40 == len({line["id"] for line in exported})
    assert all(line["stricter"] == "" and line["version_a"] != line["version_b"] for line in exported)
    sides = intended(exported, groups)
    assert 8 < sides.count("A") < 32
    by_id = {group.id: group for group in groups}
    for line, side in zip(exported, sides, strict=True):
        (strict,) = (c for c in by_id[line["id"]].branches[0].config if "@" in c.key)
        assert line["version_a" if side == "A" else "version_b"] == f"{strict.name}: {strict.guideline}"
        assert line["conversation"].endswith(f"Agent: {by_id[line['id']].messages[-1].content}")
    assert agreement.sheet(groups, 40, 1) == agreement.sheet(groups, 40, 1) != agreement.sheet(groups, 40, 2)


def test_sheet_takes_all_where_there_are_fewer_and_needs_one(groups):
    assert len(agreement.sheet(groups[:3], 100, 0).splitlines()) > 3
    with pytest.raises(ValueError, match="no strict/lenient pair"):
        agreement.sheet([], 100, 0)


def test_agreement_and_kappa_of_two_annotators(exported, groups, tmp_path, capsys):
    truth = intended(exported, groups)
    swap = {"A": "B", "B": "A"}
    ann = [swap[t] if i % 10 == 0 else t for i, t in enumerate(truth)]
    bob = ["equal" if i % 8 == 0 else t.lower() for i, t in enumerate(truth)]
    fill(tmp_path / "ann.csv", exported, ann)
    fill(tmp_path / "bob.csv", exported[::-1], bob[::-1])
    code, found = measure(tmp_path, "ann", "bob")
    assert code == 0 and found["pairs"] == 40
    own = found["with_intended_order"]["ann"]
    assert own["agreement"]["value"] == pytest.approx(0.9)
    assert own["agreement"]["low"] < 0.9 < own["agreement"]["high"]
    kappa = found["annotators"]["ann and bob"]["kappa"]
    upper = [b if b == "equal" else b.upper() for b in bob]
    assert kappa["value"] == pytest.approx(cohen_kappa_score(ann, upper)) and kappa["low"] < kappa["value"]
    printed = capsys.readouterr().out
    assert "ann with the intended order: agreement 0.900 [" in printed and "ann and bob: agreement" in printed


def test_perfect_and_one_sided_answers(exported, groups, tmp_path, capsys):
    fill(tmp_path / "one.csv", exported, intended(exported, groups))
    fill(tmp_path / "two.csv", exported, ["equal"] * 40)
    fill(tmp_path / "three.csv", exported, ["equal"] * 40)
    found = measure(tmp_path, "one", "two", "three")[1]
    assert found["with_intended_order"]["one"]["kappa"] == {"value": 1.0, "low": None, "high": None}
    exact = {"value": 1.0, "low": pytest.approx(0.025 ** (1 / found["prompts"])), "high": 1.0}
    assert found["prompts"] > 1 and found["with_intended_order"]["one"]["agreement"] == exact
    assert found["with_intended_order"]["two"]["agreement"]["value"] == 0
    assert found["annotators"]["two and three"]["kappa"]["value"] is None
    assert "undefined" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: ["", *["A"] * 39], "1 lines without an answer"),
        (lambda lines: ["C", "left", *["A"] * 38], "2 unknown answers"),
    ],
)
def test_unfilled_and_unknown_answers_are_named(change, message, exported, tmp_path, capsys):
    fill(tmp_path / "bad.csv", exported, change(exported))
    assert measure(tmp_path, "bad") == (1, None)
    error = capsys.readouterr().err
    assert message in error and exported[0]["id"] in error and "['A', 'B', 'equal']" in error


def test_other_pairs_are_refused(exported, tmp_path, capsys):
    fill(tmp_path / "few.csv", exported[1:], ["A"] * 39)
    fill(tmp_path / "all.csv", exported, ["A"] * 40)
    assert measure(tmp_path, "all", "few")[0] == 1
    assert "other pairs" in capsys.readouterr().err
    fill(tmp_path / "edited.csv", [{**exported[0], "version_a": "x"}], ["A"])
    assert measure(tmp_path, "edited")[0] == 1
    assert "change column `stricter` only" in capsys.readouterr().err
    fill(tmp_path / "twice.csv", [exported[0]] * 2, ["A", "A"])
    assert measure(tmp_path, "twice")[0] == 1
    assert "more than once" in capsys.readouterr().err
    (tmp_path / "columns.csv").write_text("id;stricter\n")
    assert measure(tmp_path, "columns")[0] == 1
    assert "comma-separated" in capsys.readouterr().err
