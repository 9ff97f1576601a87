"""Metrics documents of a run, as tables and figures read them."""

from pathlib import Path
from typing import Any

from csrm import files

CONFIG = "benchmarks.tsv"


def outputs_of(prefix: Path, *suffixes: str) -> list[Path]:
    """The files `PREFIX.<suffix>`."""
    return [Path(f"{prefix}.{suffix}") for suffix in suffixes]


def read_benchmarks(config_dir: Path) -> Any:
    """The table of benchmarks by id."""
    from csrm.bench.registry import load_benchmarks

    return load_benchmarks(config_dir)


def read_documents(paths: list[Path], kind: str, scale: str | None = None) -> list[dict[str, Any]]:
    """Metrics documents of one kind, in the order of their paths; other kinds are passed over.

    Raises:
        ValueError: if a document was measured at another scale than the table's.
    """
    found = []
    for path in sorted(paths):
        document = files.read_json(path)
        if _kind(document) != kind:
            continue
        if scale is not None and document["scale"] != scale:
            raise ValueError(f"{path} was measured at scale {document['scale']!r}, the table is for {scale!r}")
        found.append(document)
    return found


def _kind(document: dict[str, Any]) -> str:
    from csrm.report import alignment, pareto

    if alignment.is_comparison(document):
        return "alignment"
    return "sweep" if pareto.is_sweep(document) else str(document.get("kind"))
