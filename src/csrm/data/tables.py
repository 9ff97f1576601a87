"""The declarative tables `config/{datasets,models,files}.tsv`: what exists, where it comes from, which bytes it has."""

import csv
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

Source = Literal["pypi", "hub", "mirror", "project", "own"]
Cell = Annotated[str | None, BeforeValidator(lambda cell: None if cell in ("-", "") else cell)]
Flag = Annotated[bool, BeforeValidator(lambda cell: {"yes": True, "no": False}.get(cell, cell))]
Entry = TypeVar("Entry", bound=BaseModel)


class _Line(BaseModel):
    """Base of the tables' lines: unknown columns are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Remote(_Line):
    """What data sets and models share: where `csrm fetch` gets them."""

    id: str
    source: Source
    locator: Cell
    revision: Cell
    sha256: Cell
    raw: Cell
    licence: str
    gated: Flag
    page: Cell


class Dataset(Remote):
    """One line of `datasets.tsv`."""

    kind: Literal["labelled", "prompts", "pairs"]
    adapter: str
    mirror: Cell
    parts: Cell

    def hub_parts(self) -> dict[str, tuple[str, str]]:
        """Part name -> (hub config, hub split)."""
        pairs = (item.rpartition("=")[::2] for item in (self.parts or "").split())
        return {part: (place.partition(":")[0], place.partition(":")[2]) for part, place in pairs}


class Model(Remote):
    """One line of `models.tsv`."""

    format: Literal["gguf", "folder", "rule", "reward"]


class PinnedFile(_Line):
    """One line of `files.tsv`: a file whose bytes are known."""

    owner: str
    part: str
    source: str
    path: str
    sha256: str


def read_table(path: str | Path, model: type[Entry]) -> list[Entry]:
    """Read a tab-separated table whose comment lines start with `#`.

    Raises:
        ValueError: if a line does not fit `model`; the message names the file and the line's id.
    """
    with Path(path).open(encoding="utf-8", newline="") as lines:
        entries = []
        for cells in csv.DictReader(_without_comments(lines), delimiter="\t"):
            try:
                entries.append(model.model_validate(cells))
            except ValidationError as error:
                raise ValueError(f"{path}, line {next(iter(cells.values()))!r}: {error}") from None
    return entries


def load_datasets(config_dir: str | Path) -> dict[str, Dataset]:
    """The data sets by id."""
    return {entry.id: entry for entry in read_table(Path(config_dir) / "datasets.tsv", Dataset)}


def load_models(config_dir: str | Path) -> dict[str, Model]:
    """The models by id."""
    return {entry.id: entry for entry in read_table(Path(config_dir) / "models.tsv", Model)}


def folder_licences(config_dir: str | Path) -> dict[str, str]:
    """Folder of raw data or of a raw model, `data/raw/<raw>` or below `data_root`, -> its licences."""
    found: dict[str, set[str]] = {}
    for entry in (*load_datasets(config_dir).values(), *load_models(config_dir).values()):
        mirror = entry.mirror if isinstance(entry, Dataset) else None
        for folder in filter(None, (entry.raw and f"data/raw/{entry.raw}", mirror)):
            found.setdefault(folder, set()).add(entry.licence)
    return {folder: "; ".join(sorted(licences)) for folder, licences in found.items()}


def get(entries: dict[str, Any], key: str, table: str) -> Any:
    """One entry of a table; an unknown id fails with the known ones."""
    if key not in entries:
        raise ValueError(f"{key!r} is not in {table}; known ids: {', '.join(sorted(entries))}")
    return entries[key]


def load_files(config_dir: str | Path, owner: str, pattern: str = "*") -> list[PinnedFile]:
    """The pinned files of `owner` whose part matches `pattern`."""
    files = read_table(Path(config_dir) / "files.tsv", PinnedFile)
    return [file for file in files if file.owner == owner and fnmatchcase(file.part, pattern)]


def in_place(dataset: Dataset, data_root: str | Path | None) -> Path | None:
    """The folder below `data_root` that is read in place, or None when the set has to be fetched.

    A set without a mirror copy is read in place too when `data_root` holds its hub repository (`data_root/<hub id>`).
    """
    if data_root is None:
        return None
    if dataset.mirror:
        return Path(data_root) / dataset.mirror
    if dataset.source == "hub" and dataset.locator and (Path(data_root) / dataset.locator).is_dir():
        return Path(data_root) / dataset.locator
    return None


def at_hand(dataset: Dataset, data_root: str | Path | None) -> bool:
    """Whether a set can be read or fetched: those that nothing can fetch must lie below `data_root`."""
    folder = in_place(dataset, data_root)
    return dataset.source not in ("mirror", "own") or (folder is not None and folder.is_dir())


def raw_id(dataset: Dataset, data_root: str | Path | None = None) -> str | None:
    """Name of the folder below `data/raw` that `csrm prepare` reads, or None when it needs no fetch.

    Raises:
        ValueError: if the set exists only in a local mirror and `data_root` is not set.
    """
    if dataset.source == "project" or in_place(dataset, data_root):
        return None
    if dataset.source in ("mirror", "own"):
        what = "exists only in a local mirror" if dataset.source == "mirror" else f"is yours to write, {dataset.page}"
        raise ValueError(f"data set {dataset.id!r} {what}: set data_root to the folder that holds {dataset.mirror}")
    return dataset.raw


def _without_comments(lines: Iterator[str]) -> Iterator[str]:
    return (line for line in lines if not line.startswith("#"))
