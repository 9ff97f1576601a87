"""The trainers that `benchmarks/training.py` compares, on the same pairs of random token ids."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from scoring import CONFIG, PROMPT, RESPONSE, Tokens
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast, TrainingArguments
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from csrm.align.dpo import completion_positions_only, policy_trainer
from csrm.align.shared_prefixes import can_share, shared_prefixes
from csrm.model.tree import build_tree
from csrm.model.verbalizer import Verbalizer
from csrm.settings import AlignSettings, TrainSettings
from csrm.train.dataset import Example, collate_examples
from csrm.train.trainer import CSRMTrainer, answering, trainable
from csrm.train.tree_attention import use_tree_attention

ANSWERS = Verbalizer((11,), (13,))
PAIRS = 4
OURS = "csrm"


class Pair(NamedTuple):
    """What is ranked: two endings of one beginning."""

    prefix: Tokens
    chosen: Tokens
    rejected: Tokens


class Way(NamedTuple):
    """A trainer with its batch, what surrounds a step, and what a step computes besides the layers.

    Attributes:
        trainer: with an optimiser.
        rows: the batch before collation.
        around: a context of the step.
        projected: tokens that are projected onto the vocabulary.
        last: tokens at which the last layer computes more than keys and values (None: all).
        again: whether the layers' forward pass is computed twice.
        shares: whether shared prefixes are computed once.
    """

    trainer: Any
    rows: list[Any]
    around: Callable[[], AbstractContextManager[Any]]
    projected: int
    last: int | None = None
    again: bool = False
    shares: bool = False


def inputs(case: str, scale: float, seed: int) -> list[Pair]:
    """The pairs of a case, random token ids with the lengths of the bars times `scale`.

    Two responses to one prompt are a pair of this shape, and so is one conversation under a strict and a lenient
    configuration that differ in their last third.
    """
    draw = random.Random(seed)

    def text(length: float) -> Tokens:
        return [draw.randrange(20, 8000) for _ in range(max(2, round(length * scale)))]

    config = text(CONFIG)
    configs = [config] * PAIRS if case == "configuration-major" else [text(CONFIG) for _ in range(PAIRS)]
    return [Pair(c + text(PROMPT), text(RESPONSE), text(RESPONSE)) for c in configs]


def csrm_ways(model: Any, pairs: Sequence[Pair], folder: Path, names: Sequence[str]) -> dict[str, Way]:
    """CSRM's trainer and TRL's RewardTrainer, with and without checkpoints of activations."""
    ways = {}
    if OURS in names:
        ways[OURS] = _csrm(deepcopy(model), pairs, folder)
    if {"TRL", "TRL, checkpoints"} & {*names}:
        trainer, rows = _reward(model, pairs, folder)
        ways["TRL"] = Way(trainer, rows, nullcontext, 0)
        ways["TRL, checkpoints"] = Way(trainer, rows, partial(checkpoints, trainer.model), 0, again=True)
    return {name: ways[name] for name in names}


def _csrm(model: Any, pairs: Sequence[Pair], folder: Path) -> Way:
    settings = TrainSettings(gamma=1.0, margin=0.0)
    use_tree_attention(model)
    model = trainable(model, settings)
    arguments = TrainingArguments(learning_rate=0.0, remove_unused_columns=False, **_plain(model, folder))
    sequences = sequences_of(pairs)
    count = len(pairs)
    example = Example(
        tree=build_tree(sequences),
        labels=[-1] * len(sequences),
        label_weights=[0.0] * len(sequences),
        pairs=[(n, count + n) for n in range(count)],
        pair_weights=[1 / count] * count,
        tokens=sum(map(len, sequences)),
        cut=0,
    )
    options = {"args": arguments, "train_dataset": [example], "data_collator": collate_examples}
    trainer = CSRMTrainer(verbalizer=ANSWERS, objective=settings, model=model, **options)
    answers = len(sequences)
    return Way(_ready(trainer), [example], partial(answering, model), answers, last=answers, shares=True)


def _reward(model: Any, pairs: Sequence[Pair], folder: Path) -> tuple[Any, list[Any]]:
    config = deepcopy(model.config)
    config.num_labels, config.pad_token_id = 1, 0
    judge = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).to(model.device)
    judge.model.load_state_dict(model.model.state_dict())
    words = model.get_output_embeddings().weight.detach()
    judge.score.weight.data = (words[list(ANSWERS.safe)] - words[list(ANSWERS.unsafe)]).clone()
    judge.score.requires_grad_(False)
    judge.get_input_embeddings().requires_grad_(False)
    rows = [{"chosen_ids": p.prefix + p.chosen, "rejected_ids": p.prefix + p.rejected} for p in pairs]
    arguments = RewardConfig(learning_rate=0.0, max_length=None, gradient_checkpointing=False, **_plain(model, folder))
    trainer = RewardTrainer(
        model=judge, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=_tokenizer()
    )
    return _ready(trainer), rows


def dpo_ways(model: Any, pairs: Sequence[Pair], folder: Path, names: Sequence[str]) -> dict[str, Way]:
    """DPO of a LoRA adapter with reference log-probabilities at hand: ours, TRL's, and TRL's at responses only."""
    settings = AlignSettings(steps=1, batch_pairs=len(pairs), learning_rate=1e-12)
    rows = [{"prompt_ids": p.prefix, "chosen_ids": p.chosen, "rejected_ids": p.rejected, "gap": 0.0} for p in pairs]
    trainer = policy_trainer(deepcopy(model), _tokenizer(), rows, "dpo", settings, 0, folder)
    draw = torch.Generator().manual_seed(0)
    for parameter in trained(trainer):
        parameter.data.add_(0.01 * torch.randn(parameter.shape, generator=draw).to(parameter.device))
    _ready(trainer)
    rows = trainer.train_dataset.to_list()
    policy = trainer.model.get_base_model()
    responses = sum(len(p.chosen) + len(p.rejected) for p in pairs)
    everything = 2 * len(pairs) * (max(map(len, sequences_of(pairs))) - 1)
    ways = {
        OURS: Way(trainer, rows, partial(sharing, policy), responses, shares=can_share(policy)),
        "TRL": Way(trainer, rows, nullcontext, everything),
        "TRL, checkpoints": Way(trainer, rows, partial(checkpoints, policy), everything, again=True),
        "TRL, responses projected": Way(trainer, rows, completion_positions_only, responses),
    }
    return {name: ways[name] for name in names}


CASES: dict[str, tuple[Callable[..., dict[str, Way]], list[str]]] = {
    "pairs": (csrm_ways, [OURS, "TRL", "TRL, checkpoints"]),
    "configuration-major": (csrm_ways, [OURS, "TRL", "TRL, checkpoints"]),
    "dpo": (dpo_ways, [OURS, "TRL", "TRL, checkpoints", "TRL, responses projected"]),
}


@contextmanager
def checkpoints(model: Any) -> Iterator[None]:
    """Activations are computed again in the backward pass, TRL's default."""
    model.activation_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        model.activation_checkpointing_disable()


@contextmanager
def sharing(model: Any) -> Iterator[None]:
    """What surrounds the project's training of a policy."""
    with completion_positions_only(), shared_prefixes(model):
        yield


def _plain(model: Any, folder: Path) -> dict[str, Any]:
    optimizer = "adamw_torch_fused"  # the default, and ours
    where = {"use_cpu": model.device.type == "cpu", "bf16": False}
    return {"output_dir": str(folder), "report_to": "none", "optim": optimizer, **where}


def _tokenizer() -> Any:
    core = Tokenizer(WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")


def sequences_of(pairs: Sequence[Pair]) -> list[Tokens]:
    """What the model reads: the chosen ones, then the rejected."""
    return [p.prefix + p.chosen for p in pairs] + [p.prefix + p.rejected for p in pairs]


def _ready(trainer: Any) -> Any:
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def trained(trainer: Any) -> list[torch.nn.Parameter]:
    """Parameters that get a gradient."""
    return [p for p in trainer.model.parameters() if p.requires_grad]
