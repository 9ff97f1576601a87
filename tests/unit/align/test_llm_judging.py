"""Judging by a language model, from the settings to the judgements; the model is random and its verdicts invalid."""

from pathlib import Path

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
        ("s0", None, False),
        ("s1", None, False),
    ]
    notes = read_json(f"{output}.manifest.json")["notes"]
    assert notes["judge"] == "llm" and notes["invalid"] == 2 and notes["answers"] == {"conflicting": 0, "invalid": 8}
    # both samples ask the same, twice with a reminder: four distinct requests, answered once
    assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == 4


def test_the_policy_must_not_judge_itself() -> None:
    with pytest.raises(ValueError, match=r"needs align\.llm\.model"):
        AlignSettings(judge="llm")
