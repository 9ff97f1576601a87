"""Taxonomies: the categories that a data set labels with, and the bank families that they belong to."""

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrm.configs.safety_config import Category
from csrm.yaml_reader import read_yaml

HERE = Path(__file__).parent


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Level(_Strict):
    """What a response of one severity contains."""

    severity: float = Field(gt=0, le=1)
    phrase: str = Field(min_length=1)


class TaxonomyCategory(_Strict):
    """One category of a data set.

    `key` is the key of `Row.harms`; `families` are the families of the category bank that it covers; `related`
    lists categories too close to serve as a known-absent contrast; `levels` rise in severity.
    """

    key: str = Field(min_length=1)
    name: str = Field(min_length=1)
    guideline: str = ""
    families: list[str] = []
    related: list[str] = []
    levels: list[Level] = []

    def category(self) -> Category:
        """The category as a configuration shows it."""
        return Category(name=self.name, guideline=self.guideline, key=self.key)


class Taxonomy(_Strict):
    """The categories of one data set."""

    name: str
    source: str = ""
    categories: list[TaxonomyCategory] = Field(min_length=1)

    def __getitem__(self, key: str) -> TaxonomyCategory:
        """The category of a key.

        Raises:
            ValueError: if the key is unknown; the message lists the known ones.
        """
        for category in self.categories:
            if category.key == key:
                return category
        raise ValueError(f"category {key!r} is not in taxonomy {self.name!r}: {[c.key for c in self.categories]}")

    def families(self, key: str) -> set[str]:
        """The families that a category belongs to."""
        return set(self[key].families)


@cache
def load_taxonomy(name: str, folder: str | Path | None = None) -> Taxonomy:
    """Read `taxonomies/<name>.yaml` of the package (or of `folder`).

    Raises:
        ValueError: if the taxonomy is unknown or invalid; the message names the file.
    """
    folder = Path(folder) if folder else HERE / "taxonomies"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        raise ValueError(f"taxonomy {name!r} is unknown: {path} does not exist; known: {', '.join(known) or 'none'}")
    try:
        return Taxonomy.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ValueError(f"{path}: {error}") from None
