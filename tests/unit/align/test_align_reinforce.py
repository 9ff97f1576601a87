"""REINFORCE++ with a tiny random model: its formula, its gradient, and that it learns."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from csrm.align.advantages import EPSILON, advantages, sizes
from csrm.align.dpo import Trained
from csrm.align.helpfulness import Proxy, helpfulness
from csrm.align.online_reward import OnlineReward
from csrm.align.policy import chat, load_policy, load_tokenizer, prompt_ids
from csrm.align.reinforce import Reward, build_trainer, train_reinforce
from csrm.align.rewards import total_reward
from csrm.augment.encoder import HashEncoder
from csrm.configs.safety_config import SafetyConfig
from csrm.rows import Message, PromptRow
from csrm.settings import AlignSettings
from csrm.settings import ReinforceSettings as Online

SETTINGS = AlignSettings.model_validate({"max_new_tokens": 8, "lora_rank": 4, "learning_rate": 0.02})
PROMPTS = [
    PromptRow(id=str(i), dataset="x", prompt_id=str(i), prompt=text)
    for i, text in enumerate(["what should i serve ?", "cat", "the dog the party ? what drink", "are you a cat ?"])
]


def brevity(prompts: list[str], responses: list[str]) -> list[float]:
    """Likes short responses: 1 for none, towards 0 for eight words."""
    return [1 - len(text.split()) / 9 for text in responses]


def music(prompts: list[str], responses: list[str]) -> list[float]:
    """Likes one word: its share of a response's words."""
    return [text.split().count("music") / max(1, len(text.split())) for text in responses]


@pytest.fixture(scope="module")
def sharp_policy(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny policy with ten times its output weights: as it is, no adapter can move it far from uniform."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("sharp-policy")
    model = AutoModelForCausalLM.from_pretrained(tiny_policy)
    model.lm_head.weight.data *= 10
    model.save_pretrained(folder)
    load_tokenizer(tiny_policy).save_pretrained(folder)
    return folder


def train(policy: Path, config: SafetyConfig, reward: Reward, folder: Path, options: Online) -> Trained:
    settings, scratch, output = (
        SETTINGS.model_copy(update={"reinforce": options}),
        folder / "scratch",
        folder / "adapter",
    )
    return train_reinforce(policy, PROMPTS, config, reward, settings, 0, scratch, output, "float32")


def prepared(policy: Path, config: SafetyConfig, folder: Path, options: Online) -> tuple[Any, list[dict[str, Any]]]:
    """A trainer whose adapter is moved away from the reference, and its first sampled batch."""
    import torch

    settings = SETTINGS.model_copy(update={"reinforce": options})
    trainer, _ = build_trainer(policy, PROMPTS, config, brevity, settings, 0, folder, "float32")
    generator = torch.Generator().manual_seed(0)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    return trainer, trainer._buffered_inputs


def expected_advantages(
    rewards: list[float], logps: list[list[float]], reference: list[list[float]], beta: float
) -> list[list[float]]:
    """The formula once more, token by token over ragged rows."""
    values = [
        [r - beta * sum(p - q for p, q in zip(row[t:], ref[t:], strict=True)) for t in range(len(row))]
        for r, row, ref in zip(rewards, logps, reference, strict=True)
    ]
    flat = np.concatenate([np.array(row) for row in values])
    return [[(v - flat.mean()) / (flat.std() + EPSILON) for v in row] for row in values]


def test_advantages_are_rewards_minus_kl_to_go_normalised_over_the_batch() -> None:
    import torch

    rewards, beta = [0.9, 0.2, 0.4], 0.3
    logps = [[-1.0, -2.0, -0.5], [-0.1, -3.0], [-2.0]]
    reference = [[-1.5, -1.0, -0.7], [-0.4, -2.0], [-2.5]]
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    padded = [torch.tensor([row + [7.0] * (3 - len(row)) for row in rows]) for rows in (logps, reference)]
    found = advantages(torch.tensor(rewards), *padded, mask, beta)
    for row, wanted in zip(found, expected_advantages(rewards, logps, reference, beta), strict=True):
        assert row[: len(wanted)].tolist() == pytest.approx(wanted, abs=1e-5)
        assert row[len(wanted) :].eq(0).all()
    assert float((found * mask).sum()) == pytest.approx(0, abs=1e-5)


def test_equal_rewards_teach_nothing() -> None:
    import torch

    logps = torch.full((3, 2), -1.0)
    assert advantages(torch.ones(3), logps, logps, torch.ones(3, 2), 0.1).abs().max() == 0


def test_batches_hold_whole_groups_and_no_more_than_asked() -> None:
    paper = sizes(1024, Online(episodes=5))
    assert (paper.prompts, paper.micro * paper.accumulation, paper.steps, paper.left_out) == (16, 128, 320, 0)
    assert sizes(24, Online())[:1] == (12,) and sizes(25, Online()).left_out == 1
    two = sizes(1024, Online(updates=2))
    assert (two.prompts, two.micro * two.accumulation, two.steps) == (32, 128, 64)
    assert sizes(3, Online()).prompts == 3
    for wrong in (Online(updates=3), Online(batch=4)):
        with pytest.raises(ValueError, match="must be a multiple of updates"):
            sizes(10, wrong)


def test_first_gradient_is_the_plain_policy_gradient(
    tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path
) -> None:
    """Rewards, log-probabilities, KL, advantages and gradient are all computed again, one response at a time."""
    import torch

    options = Online(rollouts=6, beta=0.3, temperature=0.7)
    trainer, batches = prepared(tiny_policy, no_alcohol, tmp_path, options)
    assert len(batches) == 3
    for batch in batches:
        trainer.compute_loss(trainer.model, batch).backward()
    found = {n: w.grad.clone() for n, w in trainer.model.named_parameters() if w.requires_grad}
    trainer.model.zero_grad()

    tokenizer, plain = trainer.processing_class, load_policy(tiny_policy, dtype="float32").model
    texts, rows, reference, given = [], [], [], []
    for batch in batches:
        for i in range(len(batch["prompt_ids"])):
            prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()]
            answer = batch["completion_ids"][i][batch["completion_mask"][i].bool()]
            ids = torch.cat([prompt, answer])[None]

            def logps(model: Any, ids: Any = ids, answer: Any = answer) -> Any:
                logits = model(input_ids=ids).logits[0, -len(answer) - 1 : -1] / options.temperature
                return logits.log_softmax(-1).gather(1, answer[:, None])[:, 0]

            texts.append(tokenizer.decode(answer, skip_special_tokens=True).strip())
            rows.append(logps(trainer.model))
            with torch.no_grad():
                reference.append(logps(plain).tolist())
            given.append(batch["advantages"][i][: len(answer)].tolist())
    wanted = expected_advantages(brevity([], texts), [r.tolist() for r in rows], reference, options.beta)
    assert len({len(r) for r in rows}) > 1 and abs(rows[0].sum().item() - sum(reference[0])) > 0.01
    for left, right in zip(given, wanted, strict=True):
        assert left == pytest.approx(right, abs=2e-4)
    surrogate = sum((row * torch.tensor(a)).sum() for row, a in zip(rows, wanted, strict=True))
    (-surrogate / sum(map(len, rows))).backward()
    for name, weight in trainer.model.named_parameters():
        if weight.requires_grad:
            assert torch.allclose(found[name], weight.grad, atol=2e-5, rtol=1e-3), name
    assert max(float(g.abs().max()) for g in found.values()) > 1e-3


def test_prompts_are_rendered_as_elsewhere_and_cut_responses_have_no_end(
    tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path
) -> None:
    trainer, batches = prepared(tiny_policy, no_alcohol, tmp_path, Online(rollouts=6))
    wanted = {tuple(prompt_ids(trainer.processing_class, chat(p.prompt, no_alcohol.categories))) for p in PROMPTS}
    found, ends = set(), []
    for batch in batches:
        for i in range(len(batch["prompt_ids"])):
            found.add(tuple(batch["prompt_ids"][i][batch["prompt_mask"][i].bool()].tolist()))
            answer = batch["completion_ids"][i][batch["completion_mask"][i].bool()].tolist()
            assert answer.count(2) == int(answer[-1] == 2) and len(answer) <= 8
            ends.append(answer[-1] == 2)
            assert ends[-1] or len(answer) == 8
    assert found == wanted and 0 < sum(ends) < len(ends)


@pytest.mark.parametrize("reward", [brevity, music])
def test_a_liked_property_spreads_and_kl_holds_it_back(
    sharp_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path, reward: Reward
) -> None:
    options = Online(rollouts=8, episodes=14)
    free, held = (
        train(sharp_policy, no_alcohol, reward, tmp_path / str(beta), options.model_copy(update={"beta": beta})).log
        for beta in (0.0, 2.0)
    )
    first, chance = free[0]["reward"], free[0]["reward_std"] / np.sqrt(5 * 32)
    ends = [float(np.mean([row["reward"] for row in log[-5:]])) for log in (free, held)]
    assert ends[0] > first + 5 * chance
    assert ends[1] < first + 0.5 * (ends[0] - first)
    assert free[-1]["kl"] > 4 * abs(held[-1]["kl"])


def test_policy_starts_as_its_reference_and_logs_every_update(
    sharp_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path
) -> None:
    options = Online(rollouts=4, episodes=2, updates=2, batch=8)
    trained = train(sharp_policy, no_alcohol, brevity, tmp_path, options)
    assert trained.log[0]["kl"] == 0
    assert [row["step"] for row in trained.log] == [1, 2, 3, 4]
    assert {"loss", "clipped", "entropy", "grad_norm", "learning_rate"} <= set(trained.log[1])
    assert [("reward" in row, "kl" in row, "cut" in row) for row in trained.log] == [(True,) * 3, (False,) * 3] * 2
    assert trained.log[0]["clipped"] == 0 and trained.log[1]["clipped"] > 0
    assert trained.log[2]["kl"] != 0
    assert trained.notes["responses"] == 32 and trained.notes["prompts"] == 4


def test_equal_seeds_give_equal_bytes(tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path) -> None:
    options = Online(rollouts=4, episodes=2)
    runs = [train(tiny_policy, no_alcohol, music, tmp_path / str(i), options) for i in range(2)]
    assert runs[0] == runs[1]
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        first, second = ((tmp_path / str(i) / "adapter" / name).read_bytes() for i in range(2))
        assert first == second
    assert json.loads(first)["r"] == 4
    load_policy(tiny_policy, tmp_path / "0" / "adapter", dtype="float32")


def test_unusable_prompts_and_rewards_are_refused(tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path) -> None:
    long = PROMPTS[0].model_copy(update={"prompt": "cat " * 1100})
    with pytest.raises(ValueError, match="1 of 1 prompts exceed 1024 tokens"):
        build_trainer(tiny_policy, [long], no_alcohol, brevity, SETTINGS, 0, tmp_path, "float32")
    with pytest.raises(ValueError, match="finite numbers"):
        train(tiny_policy, no_alcohol, lambda x, y: [float("nan")] * len(y), tmp_path, Online(rollouts=2))


def test_online_reward_is_total_reward_and_empty_responses_get_none(tiny_scorer: Any, no_alcohol: SafetyConfig) -> None:
    reward = OnlineReward(tiny_scorer, no_alcohol, Proxy(HashEncoder()), slope=2.0, offset=-1.0)
    answer = "Serve music and a drink to the party and to the dog, what else should they want?"
    found = reward(["What should I serve?"] * 3, ["", answer, "  "])
    turns = [Message(role="user", content="What should I serve?"), Message(role="assistant", content=answer)]
    s = tiny_scorer.score(turns, no_alcohol).log_odds
    h = helpfulness(["What should I serve?"], [answer], HashEncoder())
    assert found[[0, 2]].tolist() == [0, 0]
    assert found[1] == pytest.approx(total_reward([s], h, 2.0, -1.0)[0], rel=1e-4) and 0 < found[1] < 1
    assert reward([], []).shape == (0,)
    with pytest.raises(ValueError, match="2 prompts came with 1"):
        reward(["a", "b"], ["c"])
