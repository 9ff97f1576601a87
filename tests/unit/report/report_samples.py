"""Synthetic items, scores and metrics documents for the tests of tables."""

import csv
import io

import numpy as np

from csrm.bench.evaluate import evaluate
from csrm.configs.safety_config import Category
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import MetricSettings

SETTINGS = MetricSettings(bootstrap=30)


def make_items(count=40):
    messages = [Message(role="user", content="q"), Message(role="assistant", content="a")]
    config = [Category(name="Pets")]
    return [
        Item(
            id=f"i{n}",
            prompt_id=f"p{n // 2}",
            messages=messages,
            config=config,
            label="safe" if n % 2 else "unsafe",
            pair=f"pair{n // 2}",
            rank="chosen" if n % 2 else "rejected",
        )
        for n in range(count)
    ]


def make_scores(items, seed=0):
    noise = np.random.default_rng(seed).normal(size=len(items))
    return [
        ScoreRow(id=i.id, log_odds=float(z + (i.label == "safe")), n_tokens=3)
        for i, z in zip(items, noise, strict=True)
    ]


def document(benchmark="pyrit-seen", model="csrm", scale="demo", left_out=0):
    items = make_items()
    found = evaluate(items, make_scores(items), SETTINGS, 0)
    names = {"kind": "evaluation", "benchmark": benchmark, "model": model, "scale": scale}
    return {**names, "items": {"sha256": "ab" * 32, "left_out": left_out}, **found}


def measured(value, benchmark, model, metrics, scale="paper"):
    """A document whose metrics have given values."""
    found = document(benchmark, model, scale)
    for metric in metrics:
        found["overall"]["metrics"][metric]["value"] = value[metric]
    return found


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))
