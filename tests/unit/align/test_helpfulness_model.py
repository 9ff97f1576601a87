"""The helpfulness reward model on a tiny random backbone: its loss, its training, its reload, its commands."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from csrm.align.helpfulness import Proxy, RewardHelpfulness, helpfulness
from csrm.align.helpfulness_commands import add_choice, chosen, chosen_inputs, register
from csrm.align.helpfulness_metrics import ScoreMap
from csrm.align.helpfulness_model import RewardModel, batches, conversation_ids
from csrm.align.helpfulness_train import build_trainer, tokenise, train_helpfulness
from csrm.align.policy import load_tokenizer
from csrm.augment.encoder import HashEncoder
from csrm.files import read_dicts, read_json, sha256, write_json, write_rows
from csrm.rows import PairRow
from csrm.settings import HelpfulnessSettings

WORDS = ["wine", "beer", "cat", "dog", "music", "serve", "drink", "party"]


def settings(**changes: Any) -> HelpfulnessSettings:
    options = {"steps": 12, "batch_pairs": 4, "lora_rank": 4, "learning_rate": 0.02, "dtype": "float32"}
    return HelpfulnessSettings.model_validate({**options, **changes})


def music(number: int) -> PairRow:
    """A pair whose better response holds the word `music`, which decides it alone."""
    first, second = WORDS[number % 4], WORDS[number % 3]
    return PairRow(
        id=str(number),
        dataset="smoke-pairs",
        prompt_id=f"p{number}",
        prompt=f"what {second} should i {first} ?",
        chosen=f"the {first} music {second}",
        rejected=f"the {second} {first} no",
    )


PAIRS = [music(i) for i in range(12)]


@pytest.fixture(scope="module")
def trained(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("helpfulness")
    run = train_helpfulness(tiny_policy, PAIRS, settings(), 0, folder / "scratch", folder / "model")
    assert run.notes["pairs"] == 12 and run.notes["pairs_too_long"] == 0 and len(run.log) == 12
    assert run.log[-1]["loss"] < run.log[0]["loss"]
    return folder / "model"


def test_the_loss_is_bradley_terry_plus_the_centring(tiny_policy: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy)
    rows = tokenise(tokenizer, PAIRS[:4], 512).rows
    for center in (0.0, 0.3):
        trainer = build_trainer(tiny_policy, tokenizer, rows, settings(center=center, method="full"), 0, tmp_path)
        model = trainer.model.eval()
        loss = trainer.compute_loss(model, trainer.data_collator(rows))
        high, low = (
            torch.stack([model(torch.tensor([row[key]])).logits[0, 0] for row in rows])
            for key in ("chosen_ids", "rejected_ids")
        )
        expected = -torch.log(torch.sigmoid(high - low)).mean() + center * ((high + low) ** 2).mean()
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
        assert len(set(high.tolist())) > 1, "the random head tells the rows apart"


@pytest.mark.parametrize("method", ["full", "lora"])
def test_training_is_deterministic_and_reload_equals_memory(method: str, tiny_policy: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy)
    options = settings(method=method, steps=2)
    runs = [tmp_path / "a", tmp_path / "b"]
    for folder in runs:
        train_helpfulness(tiny_policy, PAIRS, options, 5, tmp_path / "scratch", folder)
    assert sha256(runs[0]) == sha256(runs[1])
    trainer = build_trainer(tiny_policy, tokenizer, tokenise(tokenizer, PAIRS, 512).rows, options, 5, tmp_path / "c")
    trainer.train()
    memory = RewardModel(trainer.model, tokenizer)
    prompts, responses = [p.prompt for p in PAIRS], [p.chosen for p in PAIRS]
    reloaded = RewardModel.open(runs[0], "float32").scores(prompts, responses)
    assert reloaded == pytest.approx(memory.scores(prompts, responses), abs=1e-5)
    assert not list((tmp_path / "scratch").rglob("*.safetensors")), "the adapter does not stay behind"


def test_it_learns_what_is_preferred(trained: Path) -> None:
    model = RewardModel.open(trained, "float32")
    new = [music(i) for i in range(20, 40)]
    gaps = model.scores([p.prompt for p in new], [p.chosen for p in new]) - model.scores(
        [p.prompt for p in new], [p.rejected for p in new]
    )
    assert (gaps > 0).mean() >= 0.9


def test_scores_do_not_depend_on_the_batch(trained: Path) -> None:
    texts = ["no", "the music " * 9, "wine", "beer cat dog " * 20]
    prompts = ["what ?"] * 4
    together = RewardModel.open(trained, "float32").scores(prompts, texts)
    alone = RewardModel.open(trained, "float32", token_budget=1).scores(prompts, texts)
    assert together == pytest.approx(alone, abs=1e-5) and len(set(together.round(4))) == 4


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [3, 9, 1, 9, 4, 30, 2]
    found = batches(lengths, 20)
    assert sorted(i for batch in found for i in batch) == list(range(7))
    assert all(len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 20 for batch in found)
    assert found == [[5], [1, 3], [4, 0, 6, 2]]


def test_pairs_that_are_too_long_are_counted_and_never_cut(tiny_policy: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy)
    long = PAIRS[0].model_copy(update={"rejected": "music " * 90})
    data = tokenise(tokenizer, [*PAIRS, long], 64)
    assert data.too_long == 1 and len(data.rows) == 12
    assert data.rows[0]["chosen_ids"] == conversation_ids(tokenizer, PAIRS[0].prompt, PAIRS[0].chosen)
    with pytest.raises(ValueError, match=r"2 of 3 helpfulness pairs exceed 64 tokens .*helpfulness.max_length"):
        tokenise(tokenizer, [PAIRS[0], long, long], 64)


def test_what_is_no_reward_model_is_refused(tiny_policy: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no reward model: .*score.weight"):
        RewardModel.open(tiny_policy, "float32")
    with pytest.raises(FileNotFoundError, match=r"no config.json"):
        RewardModel.open(tmp_path)
    with pytest.raises(ValueError, match="longer than the reward model's 512"):
        RewardModel.open(trained, "float32").scores(["what ?"], ["music " * 600])


def test_h_is_the_mapped_score_and_nothing_for_empty_responses(trained: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "map.json", {"map": ScoreMap(slope=2, centre=0.5, dtype="float32").model_dump()})
    found = RewardHelpfulness.open(trained, tmp_path / "map.json")(["what ?"] * 3, ["the music", " ", "no"])
    raw = RewardModel.open(trained, "float32").scores(["what ?"] * 2, ["the music", "no"])
    assert found[[0, 2]] == pytest.approx(1 / (1 + np.exp(-2 * (raw - 0.5)))) and found[1] == 0
    assert 0 < found[2] < found[0] < 1


def test_the_proxy_is_chosen_by_its_encoder(trained: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "map.json", {"map": {"slope": 1.0, "centre": 0.0}})
    parser = argparse.ArgumentParser()
    add_choice(parser)
    proxy = parser.parse_args(["--encoder", "hash"])
    assert chosen_inputs(proxy) == {} and isinstance(chosen(proxy), Proxy)
    texts = ["Serve a cold soup at the party.", "I cannot help with that."]
    assert chosen(proxy)(["What for a party?"] * 2, texts).tolist() == (
        helpfulness(["What for a party?"] * 2, texts, HashEncoder()).tolist()
    )
    model = parser.parse_args(["--helpfulness", str(trained), "--helpfulness-map", str(tmp_path / "map.json")])
    assert set(chosen_inputs(model)) == {"helpfulness", "helpfulness_map"}
    assert isinstance(chosen(model), RewardHelpfulness)
    for wrong in ([], ["--helpfulness", "x"], ["--encoder", "hash", "--helpfulness", "x", "--helpfulness-map", "y"]):
        with pytest.raises(ValueError, match="give --encoder"):
            chosen_inputs(parser.parse_args(wrong))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)
    slices = {"steps": 2, "batch_pairs": 2, "lora_rank": 2, "dtype": "float32"}
    Path("helpfulness.yaml").write_text(json.dumps(slices), encoding="utf-8")
    Path("metrics.yaml").write_text('{"bootstrap": 20}', encoding="utf-8")

    def call(*arguments: Any) -> None:
        parser = argparse.ArgumentParser()
        register(parser.add_subparsers(required=True))
        options = parser.parse_args([str(a) for a in arguments])
        options.run(options)

    return call


def test_commands_end_to_end(run: Callable[..., None], tiny_policy: Path) -> None:
    write_rows("rows.jsonl", [music(i).model_copy(update={"prompt": f"what {i} ?"}) for i in range(24)])
    common = ("--settings", "helpfulness.yaml")
    run("helpfulness-pairs", "--rows", "rows.jsonl", *common, "--seed", 1, "--output-dir", "pairs")
    train = ("train-helpfulness", "--pairs", "pairs/train.jsonl", "--backbone", tiny_policy, *common)
    run(*train, "--scratch", "scratch", "--output", "model")
    assert [row["step"] for row in read_dicts("model/log.jsonl")] == [1, 2]
    manifest = read_json("model/manifest.json")
    assert {entry["role"] for entry in manifest["inputs"]} == {"backbone", "pairs", "settings"}
    for name, source in (("model", ("--model", "model")), ("proxy", ("--encoder", "hash"))):
        for part in ("validation", "test"):
            scored = ("--pairs", f"pairs/{part}.jsonl", "--output", f"{name}-{part}.jsonl")
            run("score-helpfulness", *source, *scored, *common)
    few = ("--pairs", "pairs/test.jsonl", "--item-cap", 1, "--output", "few.jsonl")
    run("score-helpfulness", "--encoder", "hash", *few, *common)
    tested = len(list(read_dicts("pairs/test.jsonl")))
    assert read_json("few.jsonl.manifest.json")["notes"] == {"pairs": 1, "dropped": {"item_cap": tested - 1}}
    run("map-helpfulness", "--scores", "model-validation.jsonl", *common, "--output", "map.json")
    evaluate = ("evaluate-helpfulness", "--scores", "model-test.jsonl", "--proxy", "proxy-test.jsonl")
    identity = ("--model", "trained", "--scale", "smoke", "--settings", "metrics.yaml")
    run(*evaluate, "--map", "map.json", *identity, "--output", "metrics.json")
    result, rows = read_json("metrics.json"), list(read_dicts("model-test.jsonl"))
    right = sum((row["chosen"] > row["rejected"]) + (row["chosen"] == row["rejected"]) / 2 for row in rows)
    assert result["accuracy"]["all"]["model"]["value"] == pytest.approx(right / len(rows))
    assert result["accuracy"]["all"]["model"]["n"] == len(rows) == tested
    assert (result["kind"], result["scale"]) == ("helpfulness", "smoke")
