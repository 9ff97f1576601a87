"""Manual audit of SA (CSRM App. D): do people order retained strict/lenient pairs as the strictness test did?

The sheet is blind: the two versions of a category stand in random order as A and B. Which one is the strict one is not
in the sheet; `score` finds it by comparing the texts with the groups that the sheet was drawn from.
"""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from csrm.augment.prompts import conversation
from csrm.bench.metrics import interval, prompt_weights
from csrm.files import text_id
from csrm.rows import Branch, Group

COLUMNS = ("id", "conversation", "version_a", "version_b", "stricter")
ANSWERS = ("A", "B", "equal")
SHOWN = 5  # ids that an error names


class Judged(NamedTuple):
    """One pair of the sheet: the side of the strict version, and the prompt that it shares with other pairs."""

    prompt_id: str
    intended: str


def sheet(groups: Sequence[Group], size: int, seed: int) -> str:
    """A CSV sheet of `size` sampled strict/lenient pairs (all, where there are fewer), column `stricter` empty.

    Raises:
        ValueError: if there is no pair.
    """
    paired = [group for group in groups if group.pairs]
    if not paired:
        raise ValueError("the groups hold no strict/lenient pair: nothing passed the strictness test")
    rng = Random(f"{seed}:sheet")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group in rng.sample(paired, min(size, len(paired))):
        sides = list(versions(group))
        rng.shuffle(sides)
        writer.writerow([group.id, conversation(group.messages), *sides, ""])
    return out.getvalue()


def versions(group: Group) -> tuple[str, str]:
    """The texts of the strict and the lenient version: the categories in which the two configurations differ."""
    lenient, strict = (group.branches[index] for index in group.pairs[0])
    return _differing(strict, lenient), _differing(lenient, strict)


def read_sheet(path: str | Path) -> dict[str, dict[str, str]]:
    """The lines of a filled sheet by id, `stricter` in the spelling of `ANSWERS`.

    Raises:
        ValueError: for missing columns, repeated ids, lines without an answer and unknown answers.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {missing}; save it as comma-separated CSV with {list(COLUMNS)}")
        lines = [{key: (line[key] or "").strip() for key in COLUMNS} for line in reader]
    repeated = [key for key, count in Counter(line["id"] for line in lines).items() if count > 1]
    empty = [line["id"] for line in lines if not line["stricter"]]
    spelled = {answer.casefold(): answer for answer in ANSWERS}
    unknown = [
        f"{x['id']}: {x['stricter']!r}" for x in lines if x["stricter"] and x["stricter"].casefold() not in spelled
    ]
    allowed = f"write one of {list(ANSWERS)} in column `stricter`"
    for found, what, fix in (
        (repeated, "ids that occur more than once", "keep one line of each"),
        (empty, "lines without an answer", allowed),
        (unknown, "unknown answers", allowed),
    ):
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            raise ValueError(f"{path}: {len(found)} {what} ({', '.join(found[:SHOWN])}{more}); {fix}")
    if not lines:
        raise ValueError(f"{path} has no lines; export a sheet with `csrm strictness-sheet`")
    return {line["id"]: {**line, "stricter": spelled[line["stricter"].casefold()]} for line in lines}


def key(lines: Mapping[str, Mapping[str, str]], groups: Sequence[Group]) -> dict[str, Judged]:
    """Which side of each line is the strict one.

    Raises:
        ValueError: if a line is not a pair of these groups.
    """
    known = {group.id: group for group in groups if group.pairs}
    judged = {}
    for identity, line in lines.items():
        sides = [text_id(line["version_a"]), text_id(line["version_b"])]
        strict, lenient = map(text_id, versions(known[identity])) if identity in known else ("", "")
        if sorted(sides) != sorted((strict, lenient)):
            raise ValueError(
                f"line {identity!r} of the sheet is not a pair of --groups, or its text was edited: give the groups "
                "that the sheet was exported from, and change column `stricter` only"
            )
        judged[identity] = Judged(known[identity].prompt_id, ANSWERS[sides.index(strict)])
    return judged


def score(
    answers: Mapping[str, Mapping[str, str]], judged: Mapping[str, Judged], resamples: int, level: float, seed: int
) -> dict[str, Any]:
    """Agreement and Cohen's kappa of each annotator with the intended order, and of the annotators with each other.

    Intervals are percentile bootstraps over prompts.

    Args:
        answers: annotator -> id of a pair -> answer.
        judged: id -> what was intended; every annotator must have answered all of these and no other.
        resamples: bootstrap resamples.
        level: level of the intervals.
        seed: seed of the resampling.

    Raises:
        ValueError: if an annotator answered other pairs.
    """
    for name, found in answers.items():
        differing = sorted(found.keys() ^ judged.keys())
        if differing:
            raise ValueError(f"the sheet of {name!r} has other pairs than the first one, such as {differing[0]!r}")
    order = sorted(judged)
    prompts = {prompt: i for i, prompt in enumerate(sorted({judged[i].prompt_id for i in order}))}
    index = np.array([prompts[judged[i].prompt_id] for i in order])
    weights = prompt_weights(len(prompts), resamples, np.random.default_rng(seed))[:, index]
    intended = [judged[i].intended for i in order]
    given = {name: [found[i] for i in order] for name, found in answers.items()}
    compared = {name: _compare(column, intended, weights, level, len(prompts)) for name, column in given.items()}
    between = {
        f"{a} and {b}": _compare(given[a], given[b], weights, level, len(prompts)) for a, b in combinations(given, 2)
    }
    return {"pairs": len(order), "prompts": len(prompts), "with_intended_order": compared, "annotators": between}


def _compare(a: Sequence[str], b: Sequence[str], weights: Any, level: float, prompts: int) -> dict[str, Any]:
    left, right = np.array(a), np.array(b)
    equal = (left == right).astype(float)
    drawn = [_kappa(left, right, row) for row in weights]
    return {
        "agreement": _estimate(float(equal.mean()), weights @ equal / weights.sum(axis=1), level, prompts),
        "kappa": _estimate(_kappa(left, right, np.ones(len(left))), np.array(drawn), level),
    }


def _kappa(left: Any, right: Any, weights: Any) -> float:
    """Cohen's kappa; NaN where both sides hold one and the same value only."""
    from sklearn.metrics import cohen_kappa_score

    kept = weights > 0
    if len({*left[kept], *right[kept]}) < 2:
        return float("nan")
    return float(cohen_kappa_score(left[kept], right[kept], sample_weight=weights[kept]))


def _estimate(value: float, drawn: Any, level: float, share_of: int | None = None) -> dict[str, float | None]:
    low, high, _ = interval(drawn, level, share_of)
    return {"value": value if np.isfinite(value) else None, "low": low, "high": high}


def _differing(own: Branch, other: Branch) -> str:
    return "\n".join(f"{c.name}: {c.guideline}" for c in own.config if c not in other.config)
