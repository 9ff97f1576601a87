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
TEXTS = ("objective", "assistant_response")


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
        raters = sorted({key for row in rows for key in row if key.startswith("human_score")})
        for row in rows:
            if blank(drops, row, *TEXTS):
                continue
            category = choose(str(row["harm_category"]).lower(), CATEGORIES, f"{part}: harm_category")
            scores = _scores(row, raters, drops)
            if not scores:
                drops["no human score"] += 1
                continue
            text = _text(row)
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


def _scores(row: dict[str, Any], raters: list[str], drops: Drops) -> list[float]:
    """The ratings that a row holds of those that its file has columns for."""
    given = [_severity(row[rater], rater) for rater in raters if row.get(rater) not in (None, "")]
    if 0 < len(given) < len(raters):
        drops["note: empty rating, left out of the mean"] += 1
    return given


def _severity(value: Any, rater: str) -> float:
    try:
        severity = float(value)
    except ValueError:
        severity = -1.0
    if not 0 <= severity <= 1:
        raise ValueError(f"{rater}: {value!r} is not a severity in [0, 1]")
    return severity


def _add(entry: _Rated, part: str, scores: list[float], drops: Drops) -> None:
    if any(sheet != part and known == scores for sheet, known in entry.sheets.items()):
        drops["copy of a rated response"] += 1
        return
    if entry.scores:
        drops["further rating, merged"] += 1
    entry.sheets[part] = scores
    entry.scores.extend(scores)


def _unique(parts: Parts, drops: Drops) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with texts, each once; those of a response with both verdicts are left out."""
    rows = [row for _, rows in sorted(parts.items()) for row in rows]
    filled = [(number, row) for number, row in enumerate(rows) if not blank(drops, row, *TEXTS)]
    verdicts: dict[str, set[str]] = {}
    for _, row in filled:
        verdicts.setdefault(_text(row), set()).add(row["human_score"])
    seen: set[str] = set()
    for number, row in filled:
        text = _text(row)
        if len(verdicts[text]) > 1:
            drops["duplicate, other label"] += 1
        elif text in seen:
            drops["duplicate"] += 1
        else:
            seen.add(text)
            yield number, row


def _text(row: dict[str, Any]) -> str:
    return text_id("\n".join(row[field] for field in TEXTS))
