"""The table of guard models, `config/guards.tsv`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from csrm.data.tables import get, read_table

AdapterName = Literal[
    "llamaguard",
    "shieldgemma",
    "wildguard",
    "dynaguard",
    "dynaguard-cot",
    "instruct",
    "instruct-cot",
    "thinking",
    "gpt-oss-safeguard",
]


class Guard(BaseModel):
    """One guard: its model, the adapter that renders its prompts, its two label words, and its lengths in tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9.-]+$")
    model: str
    licence: str
    adapter: AdapterName
    safe: str = Field(min_length=1)
    unsafe: str = Field(min_length=1)
    max_new_tokens: int = Field(ge=0)
    max_length: int = Field(ge=1)
    format: str
    uncertain: str

    @model_validator(mode="after")
    def _room(self) -> "Guard":
        if self.max_length <= self.max_new_tokens:
            raise ValueError(
                f"max_length {self.max_length} must exceed max_new_tokens {self.max_new_tokens}: prompt and answer "
                "share it"
            )
        return self


def load_guards(config_dir: str | Path) -> dict[str, Guard]:
    """The guards by id."""
    return {guard.id: guard for guard in read_table(Path(config_dir) / "guards.tsv", Guard)}


def weights_at_hand(folder: str | Path, name: str) -> bool:
    """Whether `score.guards` holds a guard's model."""
    return (Path(folder) / name / "config.json").is_file()


def weights(guard: Guard, folder: Path) -> Path:
    """The folder of a guard's model.

    Raises:
        FileNotFoundError: if it holds no model; the message says what to put there.
    """
    if not (folder / "config.json").is_file():
        parent = folder.parent
        state = "holds no config.json" if parent.is_dir() else f"is not there, nor is score.guards, {parent}"
        raise FileNotFoundError(
            f"{folder} {state}: put {guard.model} there (licence terms may have to be accepted; a server's guard needs "
            "config.json and tokenizer only), or take it out of score.models and align.rewards"
        )
    return folder


def get_guard(config_dir: str | Path, name: str) -> Guard:
    """One guard by id; an unknown id fails with the known ones."""
    found: Guard = get(load_guards(config_dir), name, "guards.tsv")
    return found
