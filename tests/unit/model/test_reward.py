"""Requests that are too long, verbalizers, and the public scoring interface."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from csrm.configs.safety_config import Category, SafetyConfig
from csrm.model.reward import encode_request
from csrm.model.scorer import CSRM, model_card
from csrm.model.verbalizer import resolve_verbalizer
from csrm.rows import Message
from csrm.settings import TrainSettings, VerbalizerSettings

TURNS = [
    Message(role="user", content="where is the key? " * 5),
    Message(role="assistant", content="under the mat " * 80),
]
CATEGORIES = [Category(name="Privacy", guideline="No addresses.")]


def test_long_request_is_cut_and_counted_but_keeps_every_turn_and_category(tiny_scorer: Any) -> None:
    whole = encode_request(tiny_scorer.tokenizer, TURNS, CATEGORIES, "config-last", 10_000)
    cut = encode_request(tiny_scorer.tokenizer, TURNS, CATEGORIES, "config-last", 200)
    assert whole.cut == 0 and len(whole.tokens) > 200
    assert cut.cut > 0 and len(cut.tokens) <= 200
    text = tiny_scorer.tokenizer.decode(cut.tokens)
    assert "User: where is the key?" in text and "S1: Privacy. No addresses." in text and "Agent: under the mat" in text


def test_many_short_turns_are_cut_one_by_one(tiny_scorer: Any) -> None:
    turns = [Message(role=("user", "assistant")[n % 2], content="a word or two") for n in range(40)]
    whole = encode_request(tiny_scorer.tokenizer, turns, CATEGORIES, "config-last", 10_000)
    cut = encode_request(tiny_scorer.tokenizer, turns, CATEGORIES, "config-last", len(whole.tokens) - 60)
    assert cut.cut >= 60 and len(cut.tokens) <= len(whole.tokens) - 60
    text = tiny_scorer.tokenizer.decode(cut.tokens)
    assert text.count("User:") == text.count("Agent:") == 20
    with pytest.raises(ValueError, match=r"1 categories and 40 messages leave no room .* in 100 tokens"):
        encode_request(tiny_scorer.tokenizer, turns, CATEGORIES, "config-last", 100)


def test_configuration_without_room_is_an_error(tiny_scorer: Any) -> None:
    with pytest.raises(ValueError, match="leave no room"):
        encode_request(tiny_scorer.tokenizer, TURNS, [Category(name="word " * 300)], "config-last", 100)


def test_overlapping_verbalizer_is_refused(tiny_scorer: Any) -> None:
    with pytest.raises(ValueError, match="share the first tokens"):
        resolve_verbalizer(tiny_scorer.tokenizer, VerbalizerSettings(safe=["safe"], unsafe=["safe"]))


def test_verbalizer_sets_are_disjoint(tiny_scorer: Any) -> None:
    verbalizer = resolve_verbalizer(tiny_scorer.tokenizer)
    assert verbalizer.safe and verbalizer.unsafe and not set(verbalizer.safe) & set(verbalizer.unsafe)


def test_one_beginning_of_sequence(tiny_scorer: Any) -> None:
    tokens = encode_request(tiny_scorer.tokenizer, TURNS, CATEGORIES, "config-last", 10_000).tokens
    assert tokens.count(tiny_scorer.tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2
    assert tiny_scorer.tokenizer.pad_token_id != tiny_scorer.tokenizer.eos_token_id


def test_score_of_a_grid(tiny_scorer: Any) -> None:
    config = SafetyConfig.from_data(["Privacy"])
    conversation = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    single = tiny_scorer.score(conversation, config)
    grid = tiny_scorer.score_many([conversation, conversation], [config, SafetyConfig.from_data(["Pets"])])
    assert grid[0][0].log_odds == pytest.approx(single.log_odds, abs=1e-4)
    assert (single.label == "safe") == (single.log_odds > 0) == (single.p_safe > 0.5)
    assert grid[0] != grid[0][::-1] and len(grid) == 2 and len(grid[0]) == 2


def test_judged_message_must_be_the_assistants(tiny_scorer: Any) -> None:
    with pytest.raises(ValueError, match="must be the assistant's, got user"):
        tiny_scorer.score([{"role": "user", "content": "hi"}], SafetyConfig.from_data(["Pets"]))


def test_a_model_is_scored_with_the_words_it_was_trained_with(tiny_backbone: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_backbone, tmp_path / "m")
    words = VerbalizerSettings(safe=["yes"], unsafe=["no"])
    card = model_card(TrainSettings(verbalizer=words), "v")
    (tmp_path / "m" / "csrm.json").write_text(json.dumps(card), encoding="utf-8")
    trained = CSRM.from_pretrained(tmp_path / "m", verbalizer=VerbalizerSettings())
    assert trained.verbalizer == resolve_verbalizer(trained.tokenizer, words)
    zero_shot = CSRM.from_pretrained(tiny_backbone, verbalizer=words)
    assert zero_shot.verbalizer == trained.verbalizer != CSRM.from_pretrained(tiny_backbone).verbalizer
    config = SafetyConfig.from_data(["Pets"])
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    assert trained.score(turns, config).log_odds == pytest.approx(
        zero_shot_score(zero_shot, turns, config, trained.order), abs=1e-5
    )


def zero_shot_score(model: CSRM, turns: list[dict[str, str]], config: SafetyConfig, order: Any) -> float:
    model.order = order
    return model.score(turns, config).log_odds
