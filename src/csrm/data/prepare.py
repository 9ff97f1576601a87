"""`csrm prepare`: parts -> validated rows, cut to length and capped, with everything that was dropped counted."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from csrm.data.adapters import ADAPTERS
from csrm.data.adapters.common import AnyRow, context_id
from csrm.data.sources import Parts
from csrm.data.tables import Dataset
from csrm.files import text_id
from csrm.rows import Message, PairRow, PromptRow, Row
from csrm.settings import DataSettings

KINDS: dict[str, type[AnyRow]] = {"labelled": Row, "prompts": PromptRow, "pairs": PairRow}
Identified = TypeVar("Identified", bound=AnyRow)


def prepare(dataset: Dataset, parts: Parts, settings: DataSettings) -> tuple[list[AnyRow], dict[str, Any]]:
    """Rows of a data set and the notes of its manifest.

    Raises:
        ValueError: if the adapter is unknown, no row is left, an id occurs twice or a row has the wrong kind.
    """
    if dataset.adapter not in ADAPTERS:
        raise ValueError(f"{dataset.id}: adapter {dataset.adapter!r} is not one of {sorted(ADAPTERS)}")
    counts: Counter[str] = Counter()
    try:
        rows = list(ADAPTERS[dataset.adapter](dataset.id, parts, counts))
    except KeyError as error:
        raise ValueError(f"{dataset.id}: a source row has no field {error}; the source's schema has changed") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{dataset.id}: a source row has a value that the adapter {dataset.adapter!r} cannot read ({error}); "
            "correct or remove the row"
        ) from error
    except ValueError as error:
        raise ValueError(f"{dataset.id}: {error}") from error
    check(dataset, rows, +counts)
    lengths: dict[str, list[int]] = {"prompt": [], "response": []}
    rows = [row for row in (cut(row, settings, lengths) for row in rows) if not _same(row, counts)]
    kept = cap(rows, settings.row_cap)
    counts = +counts
    dropped = {reason: count for reason, count in counts.items() if not reason.startswith("note: ")}
    if len(rows) > len(kept):
        dropped["row_cap"] = len(rows) - len(kept)
    notes = {
        "rows_in": sum(map(len, parts.values())),
        "rows_out": len(kept),
        "prompts_out": len({row.prompt_id for row in kept}),
        "dropped": dropped,
        "noticed": {reason.removeprefix("note: "): n for reason, n in counts.items() if reason.startswith("note: ")},
        "words": audit(lengths, {"prompt": settings.max_prompt_words, "response": settings.max_response_words}),
    }
    return kept, notes


def check(dataset: Dataset, rows: list[AnyRow], counts: Mapping[str, int]) -> None:
    """Rows exist, have the declared kind, and unique ids; `counts` says what the adapter left out."""
    if not rows:
        why = ", ".join(f"{reason}: {count}" for reason, count in sorted(counts.items())) or "the source has no rows"
        raise ValueError(f"{dataset.id}: no row is left after the adapter {dataset.adapter!r} ({why})")
    wrong = next((row for row in rows if not isinstance(row, KINDS[dataset.kind])), None)
    if wrong:
        raise ValueError(f"{dataset.id}: row {wrong.id} is a {type(wrong).__name__}, the table says {dataset.kind!r}")
    twice = [key for key, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"{dataset.id}: ids occur more than once: {twice[:5]}")


def cut(row: AnyRow, settings: DataSettings, lengths: dict[str, list[int]]) -> AnyRow:
    """Shorten a row: responses keep their first words, prompts their last; `prompt_id` follows what is left.

    A row of which words were left out says so (`cut`); `lengths` gets the words of each prompt and response before.
    """
    limits = {"prompt": -settings.max_prompt_words, "response": settings.max_response_words}
    over = []

    def short(text: str, what: str) -> str:
        lengths[what].append(len(text.split()))
        over.append(lengths[what][-1] > abs(limits[what]))
        return _words(text, limits[what]) if over[-1] else text

    if isinstance(row, Row):
        kinds = {"user": "prompt", "assistant": "response"}
        messages = [
            Message(role=m.role, content=short(m.content, kinds[m.role])) if m.role in kinds else m
            for m in row.messages
        ]
        done = {"messages": messages, "prompt_id": context_id(messages)}
        return row.model_copy(update={**done, "cut": any(over)})
    text = short(row.prompt, "prompt")
    update = {"prompt": text, "prompt_id": text_id(text)}
    if isinstance(row, PairRow):
        update |= {"chosen": short(row.chosen, "response"), "rejected": short(row.rejected, "response")}
    return row.model_copy(update={**update, "cut": any(over)})


def audit(lengths: Mapping[str, Sequence[int]], limits: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Words of prompts and responses before the cut: number, median, 95th percentile, maximum; how many were cut."""
    found = {}
    for what, words in ((what, sorted(words)) for what, words in lengths.items() if words):
        at = {"median": words[(len(words) - 1) // 2], "p95": words[math.ceil(0.95 * len(words)) - 1], "max": words[-1]}
        found[what] = {"n": len(words), **at, "limit": limits[what], "cut": sum(n > limits[what] for n in words)}
    return found


def _same(row: AnyRow, counts: Counter[str]) -> bool:
    """Whether the cut has made the responses of a pair equal."""
    same = isinstance(row, PairRow) and row.chosen == row.rejected
    counts["equal responses after the cut"] += same
    return same


def cap(rows: list[Identified], limit: int | None) -> list[Identified]:
    """At most `limit` rows: whole prompts in the order of their hash, then back in the order of `rows`."""
    if limit is None or len(rows) <= limit:
        return rows
    by_prompt = group(rows)
    kept: set[str] = set()
    for prompt_id in sorted(by_prompt, key=lambda key: hashlib.sha256(f"cap:{key}".encode()).hexdigest()):
        if len(kept) + len(by_prompt[prompt_id]) <= limit:
            kept.update(row.id for row in by_prompt[prompt_id])
    return [row for row in rows if row.id in kept]


def group(rows: Iterable[Identified]) -> dict[str, list[Identified]]:
    """Rows by `prompt_id`, in order of first appearance."""
    groups: dict[str, list[Identified]] = defaultdict(list)
    for row in rows:
        groups[row.prompt_id].append(row)
    return dict(groups)


def _words(text: str, limit: int) -> str:
    """The first `limit` words of a longer text (the last ones when negative), the whitespace between them unchanged."""
    if limit < 0:
        return text[len(text.rsplit(maxsplit=-limit)[0]) :].strip()
    rest = text.split(maxsplit=limit)[-1]
    return text[: len(text) - len(rest)].strip()
