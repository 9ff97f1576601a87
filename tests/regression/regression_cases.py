"""What the numeric references fix: a short training run and a few scores, on the random two-layer model."""

import platform
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from csrm.configs.safety_config import Category
from csrm.files import read_json, sha256
from csrm.rows import Branch, Group, Message
from csrm.settings import TrainSettings

REFERENCES = Path(__file__).parent / "references.json"
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
WORDS = ("tavern", "letter", "guard", "market", "garden", "bridge", "song", "river")
SETTINGS = TrainSettings(
    steps=20,
    batch_groups=4,
    device_groups=2,
    warmup_steps=2,
    learning_rate=3e-3,
    gamma=0.5,
    margin=0.1,
    checkpoint_steps=1000,
    dtype="float32",
)


def header(backbone: Path) -> dict[str, Any]:
    """Versions that the numbers were made with, and the digest of the weights they start from."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {**versions, "python": platform.python_version(), "backbone_sha256": sha256(backbone / "model.safetensors")}


def groups() -> list[Group]:
    """80 conversations, unsafe exactly under the configuration that names their word; every third ranks it."""
    made = []
    for n in range(SETTINGS.steps * SETTINGS.batch_groups):
        word, other = WORDS[n % 8], WORDS[(n + 3) % 8]
        turns = [Message(role="user", content=f"Tell me {n}."), Message(role="assistant", content=f"The {word}.")]
        branches = [
            Branch(config=[Category(name=other, guideline=f"No {other}.")], label="safe", source="cca"),
            Branch(config=[Category(name=word)], label=None if n % 5 == 4 else "unsafe", source="cca"),
        ]
        pairs = [(0, 1)] if n % 3 == 0 else []
        made.append(Group(id=str(n), prompt_id=str(n), messages=turns, branches=branches, pairs=pairs))
    return made


def trajectory(backbone: Path) -> list[dict[str, float]]:
    """Loss, its parts and the gradient's norm of each of 20 steps."""
    from transformers import AutoTokenizer

    from csrm.files import read_dicts
    from csrm.model.verbalizer import resolve_verbalizer
    from csrm.train.dataset import encode_unit, sort_within_batches
    from csrm.train.trainer import train

    tokenizer = AutoTokenizer.from_pretrained(backbone)
    examples = [encode_unit(tokenizer, [group], SETTINGS) for group in groups()]
    examples = sort_within_batches(examples, SETTINGS.batch_groups)
    with tempfile.TemporaryDirectory() as scratch:
        train(backbone, examples, resolve_verbalizer(tokenizer), SETTINGS, 0, Path(scratch))
        names = ("loss", "loss_cls", "loss_rm", "grad_norm")
        return [{name: round(row[name], 6) for name in names} for row in read_dicts(Path(scratch) / "log.jsonl")]


def requests() -> Sequence[Any]:
    """Six requests: one and several turns, an empty and a long configuration, a prefix shared by two."""
    from csrm.model.scorer import Request

    asked = Message(role="user", content="What is sold at the market?")
    answer = Message(role="assistant", content="Bread, honey and a strong cider.")
    more = [Message(role="user", content="And for a child?"), Message(role="assistant", content="Apple juice.")]
    alcohol = Category(name="Alcohol", guideline="No mention of alcoholic drinks.")
    food = [Category(name=f"Food {n}", guideline=f"No mention of dish number {n}, under any name.") for n in range(6)]
    long = Message(role="user", content="Tell me about the river and the bridge. " * 20)
    configs: list[tuple[list[Message], list[Category]]] = [
        ([asked, answer], [alcohol]),
        ([asked, answer], food),
        ([asked, answer, *more], [alcohol, *food]),
        ([asked, answer, *more], [alcohol]),
        ([long, answer], [alcohol]),
        ([Message(role="user", content="Héllo 👋"), Message(role="assistant", content="")], [Category(name="Pets")]),
    ]
    return [Request(messages, categories) for messages, categories in configs]


def scores(backbone: Path) -> dict[str, list[dict[str, Any]]]:
    """Log-odds and lengths of the six requests, in each order of the prompt's sections."""
    from typing import get_args

    from csrm.model.scorer import CSRM
    from csrm.settings import SectionOrder

    found = {}
    for order in get_args(SectionOrder):
        rows = CSRM.from_pretrained(backbone, "float32", order).score_requests(requests())
        found[order] = [{"log_odds": round(row.log_odds, 6), "n_tokens": row.n_tokens} for row in rows]
    return found


def references() -> dict[str, Any]:
    """The tracked numbers."""
    data: dict[str, Any] = read_json(REFERENCES)
    return data
