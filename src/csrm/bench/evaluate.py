"""From items and scores to metrics: joining, subsets, constant baselines, and differences between two models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from csrm import files
from csrm.bench.dynabench import any_turn
from csrm.bench.metrics import (
    SMECE_RESAMPLES,
    STATISTICS,
    Sample,
    estimate,
    estimate_all,
    paired_difference,
    prompt_weights,
    undefined,
)
from csrm.bench.parse_failures import RULES, apply_rule
from csrm.bench.severity import SEVERITY, by_threshold
from csrm.provenance import manifest_path
from csrm.rows import Item, ScoreRow
from csrm.settings import MetricSettings

SUBSET_SMECE_RESAMPLES = 50


def item_set(path: Path) -> dict[str, Any]:
    """Which items a number was measured on: their file's sha256, and how many `score.item_cap` left out.

    `left_out` is None where no manifest beside the items tells.
    """
    manifest = manifest_path(path)
    notes = files.read_json(manifest)["notes"] if manifest.is_file() else {}
    return {"sha256": files.sha256(path), "left_out": notes.get("dropped_by_item_cap")}


def join(items: Sequence[Item], scores: Sequence[ScoreRow]) -> list[ScoreRow]:
    """The score of each item, in the items' order.

    Raises:
        ValueError: if an item is scored twice or not at all, a score has no item, or a score is not a finite number.
    """
    if not items:
        raise ValueError("there are no items to evaluate")
    by_id = {row.id: row for row in scores}
    if len(by_id) != len(scores) or len({item.id for item in items}) != len(items):
        raise ValueError("an id occurs twice among the items or among the scores")
    missing = [item.id for item in items if item.id not in by_id]
    extra = sorted(by_id.keys() - {item.id for item in items})
    if missing or extra:
        raise ValueError(
            f"scores do not match the items: {len(missing)} items without a score {missing[:3]}, "
            f"{len(extra)} scores without an item {extra[:3]}"
        )
    bad = [row.id for row in scores if not np.isfinite(row.log_odds)]
    if bad:
        raise ValueError(f"the score of item {bad[0]!r} is {by_id[bad[0]].log_odds} ({len(bad)} such items)")
    return [by_id[item.id] for item in items]


def pairs_of(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Positions (chosen, rejected) of the complete ranking pairs.

    Raises:
        ValueError: if a pair does not have exactly one chosen and one rejected item.
    """
    found: dict[str, dict[str, int]] = {}
    for position, item in enumerate(items):
        if item.pair is None:
            continue
        ranks = found.setdefault(item.pair, {})
        if item.rank is None or item.rank in ranks:
            raise ValueError(f"item {item.id!r}: pair {item.pair!r} has rank {item.rank!r} twice or not at all")
        ranks[item.rank] = position
    broken = [pair for pair, ranks in found.items() if len(ranks) != 2]
    if broken:
        raise ValueError(f"pair {broken[0]!r} lacks its chosen or rejected item ({len(broken)} such pairs)")
    return [(ranks["chosen"], ranks["rejected"]) for ranks in found.values()]


def is_hard(log_odds: Sequence[float]) -> bool:
    """Whether a scorer's output is a hard label: at most two distinct values over more than two items."""
    return len(log_odds) > 2 and len(set(log_odds)) <= 2


def make_sample(items: Sequence[Item], log_odds: Sequence[float], threshold: float, hard: bool) -> Sample:
    """Arrays of the labelled items and the pairs; prompts are the clusters."""
    prompts = {name: index for index, name in enumerate(sorted({item.prompt_id for item in items}))}
    labelled = [i for i, item in enumerate(items) if item.label is not None]
    pairs = pairs_of(items)
    rated = [items[i].meta.get(SEVERITY) for i in labelled]
    return Sample(
        y=np.array([items[i].label == "safe" for i in labelled], dtype=np.int64),
        s=np.array([log_odds[i] for i in labelled], dtype=np.float64),
        prompt=np.array([prompts[items[i].prompt_id] for i in labelled], dtype=np.int64),
        gaps=np.array([log_odds[c] - log_odds[r] for c, r in pairs], dtype=np.float64),
        pair_prompt=np.array([prompts[items[c].prompt_id] for c, _ in pairs], dtype=np.int64),
        n_prompts=len(prompts),
        threshold=threshold,
        hard=hard,
        contrasted=np.isin(labelled, [i for c, r in pairs if items[c].label != items[r].label for i in (c, r)]),
        severity=np.array(rated, dtype=np.float64) if rated and None not in rated else None,
    )


def counts(items: Sequence[Item], scores: Sequence[ScoreRow], sample: Sample) -> dict[str, int]:
    """Sizes that every metric needs beside it."""
    n_safe = int(sample.y.sum())
    return {
        "n": len(items),
        "n_safe": n_safe,
        "n_unsafe": len(sample.y) - n_safe,
        "n_unlabelled": len(items) - len(sample.y),
        "n_prompts": sample.n_prompts,
        "n_pairs": len(sample.gaps),
        "n_tied_pairs": int((sample.gaps == 0).sum()),
        "truncated": sum(row.truncated for row in scores),
        "cut": sum(item.cut for item in items),
    }


def constants(sample: Sample) -> dict[str, dict[str, float | None]]:
    """What the two constant predictors reach on the same labels."""
    names = ("f1_safe", "f1_unsafe", "macro_f1", "balanced_accuracy", "accuracy", "fpr", "fnr")
    ones, found = np.ones((1, sample.n_prompts)), {}
    for name, value in (("always_safe", np.inf), ("always_unsafe", -np.inf)):
        constant = sample._replace(s=np.full(len(sample.s), value))
        found[name] = {
            metric: None if undefined(constant, metric) else float(STATISTICS[metric](constant, ones)[0])
            for metric in names
        }
    return found


def _part(
    items: Sequence[Item], scores: Sequence[ScoreRow], settings: MetricSettings, seed: int, hard: bool, resamples: int
) -> dict[str, Any]:
    sample = make_sample(items, [row.log_odds for row in scores], settings.threshold, hard)
    weights = prompt_weights(sample.n_prompts, settings.bootstrap, np.random.default_rng(seed))
    found = estimate_all(sample, weights, settings.level, [name for name in STATISTICS if name != "smece"])
    found["smece"] = estimate(sample, "smece", weights[:resamples], settings.level)
    return {
        "counts": counts(items, scores, sample),
        "metrics": {name: value._asdict() for name, value in found.items()},
        "constants": constants(sample),
    }


def evaluate(items: Sequence[Item], scores: Sequence[ScoreRow], settings: MetricSettings, seed: int) -> dict[str, Any]:
    """Counts, metrics with intervals and constant baselines, over all items and per subset."""
    items, raw = any_turn(items, join(items, scores), settings.threshold)
    unparsed = sum(not row.parsed for row in raw)
    failures = _under_every_rule(items, raw, settings.threshold) if unparsed else {}
    hard = is_hard([row.log_odds for row in raw if row.parsed])  # a rule's own value is no score
    items, scores = apply_rule(items, raw, settings.parse_failure)
    if not items:
        raise ValueError(f"none of {len(raw)} answers held a verdict: metrics.parse_failure 'exclude' leaves nothing")
    subsets = {}
    for name in sorted({item.subset for item in items}):
        kept = _whole_pairs(items, name)
        if not kept:
            continue
        part = ([items[i] for i in kept], [scores[i] for i in kept])
        subsets[name] = _part(*part, settings, seed, hard, SUBSET_SMECE_RESAMPLES)
    sample = make_sample(items, [row.log_odds for row in scores], settings.threshold, hard)
    return {
        "seed": seed,
        "level": settings.level,
        "threshold": settings.threshold,
        "bootstrap": settings.bootstrap,
        "bootstrap_smece": min(settings.bootstrap, SMECE_RESAMPLES),
        "score_kind": "hard" if hard else "graded",
        "unparsed": unparsed,
        "parse_failure": settings.parse_failure,
        "f1_by_parse_failure_rule": failures,
        "overall": _part(items, scores, settings, seed, hard, SMECE_RESAMPLES),
        "subsets": subsets,
        "by_severity_threshold": by_threshold(sample, settings.bootstrap, settings.level, seed),
    }


def _under_every_rule(
    items: Sequence[Item], scores: Sequence[ScoreRow], threshold: float
) -> dict[str, dict[str, float | None]]:
    """F1 of both classes under every rule for parse failures."""
    found: dict[str, dict[str, float | None]] = {}
    for rule in RULES:
        kept, changed = apply_rule(items, scores, rule)
        sample = make_sample(kept, [row.log_odds for row in changed], threshold, hard=False)
        ones = np.ones((1, sample.n_prompts))
        found[rule] = {
            name: None if undefined(sample, name) else float(STATISTICS[name](sample, ones)[0])
            for name in ("f1_safe", "f1_unsafe")
        }
    return found


def _whole_pairs(items: Sequence[Item], subset: str) -> list[int]:
    """Positions of a subset's items; a pair belongs to the subset of its chosen item, so no pair is torn."""
    home = {item.pair: item.subset for item in items if item.rank == "chosen"}
    return [i for i, item in enumerate(items) if home.get(item.pair, item.subset) == subset]


def compare(
    items: Sequence[Item],
    scores_a: Sequence[ScoreRow],
    scores_b: Sequence[ScoreRow],
    settings: MetricSettings,
    seed: int,
    names: Sequence[str] = ("auroc", "pair_accuracy"),
) -> dict[str, Any]:
    """Differences a - b with paired, prompt-clustered intervals; parse failures count as `metrics.parse_failure` says.

    Under `exclude`, an item that either model left without a verdict is left out for both.
    """
    merged = [any_turn(items, join(items, scores), settings.threshold) for scores in (scores_a, scores_b)]
    items, joined = merged[0][0], [rows for _, rows in merged]
    if settings.parse_failure == "exclude":
        both = [a.parsed and b.parsed for a, b in zip(*joined, strict=True)]
        joined = [
            [row.model_copy(update={"parsed": parsed}) for row, parsed in zip(rows, both, strict=True)]
            for rows in joined
        ]
    a, b = (sample_of(items, rows, settings) for rows in joined)
    weights = prompt_weights(a.n_prompts, settings.bootstrap, np.random.default_rng(seed))
    return {
        "seed": seed,
        "level": settings.level,
        "bootstrap": settings.bootstrap,
        "n_prompts": a.n_prompts,
        "differences": {name: paired_difference(name, a, b, weights, settings.level)._asdict() for name in names},
    }


def sample_of(items: Sequence[Item], scores: Sequence[ScoreRow], settings: MetricSettings) -> Sample:
    """The sample of a file of items and a file of scores, under the rule for parse failures."""
    items, raw = any_turn(items, join(items, scores), settings.threshold)
    hard = is_hard([row.log_odds for row in raw if row.parsed])
    kept, rows = apply_rule(items, raw, settings.parse_failure)
    return make_sample(kept, [row.log_odds for row in rows], settings.threshold, hard)
