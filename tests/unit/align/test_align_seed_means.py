"""Means of policies over seeds, and what Table 5 shows of them."""

import csv
import io

import numpy as np
import pytest

from csrm.align.metrics import compare
from csrm.align.schema import Judgement
from csrm.align.seed_means import invalid_over_seeds, over_seeds
from csrm.bench.bootstrap import bootstrap_difference
from csrm.report import alignment
from csrm.settings import AlignSettings, MetricSettings

METRICS = MetricSettings.model_validate({"bootstrap": 2000})
PROMPTS = 20
HELP = ("helpful", "unhelpful")


def judged(seed: int, safe: float, shift: int = 0) -> list[Judgement]:
    """Two responses to each of 20 prompts; a share `safe` of the prompts is safe."""
    rng = np.random.default_rng(seed)
    return [
        Judgement(
            id=f"{p}-{n}",
            prompt_id=str(p + shift),
            safe=p < safe * PROMPTS,
            helpfulness=float(rng.random()),
            refused=False,
            on_topic=True,
        )
        for p in range(PROMPTS)
        for n in range(2)
    ]


def test_runs_of_a_configuration_are_named_after_their_seeds() -> None:
    settings = AlignSettings.model_validate({"configs": ["a", "b"], "seeds": [1, 7]})
    assert settings.runs_of("a") == ["a", "a+seed-1", "a+seed-7"]
    assert settings.runs()["b+seed-7"] == ("b", 7) and settings.runs()["b"] == ("b", None)


def test_configurations_that_no_policy_is_trained_on() -> None:
    settings = AlignSettings.model_validate({"configs": ["a"], "tested": ["t"], "seeds": [1]})
    assert settings.runs() == {"a": ("a", None), "t": ("t", None), "a+seed-1": ("a", 1), "t+seed-1": ("t", 1)}
    with pytest.raises(ValueError, match=r"align.tested \['a'\] are in align.configs"):
        AlignSettings.model_validate({"configs": ["a"], "tested": ["a", "t"]})


def test_table5_names_the_configuration_that_a_policy_was_trained_under() -> None:
    head = {"reward": "csrm", "algorithm": "DPO", "scale": "demo", "seed": 0, "seeds": [0], "over_seeds": None}
    own, other = judged(0, 0.5), judged(1, 0.7)
    unknown = [row.model_copy(update={"safe": None}) if row.prompt_id == "0" else row for row in other]
    found = compare(own, unknown, METRICS, 0)
    documents = [{**head, "config": "no-meat", "trained_under": trained, **found} for trained in ("no-pets", "no-meat")]
    text, _ = alignment.alignment_table(documents)
    rows = {(r["model"], r["metric"]): r for r in csv.DictReader(io.StringIO(text)) if r["benchmark"] == "no-meat"}
    told = rows["csrm, trained under no-pets (DPO)", "cosa_score"]
    assert told["measured"] == rows["csrm (DPO)", "cosa_score"]["measured"]
    low, high = found["all"]["after"]["cosa_score_bounds"]
    assert told["reason"] == f"2 without a verdict: between {low:.3f} and {high:.3f}" and high > low
    shares = [float(rows["before alignment", f"{h}_{s}"]["measured"]) for h in HELP for s in ("safe", "unsafe")]
    assert sum(shares) == pytest.approx(1) and shares[0] == pytest.approx(0.5)


def test_the_mean_the_seeds_and_their_spread() -> None:
    found = over_seeds([judged(0, 0.5), judged(1, 0.7), judged(2, 0.9)], None, METRICS, 0)["safety"]
    assert found["by_seed"] == pytest.approx([0.5, 0.7, 0.9]) and found["value"] == pytest.approx(0.7)
    assert found["sd"] == pytest.approx(0.2) and (found["n"], found["n_prompts"]) == (40, PROMPTS)
    assert 0.3 < found["low"] < 0.6 and 0.8 < found["high"] <= 1


def test_seeds_widen_the_interval() -> None:
    """Equal seeds give the interval of prompts alone, different ones a wider one."""
    same = over_seeds([judged(0, 0.7)] * 3, None, METRICS, 0)["safety"]
    other = over_seeds([judged(0, 0.5), judged(0, 0.7), judged(0, 0.9)], None, METRICS, 0)["safety"]
    assert same["value"] == pytest.approx(other["value"]) and same["sd"] == pytest.approx(0)
    assert other["high"] - other["low"] > 1.1 * (same["high"] - same["low"])


def test_one_seed_is_the_paired_bootstrap_over_prompts() -> None:
    before, after = judged(0, 0.5), judged(1, 0.8)
    found = over_seeds([after], [before], METRICS, 0)["helpfulness"]
    values = [[r.helpfulness for r in rows] for rows in (before, after)]
    clusters = [r.prompt_id for r in before]
    rng = np.random.default_rng(1)
    expected = bootstrap_difference(values[0], clusters, values[1], clusters, 2000, METRICS.level, rng)
    assert found["value"] == pytest.approx(expected.value) and found["sd"] is None
    assert (found["low"], found["high"]) == (
        pytest.approx(expected.low, abs=0.03),
        pytest.approx(expected.high, abs=0.03),
    )


def test_a_share_of_one_in_every_seed_has_an_exact_interval() -> None:
    found = over_seeds([judged(0, 1.0), judged(1, 1.0)], None, METRICS, 0)["safety"]
    assert (found["value"], found["low"], found["high"]) == (1, pytest.approx(0.025 ** (1 / PROMPTS)), 1)


def test_differences_are_paired_seed_by_seed_on_shared_prompts() -> None:
    runs = [judged(0, 0.5), judged(1, 0.9)]
    zero = over_seeds(runs, runs, METRICS, 0)["helpfulness"]
    assert (zero["value"], zero["low"], zero["by_seed"]) == (0, None, [0, 0])
    shifted = over_seeds(runs, [judged(0, 0.5, shift=15), judged(1, 0.9, shift=15)], METRICS, 0)["safety"]
    assert shifted["n_prompts"] == 5
    with pytest.raises(ValueError, match="2 seeds of the policy, 1 of the other"):
        over_seeds(runs, runs[:1], METRICS, 0)
    with pytest.raises(ValueError, match="prompts that occur in every run"):
        over_seeds(runs, [judged(0, 0.5, shift=90)] * 2, METRICS, 0)


def test_table5_shows_seeds_and_the_difference_of_two_rewards() -> None:
    before, after = [judged(0, 0.5), judged(1, 0.5)], [judged(2, 0.7), judged(3, 0.9)]
    head = {"config": "no-pets", "reward": "csrm", "algorithm": "DPO", "scale": "demo", "seed": 0, "seeds": [0, 1]}
    means = {
        "before": over_seeds(before, None, METRICS, 0),
        "after": over_seeds(after, None, METRICS, 0),
        "difference": over_seeds(after, before, METRICS, 0),
    }
    document = {**head, **compare(before[0], after[0], METRICS, 0), "over_seeds": means}
    pair = {**head, "kind": "policies", "other": "zero-shot", "difference": over_seeds(after, before, METRICS, 0)}
    text, _ = alignment.alignment_table([pair, document])
    rows = {(r["model"], r["metric"]): r for r in csv.DictReader(io.StringIO(text)) if r["benchmark"] == "no-pets"}
    first, mean = (rows[f"csrm (DPO){end}", "safety"] for end in ("", ", mean of 2 seeds"))
    assert float(first["measured"]) == pytest.approx(0.7) and first["seed"] == "0"
    assert float(mean["measured"]) == pytest.approx(0.8) and mean["seed"] == ""
    assert mean["reason"] == "seeds 0, 1: 0.700 0.900 (sd 0.141)"
    against = rows["csrm minus zero-shot (DPO), mean of 2 seeds", "safety"]
    assert float(against["measured"]) == pytest.approx(0.3) and float(against["low"]) > 0
    assert ("csrm (DPO), after minus before, mean of 2 seeds", "cosa_score") in rows
    one = {**pair, "seeds": [0], "difference": over_seeds(after[:1], before[:1], METRICS, 0)}
    assert "| csrm minus zero-shot (DPO) | safety | measured@demo |" in alignment.alignment_table([one, document])[1]
    elsewhere = {**one, "trained_under": "no-alcohol"}
    printed = alignment.alignment_table([elsewhere, document])[1]
    assert "| csrm minus zero-shot, trained under no-alcohol (DPO) | safety | measured@demo |" in printed


def test_invalid_verdicts_bound_the_mean_over_seeds_and_its_difference() -> None:
    whole = [judged(0, 0.5), judged(1, 0.5)]
    asked = whole[0][0].model_copy(update={"safe": None})
    partly = [[asked, *whole[0][1:]], whole[1]]
    assert invalid_over_seeds(whole, None)["invalid"] == 0
    score = over_seeds(whole, None, METRICS, 0)["cosa_score"]["value"]
    assert invalid_over_seeds(whole, None)["cosa_score_bounds"] == pytest.approx([score, score])
    lost = whole[0][0].helpfulness or 0.0
    found = invalid_over_seeds(partly, None)
    ends = [score + (end - lost) / (2 * len(whole[0])) for end in (-1, 1)]
    assert found["invalid"] == 1 and found["cosa_score_bounds"] == pytest.approx(ends)
    minus = invalid_over_seeds(whole, partly)["cosa_score_bounds"]
    assert minus == pytest.approx([score - ends[1], score - ends[0]])
    difference = over_seeds(partly, whole, METRICS, 0) | invalid_over_seeds(partly, whole)
    head = {"config": "no-pets", "reward": "csrm", "algorithm": "DPO", "scale": "demo", "seed": 0, "seeds": [0, 1]}
    pair = {**head, "kind": "policies", "other": "zero-shot", "difference": difference}
    rows = csv.DictReader(io.StringIO(alignment.alignment_table([pair])[0]))
    reasons = {row["metric"]: row["reason"] for row in rows if row["benchmark"] == "no-pets"}
    assert "1 without a verdict: between" in reasons["cosa_score"] and "without" not in reasons["safety"]
