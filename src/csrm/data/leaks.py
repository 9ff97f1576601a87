"""`csrm check-leaks`: no normalised prompt of the training text may occur among the benchmarks' prompts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from csrm.files import read_dicts, text_id
from csrm.rows import PairRow, PromptRow, Row

EXAMPLES = 5
AnyRow = TypeVar("AnyRow", Row, PromptRow, PairRow)


def prompt_keys(row: Mapping[str, Any]) -> set[str]:
    """Identifiers of a row's, group's or item's prompt: its `prompt_id` and those of the texts themselves.

    The texts count as well because a stage may have rewritten a prompt and kept its id.
    """
    keys = {str(row["prompt_id"])}
    if "prompt" in row:
        keys.add(text_id(str(row["prompt"])))
    conversations = [row.get("messages"), *(branch.get("messages") for branch in row.get("branches", []))]
    keys.update(_context(messages) for messages in conversations if messages)
    return keys


def benchmark_keys(paths: Iterable[str | Path]) -> set[str]:
    """All prompt identifiers of some files."""
    return {key for path in paths for row in read_dicts(path) for key in prompt_keys(row)}


def without_seen(rows: Sequence[AnyRow], paths: Sequence[str | Path]) -> tuple[list[AnyRow], dict[str, int]]:
    """Rows whose prompts occur in none of some files, and how many were dropped by the first file that holds theirs."""
    if not paths:
        return list(rows), {}
    seen = {str(path): benchmark_keys([path]) for path in paths}
    holders = [_holder(prompt_keys(row.model_dump()), seen) for row in rows]
    kept = [row for row, holder in zip(rows, holders, strict=True) if holder is None]
    return kept, dict(Counter(holder for holder in holders if holder))


def _holder(keys: set[str], seen: Mapping[str, set[str]]) -> str | None:
    return next((path for path, held in seen.items() if keys & held), None)


def check_leaks(train: Iterable[str | Path], benchmarks: Iterable[str | Path]) -> dict[str, Any]:
    """Compare training files with benchmark files; returns the report.

    Raises:
        ValueError: if a prompt is shared; the message gives counts and ids for each benchmark, never texts.
    """
    trained: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for path in train:
        for row in read_dicts(path):
            sizes[str(path)] = sizes.get(str(path), 0) + 1
            trained.update(dict.fromkeys(prompt_keys(row), str(row["id"])))
    report: dict[str, Any] = {"train": sizes, "benchmarks": {}}
    leaks = []
    for path in benchmarks:
        rows = list(read_dicts(path))
        shared = [str(row["id"]) for row in rows if prompt_keys(row) & trained.keys()]
        report["benchmarks"][str(path)] = {"items": len(rows), "shared": len(shared)}
        if shared:
            leaks.append(f"{path}: {len(shared)} of {len(rows)} items, e.g. {', '.join(shared[:EXAMPLES])}")
    if leaks:
        raise ValueError(
            f"training prompts occur in {len(leaks)} benchmark(s); give these sets to `csrm split --exclude`: "
            + "; ".join(leaks)
        )
    return report


def _context(messages: Iterable[Mapping[str, str]]) -> str:
    turns = [message for message in messages if message["role"] != "system"]
    return text_id("\n".join(_before_response(turns)))


def _before_response(turns: list[Mapping[str, str]]) -> Iterator[str]:
    last = turns[:-1] if turns and turns[-1]["role"] == "assistant" else turns
    return (turn["content"] for turn in last)
