"""Training: batches however they are cut, learning, resuming, and what is saved."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from csrm.configs.safety_config import Category
from csrm.model.reward import answer_logits
from csrm.model.scorer import CSRM, Request, model_card
from csrm.model.tree import TreeBatch
from csrm.model.verbalizer import resolve_verbalizer
from csrm.rows import Branch, Group, Message
from csrm.settings import TrainSettings
from csrm.train.dataset import collate_examples, encode_group, sort_within_batches
from csrm.train.losses import joint_loss
from csrm.train.master import MasterAdamW
from csrm.train.trainer import last_checkpoint, save, train

WORDS = ("tavern", "letter", "guard", "market", "garden", "bridge", "song", "river")


def settings(**changes: Any) -> TrainSettings:
    values = {"steps": 6, "batch_groups": 4, "device_groups": 2, "warmup_steps": 0, "checkpoint_steps": 2}
    return TrainSettings.model_validate({**values, "learning_rate": 3e-3, "dtype": "float32", **changes})


def groups(count: int) -> list[Group]:
    """Conversations that are unsafe exactly under the configuration that names their word."""
    made = []
    for n in range(count):
        word, other = WORDS[n % 8], WORDS[(n + 3) % 8]
        turns = [Message(role="user", content=f"Tell me {n}."), Message(role="assistant", content=f"The {word}.")]
        branches = [
            Branch(config=[Category(name=other)], label="safe", source="cca"),
            Branch(config=[Category(name=word)], label="unsafe", source="cca"),
        ]
        pairs = [(0, 1)] if n % 2 else []
        made.append(Group(id=str(n), prompt_id=str(n), messages=turns, branches=branches, pairs=pairs))
    return made


def examples(scorer: Any, count: int, options: TrainSettings) -> list[Any]:
    encoded = [encode_group(scorer.tokenizer, group, options) for group in groups(count)]
    return sort_within_batches(encoded, options.batch_groups)


def test_loss_does_not_depend_on_how_a_batch_is_cut(tiny_scorer: Any) -> None:
    made = examples(tiny_scorer, 8, settings())

    def loss(parts: list[list[Any]]) -> float:
        total = 0.0
        for part in parts:
            inputs = collate_examples(part, 0, batch=8)
            weighted = {k: inputs.pop(k) for k in ("labels", "label_weights", "pairs", "pair_weights")}
            logits = answer_logits(tiny_scorer.model, TreeBatch(**inputs))
            total += joint_loss(logits, **weighted, verbalizer=tiny_scorer.verbalizer, gamma=0.5, margin=0).loss.item()
        return total

    assert loss([made]) == pytest.approx(loss([made[:3], made[3:]]), abs=1e-5)
    assert loss([made]) == pytest.approx(loss([[e] for e in made]), abs=1e-5)


def test_trainer_steps_do_not_depend_on_accumulation(tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    losses = []
    for device_groups in (4, 2, 1):
        options = settings(device_groups=device_groups)
        scratch = tmp_path / str(device_groups)
        train(tiny_backbone, examples(tiny_scorer, 24, options), tiny_scorer.verbalizer, options, 0, scratch)
        lines = (scratch / "log.jsonl").read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        losses.append([entry["loss"] for entry in entries])
        joint = entries[0]["loss_cls"] + options.gamma * entries[0]["loss_rm"]
        assert entries[0]["loss"] == pytest.approx(joint, abs=1e-4)
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    assert losses[2] == pytest.approx(losses[0], abs=1e-3)


def test_the_trainer_fits_64_rows(tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    """A learning test: 64 conversations whose label only the configuration decides are fitted."""
    options = settings(steps=120, batch_groups=16, device_groups=16, checkpoint_steps=1000)
    made = examples(tiny_scorer, 64, options) * 30
    verbalizer = resolve_verbalizer(tiny_scorer.tokenizer)
    model = train(tiny_backbone, made, verbalizer, options, seed=0, scratch=tmp_path)
    fitted = CSRM(model, tiny_scorer.tokenizer, options.section_order, 1024, verbalizer)
    scores = fitted.score_requests([Request(g.messages, b.config) for g in groups(64) for b in g.branches])
    labels = [b.label for g in groups(64) for b in g.branches]
    assert sum(score.label == label for score, label in zip(scores, labels, strict=True)) >= 0.95 * len(labels)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resumed_training_equals_uninterrupted(
    dtype: str, tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = settings(dtype=dtype)
    made = examples(tiny_scorer, 24, options)
    whole = train(tiny_backbone, made, tiny_scorer.verbalizer, options, 0, tmp_path / "whole")

    step, calls = torch.optim.AdamW.step, iter(range(5))

    def dying_step(self: Any, *arguments: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", dying_step)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_backbone, made, tiny_scorer.verbalizer, options, 0, tmp_path / "cut")
    assert (last_checkpoint(tmp_path / "cut") or "").endswith("checkpoint-4")
    resumed = train(tiny_backbone, made, tiny_scorer.verbalizer, options, 0, tmp_path / "cut")
    for left, right in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right)
    logs = [(tmp_path / name / "log.jsonl").read_text(encoding="utf-8") for name in ("whole", "cut")]
    assert [json.loads(line)["loss"] for line in logs[0].splitlines()] == [
        json.loads(line)["loss"] for line in logs[1].splitlines()
    ]


def test_incomplete_checkpoint_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text("{}", encoding="utf-8")
    (tmp_path / "checkpoint-4").mkdir()
    assert (last_checkpoint(tmp_path) or "").endswith("checkpoint-2")


def test_saved_model_scores_as_in_memory(tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    options = settings(method="lora", lora_rank=4)
    model = train(tiny_backbone, examples(tiny_scorer, 24, options), tiny_scorer.verbalizer, options, 0, tmp_path / "s")
    save(model, tiny_scorer.tokenizer, tmp_path / "m", model_card(options, "csrm"), tmp_path / "s" / "log.jsonl")
    loaded = CSRM.from_pretrained(tmp_path / "m")
    here = CSRM(model, tiny_scorer.tokenizer, options.section_order, 1024, tiny_scorer.verbalizer)
    requests = [Request(g.messages, b.config) for g in groups(8) for b in g.branches]
    expected = [s.log_odds for s in here.score_requests(requests)]
    assert loaded.order == options.section_order
    assert [s.log_odds for s in loaded.score_requests(requests)] == pytest.approx(expected, abs=1e-5)
    assert sorted(p.suffix for p in (tmp_path / "m").glob("*.safetensors")) == [".safetensors"]


def test_master_weights_keep_updates_that_bfloat16_would_lose() -> None:
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = MasterAdamW([weight], lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert weight.float().mean().item() == pytest.approx(0.99, abs=4e-3)
