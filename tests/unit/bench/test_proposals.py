"""Comparing proposers: the measures by hand, and the command with a real (random) model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from csrm.augment.catalogue import Catalogue
from csrm.augment.encoder import HashEncoder
from csrm.augment.proposers import BankProposer, Case, Proposal
from csrm.bench.proposals import Proposed, Verdict, ask, quality, verification, verify
from csrm.cli import main
from csrm.configs.safety_config import Category
from csrm.files import read_dicts, read_json, write_rows
from csrm.report.proposers import proposer_table
from csrm.rows import Message, Row
from csrm.settings import AugmentSettings, DataSettings, LLMSettings, MetricSettings

CATALOGUE = Catalogue.load({"pyrit"}, ["privacy"])
METRICS = MetricSettings(bootstrap=50)
ENCODER = HashEncoder()


def row(name: str, text: str, **harms: float) -> Row:
    turns = [Message(role="user", content="Tell me."), Message(role="assistant", content=text)]
    return Row(id=name, dataset="d", prompt_id=name, messages=turns, taxonomy="pyrit", harms=harms)


ROWS = [
    row("harmful", "stab him with the knife until he bleeds", violence=1.0),
    row("harmless", "water the roses in the morning", violence=0.0),
]


def bank(family: str) -> Category:
    found = next(c for c in CATALOGUE.bank() if c.family == family)
    return Category(name=found.name, guideline=found.guideline, key=f"bank:{found.id}")


def proposed(place: int, positive: Category | None, negative: Category | None) -> Proposed:
    return Proposed(ROWS[place], CATALOGUE.facts(ROWS[place], 0.5), positive, negative)


def value(measures: dict[str, dict[str, Any]], name: str) -> tuple[float | None, int]:
    return measures[name]["value"], measures[name]["n"]


def test_measures_by_hand() -> None:
    violence, gardening = bank("violence"), bank("gardening")
    same = violence.model_copy(update={"key": "llm:1"})  # found again by meaning
    stab = Category(name="stab him with the knife", guideline="", key="llm:2")
    asked = [proposed(0, violence, gardening), proposed(0, same, violence), proposed(0, None, None)]
    asked += [proposed(1, stab, None)]
    found = quality(asked, CATALOGUE, ENCODER, METRICS, seed=0)
    assert value(found, "p+ found") == (pytest.approx(2 / 3), 3)
    assert value(found, "p- found") == (0.5, 4)
    assert value(found, "p+ on harmless") == (1.0, 1)
    assert value(found, "p+ of a violated family") == (1.0, 2)
    assert value(found, "p- of an untouched family") == (0.5, 2)
    assert value(found, "distinct p+") == (pytest.approx(2 / 3), 3)
    assert value(found, "distinct p-") == (1.0, 2)


def test_nothing_proposed_has_no_value() -> None:
    found = quality([proposed(0, None, None)], CATALOGUE, ENCODER, METRICS, seed=0)
    assert value(found, "p+ found") == (0.0, 1)
    assert found["p+ of a violated family"] == {"value": None, "n": 0}
    assert found["distinct p+"] == {"value": None, "n": 0}


def test_closeness_is_that_of_the_conversation() -> None:
    near = Category(name="knife bleeds", guideline="", key="llm:1")
    far = Category(name="roses morning", guideline="", key="llm:2")
    found = quality([proposed(0, near, far), proposed(0, far, near)], CATALOGUE, ENCODER, METRICS, seed=0)
    assert value(found, "p+ closer than p-") == (0.5, 2)


def test_the_bank_meets_its_measures_by_construction() -> None:
    proposer = BankProposer(CATALOGUE.bank(), ENCODER, AugmentSettings())
    found = quality(list(ask(ROWS, CATALOGUE, proposer, 0.5, 3, Random(0))), CATALOGUE, ENCODER, METRICS, seed=0)
    assert value(found, "p+ of a violated family") == (1.0, 3)
    assert value(found, "p- of an untouched family") == (1.0, 6)
    assert value(found, "p+ on harmless") == (0.0, 3)


def test_a_proposer_is_asked_so_often_and_sees_no_unknown_category() -> None:
    seen: list[Sequence[Category]] = []

    class Recorder:
        def proposals(self, case: Case, rng: Random) -> Iterator[Proposal]:
            seen.append(case.config)
            while True:
                yield Proposal(None, None)

    unknown = row("unknown", "who knows")
    asked = list(ask([unknown], CATALOGUE, Recorder(), 0.5, 2, Random(0)))  # type: ignore[arg-type]
    assert len(asked) == 2 and asked[0].facts.unknown
    assert not {c.key for c in seen[0]} & asked[0].facts.unknown


def test_the_verifier_is_held_against_human_ratings() -> None:
    answers = iter([True, None])
    verdicts = list(verify(ROWS, CATALOGUE, lambda row, category: next(answers), 0.5))
    assert verdicts == [Verdict("harmful", True, True), Verdict("harmless", False, None)]
    verdicts.append(Verdict("another", False, True))
    found = verification(verdicts, METRICS, seed=0)
    assert value(found, "verifier answers that parse") == (pytest.approx(2 / 3), 3)
    assert value(found, "violations called") == (1.0, 1)
    assert value(found, "harmless called violations") == (1.0, 1)


def test_the_command_and_its_table(tiny_backbone: Path, tmp_path: Path) -> None:
    """A random model answers under the schema: every answer parses, and what it says is worth nothing."""
    augment = AugmentSettings(llm=LLMSettings(max_tokens=400))
    for name, section in {"augment": augment, "data": DataSettings(), "metrics": METRICS}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(section.model_dump(mode="json")))
    write_rows(tmp_path / "rows.jsonl", ROWS)
    slices = [f"--{n}={tmp_path / f}.yaml" for n, f in (("settings", "augment"), ("data-settings", "data"))]
    slices += [f"--metrics-settings={tmp_path}/metrics.yaml", f"--llm-cache={tmp_path}/answers.jsonl"]
    command = ["compare-proposers", "--rows", str(tmp_path / "rows.jsonl"), *slices, "--encoder", "hash"]
    command += ["--llm", str(tiny_backbone), "--conversations", "2", "--seed", "0", "--scale", "smoke"]
    assert main([*command, "--output", str(tmp_path / "first.json")]) == 0
    document = read_json(tmp_path / "first.json")
    llm = document["backends"]["llm"]
    assert value(llm["measures"], "verifier answers that parse") == (1.0, 2)
    answers = len(list(read_dicts(tmp_path / "answers.jsonl")))
    assert main([*command, "--output", str(tmp_path / "again.json")]) == 0
    assert read_json(tmp_path / "again.json") == document
    assert len(list(read_dicts(tmp_path / "answers.jsonl"))) == answers, "a rerun asks nothing"
    csv_text, text = proposer_table([document])
    assert csv_text.count("\n") == 1 + 8 + 8 + 3
    assert "| verifier answers that parse | llm | measured@smoke | 1.000" in text
    assert "`n` counts what a measure is a share of: requests for `found`" in text
