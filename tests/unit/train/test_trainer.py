"""Training: batches however they are cut, learning, resuming, and what is saved."""

import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from csrm.configs.safety_config import Category
from csrm.model.device import load_model
from csrm.model.scorer import CSRM, Request, model_card
from csrm.model.verbalizer import resolve_verbalizer
from csrm.rows import Branch, Group, Message
from csrm.settings import TrainSettings
from csrm.train.dataset import collate_examples, encode_unit, sort_within_batches
from csrm.train.losses import joint_loss
from csrm.train.master import MasterAdamW
from csrm.train.measure import measurements
from csrm.train.trainer import BETAS, CSRMTrainer, ReturnMemory, last_checkpoint, resumed_step, save, train, trainable
from csrm.train.tree_attention import use_tree_attention
from csrm.train.tree_row import TreeRow, row_logits

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
    encoded = [encode_unit(scorer.tokenizer, [group], options) for group in groups(count)]
    return sort_within_batches(encoded, options.batch_groups)


def attending(model: Any) -> Any:
    """A copy whose layers attend by trees, as in training."""
    model = deepcopy(model)
    use_tree_attention(model)
    return model


def test_loss_does_not_depend_on_how_a_batch_is_cut(tiny_scorer: Any) -> None:
    made = examples(tiny_scorer, 8, settings())

    def loss(parts: list[list[Any]]) -> float:
        total = 0.0
        for part in parts:
            inputs = collate_examples(part, batch=8)
            weighted = {k: inputs.pop(k) for k in ("labels", "label_weights", "pairs", "pair_weights")}
            logits = row_logits(attending(tiny_scorer.model), TreeRow(**inputs))
            total += joint_loss(logits, **weighted, verbalizer=tiny_scorer.verbalizer, gamma=0.5, margin=0).loss.item()
        return total

    assert loss([made]) == pytest.approx(loss([made[:3], made[3:]]), abs=1e-5)
    assert loss([made]) == pytest.approx(loss([[e] for e in made]), abs=1e-5)


def test_a_unit_weighs_its_groups_as_they_would_apart(tiny_scorer: Any) -> None:
    """One tree of three groups gives their log-odds, and the loss is their mean in the proportions of the shares."""
    options = settings(shares={"base": 1.0, "cca": 2.0, "sa": 1.0, "response": 0.5})
    cca = groups(2)[1]
    base = cca.model_copy(update={"branches": [Branch(config=[Category(name="song")], label="safe")], "pairs": []})
    lenient = [Branch(config=[Category(name="letter", guideline=g)], source="sa") for g in ("None.", "Few.")]
    unit = [cca, base, cca.model_copy(update={"branches": lenient, "pairs": [(1, 0)]})]

    def parts(made: Any) -> tuple[float, float]:
        inputs = collate_examples([made])
        weighted = {k: inputs.pop(k) for k in ("labels", "label_weights", "pairs", "pair_weights")}
        logits = row_logits(attending(tiny_scorer.model), TreeRow(**inputs))
        joint = joint_loss(logits, **weighted, verbalizer=tiny_scorer.verbalizer, gamma=0.5, margin=0)
        return joint.classification.item(), joint.ranking.item()

    whole = encode_unit(tiny_scorer.tokenizer, unit, options)
    apart = [encode_unit(tiny_scorer.tokenizer, [group], options) for group in unit]
    assert len(whole.tree) < sum(len(example.tree) for example in apart)
    assert sum(whole.label_weights) == pytest.approx(0.75) and sum(whole.pair_weights) == pytest.approx(0.75)
    losses = [parts(example) for example in apart]
    expected = [sum(w * loss[i] for w, loss in zip((0.5, 0.25, 0.25), losses, strict=True)) for i in (0, 1)]
    assert parts(whole) == pytest.approx(expected, abs=1e-5)


def test_the_printed_sign_turns_the_pairs_of_strictness_alone(tiny_scorer: Any) -> None:
    (contrast,) = groups(2)[1:]
    of_sa = [branch.model_copy(update={"source": "sa"}) for branch in contrast.branches]
    strictness = contrast.model_copy(update={"branches": of_sa})
    unit = [contrast, strictness]
    assert encode_unit(tiny_scorer.tokenizer, unit, settings()).pairs == [(0, 1), (2, 3)]
    assert encode_unit(tiny_scorer.tokenizer, unit, settings(strict_first=True)).pairs == [(0, 1), (3, 2)]


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


def test_the_log_measures_calibration(tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    options = settings(steps=1, batch_groups=24, device_groups=8)
    train(tiny_backbone, examples(tiny_scorer, 24, options), tiny_scorer.verbalizer, options, 0, tmp_path)
    entry = json.loads((tmp_path / "log.jsonl").read_text(encoding="utf-8"))
    labelled = [(g, b) for g in groups(24) for b in g.branches if b.label]
    scores = tiny_scorer.score_requests([Request(g.messages, b.config) for g, b in labelled])
    p_safe = [score.p_safe for score in scores]
    safe = [float(b.label == "safe") for _, b in labelled]
    assert entry["brier"] == pytest.approx(mean((p - y) ** 2 for p, y in zip(p_safe, safe, strict=True)), abs=2e-3)
    assert entry["p_safe"] == pytest.approx(mean(p_safe), abs=2e-3) and entry["share_safe"] == mean(safe)


def test_frozen_layers_stay_as_they_are(tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    options = settings(steps=2, batch_groups=4, device_groups=4, frozen_layers=1)
    model = train(tiny_backbone, examples(tiny_scorer, 8, options), tiny_scorer.verbalizer, options, 0, tmp_path)
    start = dict(tiny_scorer.model.named_parameters())
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, start[name])}
    assert any(".layers.1." in name for name in moved) and not any(".layers.0." in name for name in moved)
    with pytest.raises(ValueError, match=r"frozen_layers is 2, the model has 2"):
        too_many = settings(frozen_layers=2)
        train(tiny_backbone, examples(tiny_scorer, 8, too_many), tiny_scorer.verbalizer, too_many, 0, tmp_path / "b")


def test_a_backbone_cut_to_its_lowest_layers_is_trained_saved_and_scored(
    tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path
) -> None:
    options = settings(steps=1, batch_groups=4, device_groups=4, kept_layers=1, learning_rate=1e-9, warmup_steps=0)
    made = examples(tiny_scorer, 4, options)
    model = train(tiny_backbone, made, tiny_scorer.verbalizer, options, 0, tmp_path / "scratch")
    assert len(model.model.layers) == model.config.num_hidden_layers == 1
    save(model, tiny_scorer.tokenizer, tmp_path / "cut", model_card(options, "cut"), tmp_path / "scratch" / "log.jsonl")
    loaded, _ = load_model(tmp_path / "cut", torch.float32)
    whole, _ = load_model(tiny_backbone, torch.float32)
    tokens = torch.arange(12)[None]
    expected = whole.model(tokens, output_hidden_states=True).hidden_states[1]
    assert torch.allclose(loaded.model(tokens).last_hidden_state, whole.model.norm(expected), atol=1e-5)
    with pytest.raises(ValueError, match=r"kept_layers is 3, the backbone has 2 layers: keep 2 at most"):
        train(tiny_backbone, made, tiny_scorer.verbalizer, settings(kept_layers=3), 0, tmp_path / "b")


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

    optimizer = MasterAdamW if dtype == "bfloat16" else torch.optim.AdamW
    step, calls = optimizer.step, iter(range(5))

    def dying_step(self: Any, *arguments: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(optimizer, "step", dying_step)
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


@pytest.mark.parametrize("change", [{"gradient_checkpointing": True}, {"device_groups": 4}])
def test_memory_settings_change_no_step(
    change: dict[str, Any], tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path
) -> None:
    """Losses, gradient norms and trained weights are those of plain training."""
    runs = []
    for name, options in (("plain", settings()), ("changed", settings(**change))):
        made = examples(tiny_scorer, 24, options)
        model = train(tiny_backbone, made, tiny_scorer.verbalizer, options, 0, tmp_path / name)
        lines = (tmp_path / name / "log.jsonl").read_text(encoding="utf-8").splitlines()
        runs.append((model, [(json.loads(line)["loss"], json.loads(line)["grad_norm"]) for line in lines]))
    (plain, entries), (changed, others) = runs
    assert [value for pair in others for value in pair] == pytest.approx([v for p in entries for v in p], abs=1e-4)
    for left, right in zip(plain.parameters(), changed.parameters(), strict=True):
        assert torch.allclose(left, right, atol=1e-4)


def test_checkpointing_keeps_fewer_tensors(tiny_backbone: Path, tiny_scorer: Any) -> None:
    """The loss and every gradient are equal, and less is kept for the backward pass."""
    inputs = collate_examples(examples(tiny_scorer, 4, settings()))
    weighted = {k: inputs.pop(k) for k in ("labels", "label_weights", "pairs", "pair_weights")}
    found = []
    for checkpointing in (False, True):
        model, _ = load_model(tiny_backbone, torch.float32)
        use_tree_attention(model)
        model = trainable(model, settings(gradient_checkpointing=checkpointing)).train()
        kept: list[int] = []

        def count(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            logits = row_logits(model, TreeRow(**inputs))
            joint = joint_loss(logits, **weighted, verbalizer=tiny_scorer.verbalizer, gamma=0.5, margin=0)
        forward = sum(kept)
        joint.loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((joint.loss.item(), gradient, forward))
    assert found[1][0] == pytest.approx(found[0][0], abs=1e-6)
    assert torch.allclose(found[1][1], found[0][1], atol=1e-6) and found[0][1].abs().max() > 1e-3
    assert found[1][2] < 0.6 * found[0][2]


def test_deterministic_mode_repeats_bit_for_bit(tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    options = settings(deterministic=True, steps=3)
    made = examples(tiny_scorer, 12, options)
    try:
        runs = [train(tiny_backbone, made, tiny_scorer.verbalizer, options, 0, tmp_path / n) for n in ("a", "b")]
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    for left, right in zip(*(run.parameters() for run in runs), strict=True):
        assert torch.equal(left, right)


def test_measurements_of_a_resumed_run_time_its_own_steps(tiny_scorer: Any) -> None:
    options = settings()
    made = examples(tiny_scorer, 24, options)
    whole = measurements(made, options, tiny_scorer.model.config, 0, 2.0)
    rest = measurements(made, options, tiny_scorer.model.config, 4, 1.0)
    computed = sum(len(e.tree) for e in made)
    assert whole["tokens_per_second"] == round(computed / 2, 1)
    assert rest["tokens_per_second"] == sum(len(e.tree) for e in made[16:])
    assert whole["tokens_computed"] == rest["tokens_computed"] == computed <= whole["tokens"]
    assert whole["tokens_longest_pass"] == max(len(made[i].tree) + len(made[i + 1].tree) for i in range(0, 24, 2))
    assert (whole["steps"], rest["steps"], rest["steps_timed"]) == (6, 6, 2)
    assert whole["peak_memory"]["process_mib"] > 50


def test_incomplete_checkpoint_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text("{}", encoding="utf-8")
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-6").mkdir()
    (tmp_path / "checkpoint-6" / "trainer_state.json").touch()  # killed between opening and writing
    assert resumed_step(tmp_path) == 2 and resumed_step(tmp_path / "none") == 0
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


def test_stepping_one_by_one_is_adamw_and_resumes() -> None:
    options = {"lr": 1e-2, "betas": (0.9, 0.95), "weight_decay": 0.1}
    start = [torch.randn(3, 2), torch.randn(4)]
    plain, ours, resumed = ([torch.nn.Parameter(p.clone()) for p in start] for _ in range(3))
    expected, optimizer = torch.optim.AdamW(plain, **options), MasterAdamW(ours, **options)
    for step in range(6):
        if step == 3:
            again = MasterAdamW(resumed, **options)
            again.load_state_dict(deepcopy(optimizer.state_dict()))
        for one, two, three in zip(plain, ours, resumed, strict=True):
            one.grad = torch.randn_like(one)
            two.grad, three.grad = one.grad.clone(), one.grad.clone()
        for each in (expected, optimizer, *([again] if step >= 3 else [])):
            each.step()
    for one, two, three in zip(plain, ours, resumed, strict=True):
        assert torch.allclose(one, two, atol=1e-6) and torch.equal(two, three)


def test_the_fused_optimizer_steps_as_the_plain_one(tiny_scorer: Any, tmp_path: Path) -> None:
    model = deepcopy(tiny_scorer.model)
    arguments = TrainingArguments(output_dir=str(tmp_path), learning_rate=1e-2, weight_decay=0.1, use_cpu=True)
    trainer = CSRMTrainer(verbalizer=tiny_scorer.verbalizer, objective=settings(), model=model, args=arguments)
    fused = trainer.create_optimizer()
    assert fused.defaults["fused"] and fused.defaults["betas"] == BETAS
    plain = [torch.nn.Parameter(p.detach().clone()) for p in model.parameters()]
    expected = torch.optim.AdamW(plain, lr=1e-2, betas=BETAS, weight_decay=0.1, fused=False)
    for _ in range(5):
        for one, two in zip(model.parameters(), plain, strict=True):
            one.grad = torch.randn_like(one)
            two.grad = one.grad.clone()
        fused.step()
        expected.step()
    for one, two in zip(model.parameters(), plain, strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_a_backbone_that_sees_less_than_a_sequence_is_refused(
    tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_backbone, tmp_path / "windows")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 4}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    made = examples(tiny_scorer, 24, settings())
    longest = max(len(nodes) for example in made for nodes in sequences(example.tree))
    with pytest.raises(ValueError, match=rf"see 4 tokens \(sliding_window\), the longest sequence may have {longest}"):
        train(folder, made, tiny_scorer.verbalizer, settings(), 0, tmp_path)


def sequences(tree: Any) -> Iterator[list[int]]:
    """The nodes of each sequence, the last first."""
    for leaf in tree.leaves:
        nodes = [leaf]
        while tree.parents[nodes[-1]] >= 0:
            nodes.append(tree.parents[nodes[-1]])
        yield nodes


def test_memory_is_given_back_every_few_steps() -> None:
    called: list[int] = []
    callback = ReturnMemory(every=2)
    callback.trim = called.append
    for step in range(1, 6):
        callback.on_step_end(None, SimpleNamespace(global_step=step), None)
    assert called == [0, 0]
