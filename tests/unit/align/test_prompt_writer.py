"""Prompts that a language model writes: requests, repeats, near-duplicates, and the pool they become."""

import json
import re

import pytest

from csrm.align.prompt_writer import BATCH, SIDES, distinct, parse_prompts, write_prompts
from csrm.align.prompts import data_pool, generated_pool, split_pool
from csrm.augment.encoder import HashEncoder
from csrm.augment.llm import LLM
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.rows import PromptRow
from csrm.settings import LLMSettings

CONFIG = SafetyConfig(name="two", categories=(Category(name="Wine", key="alcohol"), Category(name="Cats")))


class Writer(LLM):
    """A language model that answers in this process; what it is asked is kept."""

    def __init__(self, tmp_path, answer):
        super().__init__(LLMSettings(model="writer"), tmp_path / "cache.jsonl")
        self.asked, self.answer = [], answer

    def complete(self, messages, prompt):
        self.asked.append(messages[1]["content"])
        return json.dumps({"prompts": self.answer(messages[1]["content"], len(self.asked))})


def inventive(text, call):
    count = int(re.search(r"Write (\d+)", text).group(1))
    return [f"request {call} number {n} about {'wine' if 'Wine' in text else 'cats'}" for n in range(count)]


def test_both_sides_of_every_category_are_asked_until_there_are_enough(tmp_path):
    llm = Writer(tmp_path, inventive)
    written = write_prompts(llm, CONFIG, BATCH + 3)
    assert len(written) == 2 * len(SIDES) * (BATCH + 3) and len(llm.asked) == 2 * len(SIDES) * 2
    assert {w.category for w in written} == {"alcohol", "Cats"} and {w.side for w in written} == set(SIDES)
    assert "request 1 number 0" in llm.asked[1] and "Write 3 such" in llm.asked[1]
    assert SIDES["on topic"] in llm.asked[0] and SIDES["borderline"] in llm.asked[2]


def test_a_model_that_repeats_itself_ends_its_side(tmp_path):
    llm = Writer(tmp_path, lambda text, call: ["Same  request", "same request", "word " * 70])
    written = write_prompts(llm, CONFIG, 5)
    assert [w.prompt.lower().split() for w in written] == [["same", "request"]]
    assert llm.counts["write-prompts: no new prompt"] == 4


def test_near_duplicates_are_left_out_in_order():
    prompts = ["feed my cat", "Feed my cat!", "wash the car", "feed my cat now"]
    assert distinct(prompts, HashEncoder(), 0.99) == [0, 2, 3]
    assert distinct(prompts, HashEncoder(), 0.6) == [0, 2]
    assert distinct([], HashEncoder(), 0.9) == []


def test_the_pool_keeps_borderline_and_neutral_prompts_off_the_topics(tmp_path):
    written = write_prompts(Writer(tmp_path, inventive), CONFIG, 6)
    pool, near = generated_pool(written, ["What time is it?"], HashEncoder(), 0.999)
    assert near == 0 and len(pool.on_topic) == 12 and len(pool.off_topic) == 13
    split = split_pool("two", pool, 8, 4, seed=0)
    assert len(split.train) == 8 and len(split.test) == 4
    assert sum(row.prompt_id in pool.on_topic for row in split.train) == 4
    with pytest.raises(ValueError, match="none of 0 generated prompts is on the topics"):
        generated_pool([], ["x"], HashEncoder(), 0.9)


def test_a_data_set_gives_prompts_by_category():
    rows = [
        PromptRow(id=f"r{n}", dataset="d", prompt_id=f"p{n}", prompt=f"ask {n}", meta={"prompt_categories": keys})
        for n, keys in enumerate([["violence"], ["drugs", "weapons"], [], None, ["violence", "drugs"], ["privacy"]])
    ]
    config = SafetyConfig(name="c", categories=(Category(name="V", key="violence"), Category(name="W", key="weapons")))
    pool = data_pool(config, rows, ["What time is it?"])
    assert {key: family for key, (_, family) in pool.on_topic.items()} == {
        **{"p0": "violence", "p1": "weapons", "p4": "violence"}
    }
    assert sorted(family for _, family in pool.off_topic.values()) == ["neutral", "neutral", "privacy"]
    split = split_pool("c", pool, 4, 2, seed=0)
    assert len(split.train) == 4 and len(split.test) == 2
    with pytest.raises(ValueError, match=r"none of 1 prompts is of a category .*knows \['privacy'\]"):
        data_pool(config, rows[5:], [])


@pytest.mark.parametrize("data", [{"prompts": "x"}, {"prompts": [1]}, {"prompts": [" "]}, {}])
def test_answers_without_prompts_are_refused(data):
    with pytest.raises((ValueError, KeyError)):
        parse_prompts(data)
