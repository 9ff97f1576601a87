"""`csrm prepare`: parts -> validated rows, cut to length and capped, with everything that was dropped counted."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
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
    check(dataset, rows)
    cuts: Counter[str] = Counter()
    rows = [row for row in (cut(row, settings, cuts) for row in rows) if not _same(row, counts)]
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
        "cut": dict(cuts),
    }
    return kept, notes


def check(dataset: Dataset, rows: list[AnyRow]) -> None:
    """Rows exist, have the declared kind, and unique ids."""
    if not rows:
        raise ValueError(f"{dataset.id}: no row is left after the adapter {dataset.adapter!r}")
    wrong = next((row for row in rows if not isinstance(row, KINDS[dataset.kind])), None)
    if wrong:
        raise ValueError(f"{dataset.id}: row {wrong.id} is a {type(wrong).__name__}, the table says {dataset.kind!r}")
    twice = [key for key, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"{dataset.id}: ids occur more than once: {twice[:5]}")


def cut(row: AnyRow, settings: DataSettings, counts: Counter[str]) -> AnyRow:
    """Shorten a row: responses keep their first words, prompts their last; `prompt_id` follows what is left."""

    def response(text: str) -> str:
        return _words(text, settings.max_response_words, counts, "response")

    def prompt(text: str) -> str:
        return _words(text, -settings.max_prompt_words, counts, "prompt")

    if isinstance(row, Row):
        messages = [
            Message(role=m.role, content=response(m.content) if m.role == "assistant" else prompt(m.content))
            if m.role != "system"
            else m
            for m in row.messages
        ]
        return row.model_copy(update={"messages": messages, "prompt_id": context_id(messages)})
    text = prompt(row.prompt)
    update = {"prompt": text, "prompt_id": text_id(text)}
    if isinstance(row, PairRow):
        update |= {"chosen": response(row.chosen), "rejected": response(row.rejected)}
    return row.model_copy(update=update)


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


def _words(text: str, limit: int, counts: Counter[str], what: str) -> str:
    """The first `limit` words of a text (the last ones when negative), the whitespace between them unchanged."""
    if len(text.split()) <= abs(limit):
        return text
    counts[what] += 1
    if limit < 0:
        return text[len(text.rsplit(maxsplit=-limit)[0]) :].strip()
    rest = text.split(maxsplit=limit)[-1]
    return text[: len(text) - len(rest)].strip()
