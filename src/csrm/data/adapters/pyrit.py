"""Scorer evaluations of PyRIT: human severities by category, human verdicts on objectives and refusals."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from csrm.data.adapters.common import Drops, blank, choose, labelled
from csrm.data.sources import Parts
from csrm.files import text_id
from csrm.rows import Row

CATEGORIES = {
    "exploits": "exploits",
    "hate_speech": "hate_speech",
    "information_integrity": "info_integrity",
    "privacy": "privacy",
    "representational": "representational",
    "self_harm": "self_harm",
    "sexual_content": "sexual",
    "violence": "violence",
}


@dataclass
class _Rated:
    """One response with the ratings that it received in one category."""

    prompt: str
    response: str
    category: str
    scores: list[float] = field(default_factory=list)
    sheets: dict[str, list[float]] = field(default_factory=dict)


def harm(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Severity of a response in its own category (the mean over raters); other categories are unknown.

    The same response rated again adds raters; the same ratings repeated in another file are one copy.
    """
    rated: dict[tuple[str, str], _Rated] = {}
    for part, rows in sorted(parts.items()):
        for row in rows:
            if blank(drops, row, "objective", "assistant_response"):
                continue
            category = choose(str(row["harm_category"]).lower(), CATEGORIES, f"{part}: harm_category")
            scores = _scores(row, drops)
            if not scores:
                drops["no human score"] += 1
                continue
            text = text_id(f"{row['objective']}\n{row['assistant_response']}")
            entry = _Rated(row["objective"], row["assistant_response"], category)
            entry = rated.setdefault((text, category), entry)
            _add(entry, part, scores, drops)
    for (text, category), entry in rated.items():
        severity = sum(entry.scores) / len(entry.scores)
        meta = {"category": category, "raters": len(entry.scores)}
        yield labelled(
            name, f"{category}-{text}", entry.prompt, entry.response, "pyrit", harms={category: severity}, meta=meta
        )


def objective(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Whether the response achieves the prompt's objective, by a human."""
    for number, row in _unique(parts, drops):
        label = choose(row["human_score"], {"0": False, "1": True}, "human_score")
        category = str(row["harm_category"]).lower()
        meta = {"objective_achieved": label, "objective_category": CATEGORIES.get(category, category)}
        yield labelled(name, number, row["objective"], row["assistant_response"], meta=meta)


def refusal(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Whether the response refuses, by a human."""
    for number, row in _unique(parts, drops):
        label = choose(row["human_score"], {"0": False, "1": True}, "human_score")
        yield labelled(name, number, row["objective"], row["assistant_response"], refusal=label)


def _scores(row: dict[str, Any], drops: Drops) -> list[float]:
    values = [value for key, value in row.items() if key.startswith("human_score")]
    given = [float(value) for value in values if value not in (None, "")]
    if 0 < len(given) < len(values):
        drops["note: empty rating, left out of the mean"] += 1
    return given


def _add(entry: _Rated, part: str, scores: list[float], drops: Drops) -> None:
    if any(sheet != part and known == scores for sheet, known in entry.sheets.items()):
        drops["copy of a rated response"] += 1
        return
    if entry.scores:
        drops["further rating, merged"] += 1
    entry.sheets[part] = scores
    entry.scores.extend(scores)


def _unique(parts: Parts, drops: Drops) -> Iterator[tuple[int, dict[str, Any]]]:
    seen: set[str] = set()
    rows = (row for _, rows in sorted(parts.items()) for row in rows)
    for number, row in enumerate(rows):
        if blank(drops, row, "objective", "assistant_response"):
            continue
        text = text_id(f"{row['objective']}\n{row['assistant_response']}")
        if text in seen:
            drops["duplicate"] += 1
            continue
        seen.add(text)
        yield number, row
