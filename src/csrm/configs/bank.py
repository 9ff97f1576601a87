"""The category bank: semantic categories of the packaged `bank.jsonl`, and the benign topics of `topics.yaml`."""

import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from csrm.configs.topics import load_topics


class BankCategory(BaseModel):
    """One category of the bank; `severity` orders the categories of a family (5 most severe)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z_]+-[a-z0-9-]+$")
    name: str = Field(min_length=1)
    guideline: str = Field(min_length=1)
    family: str = Field(pattern=r"^[a-z_]+$")
    severity: int = Field(ge=1, le=5)
    paraphrase: str = Field(min_length=1)


def load_bank() -> list[BankCategory]:
    """All categories: those of `bank.jsonl` in file order, then the topics of `topics.yaml`.

    Raises:
        FileNotFoundError: if a packaged file is missing.
        ValueError: if a line is malformed or an id occurs twice.
    """
    return list(_load())


def families() -> list[str]:
    """The families of the bank, topics included, sorted."""
    return sorted({category.family for category in _load()})


def parse_semantic(text: str) -> list[BankCategory]:
    """The categories of a bank in JSON lines."""
    return [BankCategory.model_validate_json(line) for line in text.splitlines() if line.strip()]


def parse_topics(data: Any) -> list[BankCategory]:
    """The categories of a topic table: each topic itself, then its own `categories`, all of severity 1.

    Without a `paraphrase`, the name stands in for it. `data` is a list of topics, or a mapping that holds one as
    `topics` or `families`.

    Raises:
        ValueError: if there is no list of topics.
    """
    if isinstance(data, dict):
        data = data.get("topics", data.get("families"))
    if not isinstance(data, list) or not data:
        raise ValueError("topics.yaml: expected a non-empty list of topics with `family`, `name` and `guideline`")
    parsed: dict[str, BankCategory] = {}
    for topic in data:
        for entry in (topic, *topic.get("categories", ())):
            category = BankCategory(
                id=f"{topic['family']}-{_slug(entry['name'])}",
                name=entry["name"],
                guideline=entry["guideline"],
                family=topic["family"],
                severity=1,
                paraphrase=entry.get("paraphrase") or entry["name"],
            )
            known = parsed.get(category.id)
            if known is None or known.paraphrase == known.name:  # a topic may list itself, with its paraphrase
                parsed[category.id] = category
    return list(parsed.values())


@cache
def _load() -> tuple[BankCategory, ...]:
    semantic = parse_semantic(Path(__file__).with_name("bank.jsonl").read_text(encoding="utf-8"))
    topics = parse_topics(load_topics().model_dump(mode="json"))
    categories = (*semantic, *topics)
    repeated = sorted(key for key, count in Counter(c.id for c in categories).items() if count > 1)
    if repeated:
        raise ValueError(f"category bank: ids occur more than once: {', '.join(repeated)}")
    return categories


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.replace("'", "")).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
