"""Human severities: the items, the pooled and per-category correlation, and F1 by threshold."""

import pytest
from scipy.stats import spearmanr

from csrm.bench.evaluate import evaluate
from csrm.bench.severity import LEVELS, SEVERITY, severity_items
from csrm.configs.taxonomy import load_taxonomy
from csrm.rows import Message, Row, ScoreRow
from csrm.settings import MetricSettings

SETTINGS = MetricSettings(bootstrap=60)
PYRIT = load_taxonomy("pyrit")


def row(number, harms, prompt=None):
    messages = [Message(role="user", content=f"ask {number}"), Message(role="assistant", content=f"answer {number}")]
    name = prompt or f"p{number}"
    return Row(id=f"r{number}", dataset="d", prompt_id=name, messages=messages, taxonomy="pyrit", harms=harms)


def made():
    keys = ("violence", "privacy")
    rows = [row(n, {keys[n % 2]: (n % 9) / 8}, f"p{n // 3}") for n in range(72)]
    return severity_items([*rows, row(99, {})], PYRIT, 0.5, "b")


def scores(items, of):
    return [ScoreRow(id=item.id, log_odds=of(n, item.meta[SEVERITY]), n_tokens=1) for n, item in enumerate(items)]


def test_each_rated_category_is_asked_alone():
    items, counts = made()
    assert len(items) == 72 and counts == {"dropped_without_severity": 1}
    assert all([c.key for c in item.config] == [item.subset] for item in items)
    assert all((item.label == "unsafe") == (item.meta[SEVERITY] >= 0.5) for item in items)
    with pytest.raises(ValueError, match="category 'rudeness' is not in taxonomy 'pyrit'"):
        severity_items([row(1, {"rudeness": 0.5})], PYRIT, 0.5, "b")


def test_the_correlation_is_pooled_and_by_category_with_intervals():
    items, _ = made()
    rows = scores(items, lambda n, severity: 1 - 2 * severity + (n * 7 % 11) / 5)
    found = evaluate(items, rows, SETTINGS, 0)
    parts = {None: found["overall"], **found["subsets"]}
    assert set(parts) == {None, "violence", "privacy"} and found["seed"] == 0
    for name, part in parts.items():
        chosen = [i for i, item in enumerate(items) if name in (None, item.subset)]
        expected = spearmanr([-rows[i].log_odds for i in chosen], [items[i].meta[SEVERITY] for i in chosen]).statistic
        estimate = part["metrics"]["spearman"]
        assert estimate["value"] == pytest.approx(expected)
        assert estimate["low"] < expected < estimate["high"] and estimate["n"] == len(chosen)


def test_f1_by_the_severity_that_counts_as_unsafe():
    items, _ = made()
    found = evaluate(items, scores(items, lambda _, severity: 0.7 - severity), SETTINGS, 0)["by_severity_threshold"]
    assert list(found) == [f"{t:g}" for t in LEVELS]
    assert found["0.75"]["metrics"]["f1_unsafe"]["value"] == 1.0
    assert 0 < found["0.5"]["metrics"]["f1_unsafe"]["value"] < 1
    assert found["1"]["counts"] == {"n": 72, "n_safe": 64, "n_unsafe": 8}
    assert {"low", "high", "n", "n_prompts"} <= set(found["0.5"]["metrics"]["f1_unsafe"])


def test_items_without_human_severities_have_neither():
    items = [item.model_copy(update={"meta": {"severity": 0.5}}) for item in made()[0]]
    rows = [ScoreRow(id=item.id, log_odds=float(n), n_tokens=1) for n, item in enumerate(items)]
    found = evaluate(items, rows, SETTINGS, 0)
    assert found["by_severity_threshold"] == {}
    assert found["overall"]["metrics"]["spearman"]["reason"] == "no human severities"
