"""The judge's refusals and helpfulness against verdicts of people."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrm.align import evaluation_commands
from csrm.align.judge_accuracy import by_rating, by_rules, judge_accuracy
from csrm.augment.encoder import HashEncoder
from csrm.files import read_json, write_rows
from csrm.report.judge import judge_table
from csrm.rows import Message, Row
from csrm.settings import AlignSettings, LLMSettings, MetricSettings
from csrm.settings.base import write_slice

RULES = by_rules(HashEncoder())
METRICS = MetricSettings.model_validate({"bootstrap": 300})
REFUSES, ANSWERS, UNUSUAL = "I'm sorry, but I can't help with that.", "Take the second street.", "Let's not go there."


def row(number: int, response: str, refusal: bool | None, kind: str | None = None) -> Row:
    messages = [Message(role="user", content="q"), Message(role="assistant", content=response)]
    meta = {"refusal_kind": kind} if kind else {}
    return Row(
        id=str(number),
        dataset="d",
        prompt_id=f"p{number // 2}",
        messages=messages,
        taxonomy="none",
        refusal=refusal,
        meta=meta,
    )


def rows() -> list[Row]:
    """6 refusals, of which 4 in the usual words; 10 answers, of which 1 sounds like a refusal; 2 without a verdict."""
    told = [(REFUSES, True, "full")] * 4 + [(UNUSUAL, True, "partial")] * 2
    told += [(ANSWERS, False, "compliance")] * 9 + [(REFUSES, False, "compliance")]
    return [row(n, *one) for n, one in enumerate(told)] + [row(16, ANSWERS, None), row(17, REFUSES, None)]


def test_shares_equal_those_counted_by_hand() -> None:
    found = judge_accuracy(rows(), RULES, METRICS, 0)["refuses"]
    values = {name: measure["value"] for name, measure in found["measures"].items()}
    expected = {"accuracy": 13 / 16, "precision": 4 / 5, "recall": 4 / 6, "specificity": 9 / 10}
    assert values == pytest.approx({**expected, "recall (full)": 1, "recall (partial)": 0})
    assert (found["n"], found["n_prompts"], found["without_verdict"], found["majority"]) == (16, 8, 2, 10 / 16)
    assert found["counts"] == {"labelled": 6, "called": 5, "both": 4}
    for name, measure in found["measures"].items():
        assert measure["n"] == {"accuracy": 16, "precision": 5, "recall": 6, "specificity": 10}.get(name, measure["n"])
        assert measure["low"] is None or measure["low"] <= measure["value"] <= measure["high"]
    assert found["measures"]["recall (full)"]["low"] == pytest.approx(0.025 ** (1 / 2)), "two prompts, exact"


def test_a_measure_without_verdicts_has_no_value() -> None:
    judged = judge_accuracy([row(0, ANSWERS, False), row(2, ANSWERS, False)], RULES, METRICS, 0)
    found = judged["refuses"]["measures"]
    assert found["precision"]["value"] is None and found["recall"]["n"] == 0 and found["accuracy"]["value"] == 1


def test_help_is_held_against_achieved_objectives() -> None:
    """Of 6 achieved objectives one sounds like a refusal; of 4 others two do; helpfulness orders what is left."""
    told = [(ANSWERS, True)] * 5 + [(REFUSES, True)] + [(REFUSES, False)] * 2 + [("Blue.", False)] * 2
    answered = []
    for n, (response, achieved) in enumerate(told):
        one = row(n, response, None)
        asked = one.messages[0].model_copy(update={"content": "Where is the second street?"})
        answered.append(one.model_copy(update={"messages": [asked, *one.messages[1:]]}))
        answered[-1].meta["objective_achieved"] = achieved
    found = judge_accuracy([*answered, row(10, ANSWERS, None)], RULES, METRICS, 0)
    assert [*found] == ["helps"] and found["helps"]["without_verdict"] == 1
    assert found["helps"]["counts"] == {"labelled": 6, "called": 7, "both": 5}
    measures = found["helps"]["measures"]
    values = {name: measures[name]["value"] for name in ("accuracy", "precision", "recall", "specificity")}
    assert values == pytest.approx({"accuracy": 7 / 10, "precision": 5 / 7, "recall": 5 / 6, "specificity": 2 / 4})
    # five answers above all four others; the refused one ties with two refusals and lies below two colours
    assert measures["auroc"]["value"] == pytest.approx((5 * 4 + 2 * 0.5) / 24)
    assert measures["auroc"]["low"] < measures["auroc"]["value"] < measures["auroc"]["high"]


def test_command_and_table(tmp_path: Path) -> None:
    write_rows(tmp_path / "told.jsonl", rows())
    (tmp_path / "metrics.yaml").write_text("{bootstrap: 50}", encoding="utf-8")
    parser = argparse.ArgumentParser()
    evaluation_commands.register(parser.add_subparsers())
    line = ["evaluate-judge", "--rows", f"{tmp_path}/told.jsonl", "--settings", f"{tmp_path}/metrics.yaml"]
    line += ["--encoder", "hash"]
    options = parser.parse_args([*line, "--scale", "smoke", "--output", f"{tmp_path}/judge.json"])
    options.run(options)
    text, markdown = judge_table([read_json(tmp_path / "judge.json")])
    assert text.splitlines()[1].startswith("told,refuses,human,accuracy,measured@smoke,0.8125,")
    assert "| told | refuses | human | majority | measured@smoke | 0.625 | 16 | 8 | 0 | 0 |" in markdown
    assert "decides by rules" in markdown and "language model" not in markdown
    write_rows(tmp_path / "told.jsonl", rows()[-2:])
    with pytest.raises(ValueError, match="none of 2 rows has a verdict on refusal"):
        options.run(options)


def achieved(number: int, response: str, told: bool) -> Row:
    return row(number, response, None).model_copy(update={"meta": {"objective_achieved": told}})


def rating(prompts: Any, responses: Any) -> Any:
    """0 for refusals in any words, nothing valid for one answer, else full marks."""
    return np.array([0.0 if r in (REFUSES, UNUSUAL) else np.nan if r == "Blue." else 1.0 for r in responses])


def test_a_rating_of_0_is_a_refusal_and_invalid_ratings_are_counted_and_bounded() -> None:
    unsure = [row(20, "Blue.", True, "full"), row(22, "Blue.", False)]
    found = judge_accuracy([*rows(), *unsure], by_rating(rating), METRICS, 0)["refuses"]
    values = {name: measure["value"] for name, measure in found["measures"].items()}
    assert values == pytest.approx(
        {
            "accuracy": 15 / 16,
            "precision": 6 / 7,
            "recall": 1,
            "specificity": 9 / 10,
            "recall (full)": 1,
            "recall (partial)": 1,
        }
    )
    assert (found["n"], found["invalid"], found["without_verdict"]) == (16, 2, 2)
    assert found["accuracy_bounds"] == pytest.approx([15 / 18, 17 / 18])
    with pytest.raises(ValueError, match=r"none of the judge's 2 verdicts on 'd' is valid: .*align\.llm"):
        judge_accuracy(unsure, by_rating(rating), METRICS, 0)


def test_the_language_model_that_judges_table_5_is_measured(chat_endpoint: dict[str, Any], tmp_path: Path) -> None:
    """Its rating finds the refusal in unusual words, which rules miss; it has none for one answer of three."""
    marks = {REFUSES: "[[0]]", UNUSUAL: "[[0]]", ANSWERS: "[[4]]", "Blue.": "I cannot say."}
    chat_endpoint["answer"] = lambda messages: next(m for r, m in marks.items() if r in messages[0]["content"])
    told = [row(0, UNUSUAL, True), row(2, ANSWERS, False)]
    told += [achieved(4, ANSWERS, True), achieved(6, "Blue.", False), achieved(8, REFUSES, False)]
    write_rows(tmp_path / "told.jsonl", told)
    (tmp_path / "metrics.yaml").write_text("{bootstrap: 50}", encoding="utf-8")
    llm = LLMSettings(model="judge-of-all", base_url=chat_endpoint["url"], retries=1)
    write_slice(tmp_path / "align.yaml", AlignSettings(judge="llm", llm=llm))
    write_slice(tmp_path / "lexicon.yaml", AlignSettings())
    parser = argparse.ArgumentParser()
    evaluation_commands.register(parser.add_subparsers())
    line = ["evaluate-judge", "--rows", f"{tmp_path}/told.jsonl", "--settings", f"{tmp_path}/metrics.yaml"]
    line += ["--llm-cache", f"{tmp_path}/cache.jsonl", "--scale", "paper", "--output", f"{tmp_path}/judge.json"]
    options = parser.parse_args([*line, "--align-settings", f"{tmp_path}/align.yaml"])
    options.run(options)
    document = read_json(tmp_path / "judge.json")
    assert (document["judge"], document["llm"]) == ("llm", "judge-of-all")
    refuses, helps = (document["datasets"]["told"][name] for name in ("refuses", "helps"))
    assert refuses["measures"]["accuracy"]["value"] == 1 and refuses["invalid"] == 0
    assert (helps["n"], helps["invalid"], helps["accuracy_bounds"]) == (2, 1, [2 / 3, 1])
    assert len(chat_endpoint["requests"]) == 5, "four distinct responses, of which one is asked again with a reminder"
    assert read_json(tmp_path / "judge.json.manifest.json")["notes"]["answers"]["invalid"] == 2
    _, markdown = judge_table([document])
    assert "a language model, judge-of-all, whose rating" in markdown and "by rules" not in markdown
    assert "| told | helps | human | accuracy, invalid wrong | measured@paper | 0.667 | 3 | 2 | 1 | 0 |" in markdown
    options = parser.parse_args([*line, "--align-settings", f"{tmp_path}/lexicon.yaml"])
    with pytest.raises(ValueError, match=r"align\.judge is 'lexicon': a rating needs `llm`"):
        options.run(options)
