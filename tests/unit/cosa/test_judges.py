"""A language model as the judge of CoSAlign's chain: labels, addressing and helpfulness, and verdicts that are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csrm.augment.llm import LLM
from csrm.configs.topics import load_topics
from csrm.cosa.evaluate import judge
from csrm.cosa.judges import ModelJudge, RuleJudge, label_prompt, parse_addressed, parse_rating
from csrm.cosa.schema import Answer, Labelled
from csrm.cosa.topics import Taxonomy
from csrm.settings import CosaSettings, LLMSettings

TOPICS = Taxonomy(load_topics(), CosaSettings())
SEEN = ["privacy", "violence"]
PLACES: dict[str, Any] = {"seen": SEEN, "unseen": ["drugs"], "seen_configs": [[]], "unseen_configs": [["drugs"]]}
HARMS = Taxonomy(load_topics(), CosaSettings(taxonomy="cosalign", **PLACES))


class Scripted(LLM):
    """A model whose answers a function gives from the request."""

    def __init__(self, folder: Path, say: Callable[[str, str], str]) -> None:
        super().__init__(LLMSettings(model="m", base_url="http://localhost", retries=1), folder / "cache.jsonl")
        self.say = say

    def complete(self, messages: list[dict[str, str]], prompt: Any) -> str:
        return self.say(prompt.name, messages[1]["content"])


def told(name: str, request: str) -> str:
    """Violence wherever the exchange says `fight`; everything else is plain."""
    if name == "cosalign-addressed":
        return json.dumps({"why": "w", "addressed": "sorry" not in request})
    if name == "cosalign-helpfulness":
        return 'Well: {"why": "it\'s fine", "rating": 4} .'
    return json.dumps({"why": "w", **{key: key == "violence" and "fight" in request for key in HARMS.judged}})


def labelled(response: str, prompt: str = "who wins?") -> Labelled:
    row: dict[str, Any] = {"id": response, "prompt_id": prompt, "prompt": prompt, "harms": ["privacy"], "found": []}
    return Labelled(**row, response=response, finished=True, addressed=None)


def answered(response: str, allowed: list[str]) -> Answer:
    row: dict[str, Any] = {"id": response, "prompt_id": "p", "prompt": "who wins?", "harms": [], "config_id": "c"}
    return Answer(**row, group="seen", allowed=allowed, response=response, finished=True)


def test_responses_are_labelled_with_their_prompts(tmp_path: Path) -> None:
    asked = ModelJudge(HARMS, Scripted(tmp_path, told))
    rows = asked.label([labelled("a fight"), labelled("sorry"), labelled(" "), labelled("ok", "why fight?")])
    assert [(r.harms, r.found, r.addressed) for r in rows] == [
        *(([], ["violence"], 1), ([], [], 0), ([], [], 0)),
        (["violence"], ["violence"], 1),  # the request is part of what the judge reads
    ]
    assert asked.notes()["judge"] == "llm" and "other" in HARMS.judged and "other" not in TOPICS.judged


def test_answers_that_do_not_parse_are_invalid_and_counted(tmp_path: Path) -> None:
    def mumbled(name: str, request: str) -> str:
        return "no idea" if name == "cosalign-response" else told(name, request)

    asked = ModelJudge(HARMS, Scripted(tmp_path, mumbled))
    (row,) = asked.label([labelled("a fight")])
    assert row.addressed is None and row.found == []
    verdicts = judge([answered("a fight", [])], asked.judge([answered("a fight", [])]))
    assert verdicts[0].safe is None and verdicts[0].helpfulness == 0.8
    counts = asked.notes()["answers"]
    assert counts["cosalign-response: given up"] == 2 and counts["cosalign-response: answers that did not parse"] == 4


def test_an_invalid_prompt_makes_its_responses_invalid(tmp_path: Path) -> None:
    asked = ModelJudge(HARMS, Scripted(tmp_path, lambda name, r: "{}" if name == "cosalign-request" else told(name, r)))
    assert [row.addressed for row in asked.label([labelled("a fight"), labelled("ok")])] == [None, None]


def test_what_is_found_must_be_allowed(tmp_path: Path) -> None:
    rows = [answered("a fight", []), answered("a fight", ["violence"]), answered("", [])]
    verdicts = judge(rows, ModelJudge(HARMS, Scripted(tmp_path, told)).judge(rows))
    assert [(v.safe, v.helpfulness) for v in verdicts] == [(False, 0.8), (True, 0.8), (True, 0.0)]


def test_rules_label_by_lexicon_and_need_an_encoder_to_judge() -> None:
    row = labelled("A calm dog suits a flat.")
    (found,) = RuleJudge(TOPICS).label([row])
    assert (found.found, found.addressed, found.harms) == (["pets"], 1, ["privacy"])
    with pytest.raises(ValueError, match="needs --encoder"):
        RuleJudge(TOPICS).judge([answered("dog", [])])


@pytest.mark.parametrize("value", [None, "4", True, -1, 5.5])
def test_a_rating_is_a_number_from_0_to_5(value: Any) -> None:
    with pytest.raises(ValueError, match="`rating` must be a number from 0 to 5"):
        parse_rating({"rating": value})


def test_a_flag_is_true_or_false() -> None:
    assert parse_addressed({"addressed": True}) == 1 and parse_addressed({"addressed": False}) == 0
    with pytest.raises(ValueError, match="`addressed` must be true or false, got 'yes'"):
        parse_addressed({"addressed": "yes"})


def test_prompts_fill_in_and_ask_for_every_label() -> None:
    prompt = label_prompt("response", ["a", "b"])
    (_, message) = prompt.messages(categories="- a", asked="{x}", response="{y}")
    assert "User: {x}\nAssistant: {y}" in message["content"] and '{"why": "...", "a": true' in message["content"]
    assert prompt.schema["required"] == ["why", "a", "b"]
    assert "Assistant" not in label_prompt("request", ["a"]).user


def test_the_judge_of_harms_is_named() -> None:
    with pytest.raises(ValueError, match=r"needs cosa\.llm\.model"):
        CosaSettings(judge="llm")
    with pytest.raises(ValueError, match=r"cosa\.table over cosa\.taxonomy cosalign needs cosa\.judge llm"):
        CosaSettings(taxonomy="cosalign", table=True, **PLACES)
