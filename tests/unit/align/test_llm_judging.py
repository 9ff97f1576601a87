"""Judging by a language model, from the settings to the judgements: a random one without verdicts, and a server's."""

from pathlib import Path
from typing import Any

import pytest

from csrm.align.schema import Judgement, Sample
from csrm.cli import main
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.files import read_json, read_rows, write_rows
from csrm.settings import AlignSettings, LLMSettings
from csrm.settings.base import write_slice


def test_a_language_model_judges_a_configuration_without_topics(tiny_policy: Path, tmp_path: Path) -> None:
    config = SafetyConfig(name="any", categories=(Category(name="Rudeness"),))
    (tmp_path / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    llm = LLMSettings(model=str(tiny_policy), max_tokens=4, retries=1)
    write_slice(tmp_path / "align.yaml", AlignSettings(judge="llm", llm=llm))
    samples = [
        Sample(
            id=f"s{n}", prompt_id="p", prompt="what", config="any", sample=n, response="wine", n_tokens=1, finished=True
        )
        for n in range(2)
    ]
    write_rows(tmp_path / "samples.jsonl", (s.model_dump() for s in samples))
    files = ["--generations", str(tmp_path / "samples.jsonl"), "--safety-config", str(tmp_path / "config.json")]
    places = ["--settings", str(tmp_path / "align.yaml"), "--llm-cache", str(tmp_path / "cache.jsonl")]
    output = tmp_path / "judged.jsonl"
    assert main(["judge", *files, *places, "--encoder", "hash", "--output", str(output)]) == 0
    assert [(row.id, row.safe, row.on_topic) for row in read_rows(output, Judgement)] == [
        ("s0", None, None),
        ("s1", None, None),
    ]
    notes = read_json(f"{output}.manifest.json")["notes"]
    assert notes["judge"] == "llm" and notes["invalid"] == 2 and notes["answers"] == {"conflicting": 0, "invalid": 8}
    assert (notes["invalid_safe"], notes["invalid_helpfulness"], notes["invalid_on_topic"]) == (2, 0, 2)
    # both samples ask the same, twice with a reminder: four distinct requests, answered once
    assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == 4


def test_the_policy_must_not_judge_itself() -> None:
    with pytest.raises(ValueError, match=r"needs align\.llm\.model"):
        AlignSettings(judge="llm")


RATINGS = {"Beer it is.": "Fully. [[5]]", "Perhaps.": "A bit. [[2]]", "No.": "It depends."}


def verdict(messages: list[dict[str, str]]) -> str:
    """Rates answers as `RATINGS` says, finds every answer compliant, and cannot tell a prompt's topic."""
    asked = messages[0]["content"]
    if "How helpful" in asked:
        return next(rating for response, rating in RATINGS.items() if response in asked)
    return "[[YES]]" if "keep to the policy" in asked else "Who knows."


def test_the_rating_of_the_language_model_is_the_helpfulness(chat_endpoint: dict[str, Any], tmp_path: Path) -> None:
    chat_endpoint["answer"] = verdict
    config = SafetyConfig(name="any", categories=(Category(name="Rudeness"),))
    (tmp_path / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    llm = LLMSettings(model="judge", base_url=chat_endpoint["url"], retries=1)
    write_slice(tmp_path / "align.yaml", AlignSettings(judge="llm", llm=llm))
    texts = [*RATINGS, " "]
    samples = [
        Sample(id=t, prompt_id="p", prompt="q", config="any", sample=n, response=t, n_tokens=1, finished=True)
        for n, t in enumerate(texts)
    ]
    write_rows(tmp_path / "samples.jsonl", (s.model_dump() for s in samples))
    output = tmp_path / "judged.jsonl"
    line = ["judge", "--generations", f"{tmp_path}/samples.jsonl", "--safety-config", f"{tmp_path}/config.json"]
    line += ["--settings", f"{tmp_path}/align.yaml", "--llm-cache", f"{tmp_path}/cache.jsonl", "--rated"]
    assert main([*line, "--output", str(output)]) == 0
    judged = read_rows(output, Judgement)
    assert [row.helpfulness for row in judged] == [1, 0.4, None, 0], "5 / 5, 2 / 5, no rating, and nothing to rate"
    assert all(row.safe is True and row.on_topic is None for row in judged)
    notes = read_json(f"{output}.manifest.json")["notes"]
    assert notes["rated"] is True and notes["judge"] == "llm"
    counted = {name: notes[name] for name in notes if name.startswith("invalid")}
    assert counted == {"invalid": 1, "invalid_safe": 0, "invalid_helpfulness": 1, "invalid_on_topic": 4}


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ([], "--rated needs align.judge llm in --settings, got 'lexicon': name align.llm.model too"),
        (["--encoder", "hash"], "--rated names the rating as H: leave out --encoder"),
    ],
)
def test_a_rating_needs_a_language_model_and_no_other_helpfulness(
    further: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_slice(tmp_path / "align.yaml", AlignSettings())
    config = SafetyConfig(name="any", categories=(Category(name="Rudeness"),))
    (tmp_path / "config.json").write_text(config.model_dump_json(), encoding="utf-8")
    write_rows(tmp_path / "samples.jsonl", [])
    line = ["judge", "--generations", f"{tmp_path}/samples.jsonl", "--safety-config", f"{tmp_path}/config.json"]
    line += ["--settings", f"{tmp_path}/align.yaml", "--output", f"{tmp_path}/judged.jsonl", "--rated"]
    assert main([*line, *further]) != 0
    assert message in capsys.readouterr().err and not (tmp_path / "judged.jsonl").exists()
