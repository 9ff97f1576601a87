"""Raw files -> parts: named lists of plain dicts that adapters read. Pinned files are verified first."""

import csv
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from csrm.data.fetch import check_file
from csrm.data.tables import Dataset, PinnedFile, in_place, load_files
from csrm.files import read_dicts

Parts = dict[str, list[dict[str, Any]]]
PACKAGE = Path(__file__).parents[1]


def input_paths(dataset: Dataset, config_dir: Path, raw: Path | None, data_root: Path | None) -> list[Path]:
    """The files (or the hub folder) that `load_parts` reads.

    Raises:
        ValueError: if neither the mirror nor the raw folder is known.
    """
    if dataset.source == "project":
        return [PACKAGE / str(dataset.parts)]
    folder, mirror = raw, in_place(dataset, data_root)
    if mirror or dataset.source in ("mirror", "own"):
        folder = mirror
    if folder is None:
        placed = dataset.source in ("mirror", "own")
        option = f"--data-root (the folder that holds {dataset.mirror})" if placed else "--raw"
        raise ValueError(f"data set {dataset.id!r}: give {option}, it says where the files are")
    if dataset.source == "own":
        return [folder / str(dataset.parts)]
    files = _pinned(dataset, config_dir, mirrored=mirror is not None)
    return [folder / file.path for file in files] or [folder]


def load_parts(dataset: Dataset, config_dir: Path, raw: Path | None, data_root: Path | None) -> Parts:
    """Read a data set's files, verified against `files.tsv`.

    Raises:
        FileNotFoundError: if a file is missing; the message names it and the fix.
        ValueError: if a file's bytes differ from the pin.
    """
    paths = input_paths(dataset, config_dir, raw, data_root)
    if dataset.source == "project":
        if not paths[0].is_file():
            raise FileNotFoundError(f"{paths[0]} is missing; reinstall the package, which ships it")
        return {"rows": read_file(paths[0])}
    if dataset.source == "own":
        if not paths[0].is_file():
            raise FileNotFoundError(f"{paths[0]} is missing; write it as {dataset.page} says")
        return {"rows": read_file(paths[0])}
    mirrored = in_place(dataset, data_root) is not None
    files = _pinned(dataset, config_dir, mirrored)
    if not files:
        return read_hub(dataset, paths[0])
    parts: Parts = {}
    for file, path in zip(files, paths, strict=True):
        check_file(path, file.sha256, _fix(dataset, mirrored))
        parts[file.part] = read_file(path)
    return parts


def load_fixture(dataset_id: str) -> Parts:
    """Placeholder rows in the source's schema, written by the project: adapters run without network or licence."""
    path = fixture_path(dataset_id)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: data set {dataset_id!r} has no fixture")
    parts: Parts = yaml.safe_load(path.read_text(encoding="utf-8"))
    return parts


def fixture_path(dataset_id: str) -> Path:
    """Where the fixture of a data set lies."""
    return Path(__file__).parent / "fixtures" / f"{dataset_id}.yaml"


def read_file(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines, JSON, YAML or CSV as dicts; a JSON mapping becomes {"key", "value"} rows.

    CSV files may start with metadata lines (`# ...`).
    """
    if path.suffix == ".jsonl":
        return list(read_dicts(path))
    if path.suffix in {".json", ".yaml", ".yml"}:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        return data if isinstance(data, list) else [{"key": key, "value": value} for key, value in data.items()]
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = next((line for line in lines if not line.startswith("#")), "")
            return list(csv.DictReader(itertools.chain([header], lines)))
    raise ValueError(f"{path}: unknown file type; expected .jsonl, .json, .yaml or .csv")


def read_hub(dataset: Dataset, folder: Path) -> Parts:
    """Read the declared configs and splits of a hub repository: `folder/repo` as fetched, or `folder` of a mirror.

    Raises:
        FileNotFoundError: if the folder is missing.
        ValueError: if it lacks a config or split.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing; run `csrm fetch --dataset {dataset.id} --output {folder}`")
    import datasets

    repo = folder / "repo" if (folder / "repo").is_dir() else folder
    with tempfile.TemporaryDirectory(prefix="csrm-hub-") as cache:
        parts: Parts = {}
        for part, (config, split) in dataset.hub_parts().items():
            try:
                found = datasets.load_dataset(str(repo), name=config, split=split, cache_dir=cache)
            except ValueError as error:
                raise ValueError(
                    f"{repo} holds no split {split!r} of config {config!r} of data set {dataset.id!r} ({error}); "
                    "a mirror in part is not enough: complete it, or unset data_root to use the hub"
                ) from error
            parts[part] = [dict(row) for row in found]
        return parts


def _pinned(dataset: Dataset, config_dir: Path, mirrored: bool) -> list[PinnedFile]:
    if mirrored:
        return load_files(config_dir, dataset.id)
    return load_files(config_dir, str(dataset.raw), str(dataset.parts)) if dataset.source == "pypi" else []


def _fix(dataset: Dataset, mirrored: bool) -> str:
    if mirrored:
        return f"data_root must hold an unchanged {dataset.mirror}: copy it again, or unset data_root to use the hub"
    return f"run `csrm fetch --dataset {dataset.id}` again"
