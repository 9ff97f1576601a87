"""Training of a LoRA adapter on the policy from reward-ranked preference pairs: DPO, or Reward Distillation.

CoSAlign trains with DPO (Rafailov et al. 2023, equation 7), CSRM with Reward Distillation (section 4.4;
`csrm.align.distill`). The reference is the policy with its adapter disabled; its log-probabilities are computed once.
Both start where the policy equals its reference: DPO's loss is ln 2 there.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from csrm.align.adapter import arguments, batches, lora, save_adapter
from csrm.align.checkpoints import keep_checkpoints
from csrm.align.distill import distillation_trainer, log_reward_gap
from csrm.align.policy import Dtype, fast_dtype, load_tokenizer, prompt_ids, response_ids
from csrm.align.schema import Preference
from csrm.align.shared_prefixes import shared_prefixes
from csrm.settings import AlignSettings, CosaSettings, PairAlgorithm

MAX_DROPPED = 0.1  # largest share of pairs that may be left out
START_TOLERANCE = 0.02  # nats of reward before the first step, besides what rounding moves
_LOGGED = {
    "loss": "loss",
    "rewards/margins": "margin",
    "rewards/accuracies": "accuracy",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "logps/chosen": "logp_chosen",
    "logps/rejected": "logp_rejected",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


class Tokenised(NamedTuple):
    """Pairs as token ids (prompt_ids, chosen_ids, rejected_ids) with their `gap`, and how many were too long."""

    rows: list[dict[str, Any]]
    too_long: int


class Trained(NamedTuple):
    """Log of a run, one entry a step, and its counts."""

    log: list[dict[str, float]]
    notes: dict[str, Any]


def tokenise(tokenizer: Any, pairs: Sequence[Preference], max_length: int) -> Tokenised:
    """Token ids of the pairs; responses that were cut at the longest length get no end token.

    A pair over `max_length` is left out whole: cutting it would drop the user's turn or the end of a response.

    Raises:
        ValueError: if there is no pair, or more than `MAX_DROPPED` of them are too long.
    """
    rows = [_ids(tokenizer, pair) for pair in pairs]
    kept = [r for r in rows if _length(r) <= max_length]
    dropped = len(rows) - len(kept)
    if not kept or dropped > MAX_DROPPED * len(rows):
        raise ValueError(
            f"{dropped} of {len(rows)} preference pairs exceed {max_length} tokens or none was given; "
            "raise max_length, shorten the configuration, or sample with fewer new tokens"
        )
    return Tokenised(kept, dropped)


def train_policy(
    policy: str | Path,
    pairs: Sequence[Preference],
    algorithm: PairAlgorithm,
    settings: AlignSettings | CosaSettings,
    seed: int,
    scratch: str | Path,
    output: str | Path,
    dtype: Dtype = "auto",
    checkpoints: Sequence[Path] = (),
) -> Trained:
    """Train a LoRA adapter and save it (safetensors) in `output`, and on the way, equally spaced, in `checkpoints`.

    Raises:
        ValueError: if no pair is usable, or the policy differs from its reference before the first step.
    """
    from transformers import AutoModelForCausalLM, set_seed

    set_seed(seed)
    tokenizer = load_tokenizer(policy)
    data = tokenise(tokenizer, pairs, settings.max_length)
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=fast_dtype(dtype), attn_implementation="sdpa")
    with completion_positions_only(), shared_prefixes(model):
        trainer = policy_trainer(model, tokenizer, data.rows, algorithm, settings, seed, scratch)
        steps = keep_checkpoints(trainer, checkpoints)
        trainer.train()
    log = [_entry(row) for row in trainer.state.log_history if "loss" in row]
    check_start(log[0], settings.beta, float(import_module("torch").finfo(model.dtype).eps))
    save_adapter(trainer.model, Path(output))
    notes = {
        "pairs": len(data.rows),
        "pairs_too_long": data.too_long,
        "updates": len(log),
        "checkpoints": steps,
        "initial_loss": log[0]["loss"],
        "final_loss": log[-1]["loss"],
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "longest_pair": max(map(_length, data.rows)),
    }
    return Trained(log, notes)


def check_start(first: Mapping[str, float], beta: float, rounding: float) -> None:
    """Before the first step the policy is its reference: both rewards, beta times the log-ratio, are 0 up to rounding.

    Args:
        first: log entry of the first step.
        beta: of the settings.
        rounding: relative rounding of the model's number format; log-probabilities are off by as much at most.

    Raises:
        ValueError: if the chosen or the rejected responses' reward is further from 0.
    """
    for side in ("chosen", "rejected"):
        reward, allowed = first[f"reward_{side}"], START_TOLERANCE + beta * rounding * abs(first[f"logp_{side}"])
        if abs(reward) > allowed:
            raise ValueError(
                f"the first reward of {side} responses is {reward:.4f} nats, more than {allowed:.4f} from 0: the "
                "policy differs from its reference"
            )


@contextmanager
def completion_positions_only() -> Iterator[None]:
    """Make TRL project only completion positions onto the vocabulary, as it does by itself on a GPU.

    Elsewhere TRL 1.16 projects every position and discards the prompt's, which doubles the time of a step here.
    """
    utils: Any = import_module("trl.trainer.utils")
    original = utils._use_triton
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = original


def _ids(tokenizer: Any, pair: Preference) -> dict[str, Any]:
    return {
        "prompt_ids": prompt_ids(tokenizer, pair.prompt),
        "chosen_ids": response_ids(tokenizer, pair.chosen, pair.chosen_finished),
        "rejected_ids": response_ids(tokenizer, pair.rejected, pair.rejected_finished),
        "gap": log_reward_gap(pair.reward_chosen, pair.reward_rejected),
    }


def _length(row: dict[str, Any]) -> int:
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def policy_trainer(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    algorithm: PairAlgorithm,
    settings: AlignSettings | CosaSettings,
    seed: int,
    scratch: str | Path,
) -> Any:
    """TRL's DPOTrainer, or one with the distillation loss, over pairs that are tokenised already."""
    from datasets import Dataset
    from trl.trainer.dpo_trainer import DPOTrainer

    class PretokenisedDPOTrainer(DPOTrainer):
        """Keeps our token ids: TRL would end cut responses with an end token."""

        def _prepare_dataset(self, dataset: Any, *ignored: Any) -> Any:
            return dataset

    kind: Any = PretokenisedDPOTrainer
    if algorithm == "reward-distillation":
        kind = distillation_trainer(PretokenisedDPOTrainer)
    return kind(
        model=model,
        args=_arguments(settings, seed, scratch, half=str(model.dtype) == "torch.bfloat16"),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora(settings),
    )


def _arguments(settings: AlignSettings | CosaSettings, seed: int, scratch: str | Path, half: bool) -> Any:
    """DPOConfig of the settings, without truncation."""
    from trl.trainer.dpo_config import DPOConfig

    return DPOConfig(
        **arguments(settings, settings.steps, seed, scratch, half),
        **batches(settings),
        beta=settings.beta,
        loss_type=["sigmoid"],
        max_length=None,
        precompute_ref_log_probs=True,
    )


def _entry(row: dict[str, float]) -> dict[str, float]:
    return {"step": row["step"], **{name: float(row[key]) for key, name in _LOGGED.items() if key in row}}
