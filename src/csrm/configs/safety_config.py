"""Safety configurations: ordered categories, each with a name and a guideline (CSRM section 3.1)."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from csrm.files import read_text
from csrm.yaml_reader import read_yaml

PROSE = "Policy"  # name of the category that text without numbered lines becomes
_NUMBERED = re.compile(r"^\s*S?(\d+)\s*[.:)]\s*(.+)$")


class Category(BaseModel):
    """One category of a configuration; `key` identifies it inside the package and is never shown to a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    guideline: str = ""
    key: str | None = None


class SafetyConfig(BaseModel):
    """An ordered set of categories, with one canonical rendering (`csrm.configs.render`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "unnamed"
    categories: tuple[Category, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> "SafetyConfig":
        """Read a configuration from YAML, JSON or free text (`S1: Name. guideline` lines).

        Raises:
            ValueError: if the file holds no category; the message says what was expected.
        """
        path = Path(path)
        if path.suffix.lower() not in {".yaml", ".yml", ".json"}:
            return cls.from_text(read_text(path), name=path.stem)
        data = read_yaml(path)
        try:
            return cls.from_data(data, name=path.stem)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_data(cls, data: Any, name: str = "unnamed") -> "SafetyConfig":
        """Build from a list of names or {name, guideline} mappings, or a mapping with it as `categories` and a `name`.

        Raises:
            ValueError: without categories, or for unknown keys.
        """
        if isinstance(data, dict):
            if unknown := sorted(map(str, set(data) - {"name", "categories"})):
                raise ValueError(f"configuration {name!r} has unknown keys {unknown}: use name and categories")
            name, data = data.get("name", name), data.get("categories")
        if not isinstance(data, list) or not data:
            raise ValueError(f"configuration {name!r}: expected a non-empty list `categories`, got {data!r}")
        return cls(name=name, categories=tuple(_category(c, number) for number, c in enumerate(data, 1)))

    @classmethod
    def from_text(cls, text: str, name: str = "unnamed") -> "SafetyConfig":
        """Parse free text: numbered lines start a category; text without numbers is one category."""
        categories: list[Category] = []
        for line in filter(None, (raw.strip() for raw in text.splitlines())):
            numbered = _NUMBERED.match(line)
            if numbered:
                head, _, guideline = numbered.group(2).partition(". ")
                categories.append(Category(name=head.strip().rstrip("."), guideline=guideline.strip()))
            elif categories:
                last = categories[-1]
                categories[-1] = last.model_copy(update={"guideline": f"{last.guideline} {line}".strip()})
            else:
                categories.append(Category(name=PROSE, guideline=line))
        if not categories:
            raise ValueError(f"configuration {name!r} is empty: write one `S1: Name. guideline` line per category")
        return cls(name=name, categories=tuple(categories))

    def with_categories(self, categories: Iterable[Category]) -> "SafetyConfig":
        """The same configuration with other categories (drop, insert, shuffle and replace are built on it)."""
        return self.model_copy(update={"categories": tuple(categories)})


def _category(data: Any, number: int) -> Category:
    """Category `number` of a list: a name, or a mapping with `name` and `guideline`."""
    if isinstance(data, str):
        return Category(name=data)
    if not isinstance(data, dict) or not data.get("name"):
        raise ValueError(f"category {number} needs a `name` (and may have a `guideline`), got {data!r}")
    for field, value in data.items():
        if not isinstance(value, str | None):
            kind = type(value).__name__
            raise ValueError(f"category {number}: `{field}` is {value!r}, of type {kind}: write text, in quotes")
    unknown = sorted(set(data) - set(Category.model_fields))
    if unknown:
        raise ValueError(f"category {number} ({data['name']!r}) has unknown keys {unknown}: use name and guideline")
    return Category(**{field: value for field, value in data.items() if value is not None})
