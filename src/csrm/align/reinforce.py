"""REINFORCE++ of a LoRA adapter on the policy (Hu 2025, arXiv 2501.03262), as CSRM section 4.4 uses it.

No critic and no baseline of a prompt's group: the advantage of a response's token t is

    A_t = R(x, y; p) H(x, y) - beta * sum_{i >= t} k1_i,    k1_i = log pi(y_i | x, y_<i) - log pi_ref(y_i | x, y_<i),

normalised with the mean and standard deviation of all tokens of the sampled batch. A_1 is what CSRM prints: the reward
minus the KL estimate of the whole response. Credit is by token, as REINFORCE++ defines it and as OpenRLHF, which CSRM
used, computes it (returns with discount 1): a token answers for the KL that follows, not for what was spent before it.
Before normalisation that leaves the expected gradient as it is, without the variance of KL already spent. KL is part of
the reward; no gradient flows through it. The surrogate is PPO's with clipped token ratios, averaged over all tokens of
an update as in OpenRLHF; as advantages have mean 0, its value is about 0 at the first update on a batch, and says
nothing about progress.

Responses are drawn from the policy itself at one temperature and without a nucleus, else ratios and k1 would belong to
another distribution. The end-of-turn token alone ends a response. One process. Equal arguments give equal adapters.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from numpy.typing import ArrayLike

from csrm.align import attention
from csrm.align.adapter import arguments, lora, save_adapter
from csrm.align.advantages import Sizes, advantages, sizes
from csrm.align.checkpoints import keep_checkpoints
from csrm.align.dpo import MAX_DROPPED, Trained, completion_positions_only
from csrm.align.generate import Generation, Sampling, generate
from csrm.align.policy import Dtype, Policy, chat, end_id, fast_dtype, load_tokenizer, prompt_ids
from csrm.align.sample import response_seed
from csrm.configs.safety_config import SafetyConfig
from csrm.rows import PromptRow
from csrm.settings import AlignSettings, ReinforceSettings

Reward = Callable[[list[str], list[str]], ArrayLike]  # prompts, responses -> R * H, one a response

KL_TOLERANCE = 1e-3  # largest KL estimate (nats a response) of the first batch: policy and reference are one model
_LOGGED = {
    "loss": "loss",
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "completions/mean_length": "response_tokens",
    "completions/clipped_ratio": "cut",
    "clip_ratio/region_mean": "clipped",
    "entropy": "entropy",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


def train_reinforce(
    policy: str | Path,
    prompts: Sequence[PromptRow],
    config: SafetyConfig,
    reward: Reward,
    settings: AlignSettings,
    seed: int,
    scratch: str | Path,
    output: str | Path,
    dtype: Dtype = "auto",
    checkpoints: Sequence[Path] = (),
) -> Trained:
    """Train a LoRA adapter with REINFORCE++ and save it (safetensors) in `output`, and on the way in `checkpoints`.

    The policy sees each prompt with the configuration as system message. Responses that reach `max_new_tokens` get no
    end token, and their reward is that of the cut text.

    Returns:
        Log, one entry an update: mean reward, KL estimate (nats a response), mean response length (tokens), share of
        responses cut at the longest length (`cut`), share of clipped token ratios (`clipped`), entropy, gradient norm;
        what belongs to a sampled batch stands at its first update only. And counts.

    Raises:
        ValueError: if no prompt is usable, a reward is not finite, or the first policy differs from its reference.
    """
    trainer, left = build_trainer(policy, prompts, config, reward, settings, seed, scratch, dtype)
    steps = keep_checkpoints(trainer, checkpoints)
    with completion_positions_only():
        trainer.train()
    log = [_entry(row) for row in trainer.state.log_history if "loss" in row]
    if abs(log[0]["kl"]) > KL_TOLERANCE:
        raise ValueError(f"the first KL estimate is {log[0]['kl']:.4f}, not 0: the policy differs from its reference")
    save_adapter(trainer.model, Path(output))
    sampled = [row for row in log if "reward" in row]
    notes = {
        **left,
        "updates": len(log),
        "checkpoints": steps,
        "responses": len(sampled) * trainer.args.generation_batch_size,
        "initial_reward": sampled[0]["reward"],
        "final_reward": sampled[-1]["reward"],
        "final_kl": sampled[-1]["kl"],
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }
    return Trained(log, notes)


def build_trainer(
    policy: str | Path,
    prompts: Sequence[PromptRow],
    config: SafetyConfig,
    reward: Reward,
    settings: AlignSettings,
    seed: int,
    scratch: str | Path,
    dtype: Dtype = "auto",
) -> tuple[Any, dict[str, int]]:
    """TRL's GRPOTrainer with the advantages of REINFORCE++, and how many prompts it uses and leaves out.

    GRPO's surrogate takes advantages by token and clips ratios by token; RLOO's does neither.

    Raises:
        ValueError: if no prompt is usable, batches cannot be formed, or several processes were started.
    """
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    tokenizer, options = load_tokenizer(policy), settings.reinforce
    kept, counts = _usable(tokenizer, prompts, config, settings)
    plan = sizes(len(kept), options)
    kernel = "sdpa" if torch.cuda.is_available() else "eager"  # PyTorch's CPU kernel is slower in training
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=fast_dtype(dtype), attn_implementation=kernel)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*'rollout_func'")  # experimental in TRL, which is pinned
        trainer = _trainer_class(options.beta)(
            model=model,
            reward_funcs=_reward_function(reward),
            args=_arguments(settings, seed, scratch, options, plan, half=model.dtype == torch.bfloat16),
            train_dataset=Dataset.from_list([{"prompt": row.prompt} for row in kept]),
            processing_class=tokenizer,
            peft_config=lora(settings),
            rollout_func=_rollouts(tokenizer, config, settings.max_new_tokens, options, seed),
        )
    if trainer.accelerator.num_processes > 1:
        raise ValueError("REINFORCE++ normalises over the batch of one process; start it without a launcher")
    return trainer, {**counts, "left_out_an_episode": plan.left_out}


def _trainer_class(beta: float) -> Any:
    """GRPOTrainer whose advantages are those of REINFORCE++."""
    import torch
    from trl.trainer.grpo_trainer import GRPOTrainer

    class ReinforceTrainer(GRPOTrainer):
        """Replaces the group's baseline; TRL's own KL term (k3, in the loss) is off."""

        def _calculate_rewards(self, *given: Any) -> Any:
            self.rewards = super()._calculate_rewards(*given)
            return self.rewards

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            batch = super()._generate_and_score_completions(inputs)
            mask, model = batch["completion_mask"], cast(Any, self.model)
            with torch.no_grad():
                old = batch.get("old_per_token_logps")
                logps = self._logps(batch) if old is None else old
                with model.disable_adapter():
                    reference = self._logps(batch)
            batch["advantages"] = advantages(self.rewards[:, 0], logps, reference, mask, beta)
            self._metrics["train"]["kl"].append(((logps - reference) * mask).sum(1).mean().item())
            return batch

        def _logps(self, batch: Any) -> Any:
            """Log-probabilities of the responses' tokens, (rows, tokens)."""
            ids, mask = (
                torch.cat([batch[f"prompt_{part}"], batch[f"completion_{part}"]], 1) for part in ("ids", "mask")
            )
            width, rows = batch["completion_ids"].shape[1], self.args.per_device_train_batch_size
            return self._get_per_token_logps_and_entropies(self.model, ids, mask, width, rows)[0]

    return ReinforceTrainer


def _usable(
    tokenizer: Any, prompts: Sequence[PromptRow], config: SafetyConfig, settings: AlignSettings
) -> tuple[list[PromptRow], dict[str, int]]:
    """Prompts that leave room for a response, and counts.

    Raises:
        ValueError: if there is no prompt, or more than `MAX_DROPPED` of them are too long.
    """
    longest, new_tokens = settings.max_length, settings.max_new_tokens
    lengths = [len(prompt_ids(tokenizer, chat(row.prompt, config.categories))) for row in prompts]
    kept = [row for row, n in zip(prompts, lengths, strict=True) if n + new_tokens <= longest]
    dropped = len(prompts) - len(kept)
    if not kept or dropped > MAX_DROPPED * len(prompts):
        raise ValueError(
            f"{dropped} of {len(prompts)} prompts exceed {longest} tokens with a response of {new_tokens}, "
            "or none was given; raise align.max_length, shorten the configuration, or sample fewer new tokens"
        )
    return kept, {"prompts": len(kept), "prompts_too_long": dropped, "longest_prompt": max(lengths)}


def _reward_function(reward: Reward) -> Any:
    """The reward as TRL calls it, on stripped texts as `csrm sample` writes them."""
    import numpy as np

    def total(prompts: list[str], completions: list[str], **ignored: Any) -> list[float]:
        values = np.asarray(reward(prompts, [text.strip() for text in completions]), dtype=np.float64)
        if values.shape != (len(prompts),) or not np.isfinite(values).all():
            raise ValueError(f"the reward must give {len(prompts)} finite numbers, got {values}")
        return list(values.tolist())

    return total


def _rollouts(tokenizer: Any, config: SafetyConfig, new_tokens: int, options: ReinforceSettings, seed: int) -> Any:
    """TRL's `rollout_func`: the project's sampler, one prefill a prompt, every response seeded on its own."""
    end, sampling = end_id(tokenizer), Sampling(new_tokens, options.temperature, 1.0)

    def rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
        width = options.rollouts  # TRL repeats each prompt so often
        ids = [prompt_ids(tokenizer, chat(text, config.categories)) for text in prompts[::width]]
        name = f"{config.name}|{trainer.state.global_step}"
        seeds = [[response_seed(seed, name, str(place), n) for n in range(width)] for place in range(len(ids))]
        policy = Policy(trainer.model, tokenizer, frozenset({end}), tokenizer.pad_token_id)
        with _decoding(trainer.model):
            drawn = generate(policy, ids, seeds, sampling)
        return {
            "prompt_ids": [tokens for tokens in ids for _ in range(width)],
            "completion_ids": [_tokens(generation, end) for group in drawn for generation in group],
            "logprobs": None,
        }

    return rollouts


def _tokens(generation: Generation, end: int) -> list[int]:
    return [*generation.tokens, end] if generation.finished else generation.tokens


@contextmanager
def _decoding(model: Any) -> Iterator[None]:
    """The faster attention for decoding on a processor, while responses are drawn."""
    base = model.get_base_model()
    if base.device.type != "cpu":
        yield
        return
    trained = base.config._attn_implementation
    base.set_attn_implementation(attention.register())
    try:
        yield
    finally:
        base.set_attn_implementation(trained)


def _arguments(
    settings: AlignSettings, seed: int, scratch: str | Path, options: ReinforceSettings, plan: Sizes, half: bool
) -> Any:
    """GRPOConfig of the settings: the mean over tokens, without TRL's KL term and scaling."""
    from trl.trainer.grpo_config import GRPOConfig

    return GRPOConfig(
        **arguments(settings, plan.steps, seed, scratch, half),
        per_device_train_batch_size=plan.micro,
        gradient_accumulation_steps=plan.accumulation,
        steps_per_generation=plan.accumulation * options.updates,
        num_generations=options.rollouts,
        max_completion_length=settings.max_new_tokens,
        temperature=options.temperature,
        beta=0.0,
        epsilon=options.clip,
        loss_type="dapo",
        scale_rewards="none",
    )


def _entry(row: dict[str, float]) -> dict[str, float]:
    return {"step": row["step"], **{name: float(row[key]) for key, name in _LOGGED.items() if key in row}}
