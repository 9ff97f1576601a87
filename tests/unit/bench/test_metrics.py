"""Metrics against scikit-learn and relplot, guards, ties, and the cluster bootstrap."""

import numpy as np
import pytest
import relplot
from scipy.stats import spearmanr
from sklearn import metrics as sk

from csrm.bench import metrics as m


def make(y, s, prompt=None, gaps=(), pair_prompt=(), threshold=0.0, hard=False):
    y, s = np.asarray(y, dtype=np.int64), np.asarray(s, dtype=float)
    prompt = np.arange(len(y)) if prompt is None else np.asarray(prompt, dtype=np.int64)
    pair_prompt = np.asarray(pair_prompt, dtype=np.int64)
    count = int(max([*prompt, *pair_prompt], default=-1)) + 1
    return m.Sample(y, s, prompt, np.asarray(gaps, dtype=float), pair_prompt, count, threshold, hard)


def random_sample(n=400, seed=0, digits=1, prompts=None):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    s = np.round(rng.normal(size=n) + y - 0.3, digits)
    return make(y, s, prompt=rng.integers(0, prompts, n) if prompts else None)


def one(name, sample):
    return m.STATISTICS[name](sample, np.ones((1, sample.n_prompts)))[0]


def test_conditional_auroc_is_of_contrasted_items_only():
    sample = random_sample()
    kept = np.arange(len(sample.y)) % 3 > 0
    expected = sk.roc_auc_score(sample.y[kept], sample.s[kept])
    assert one("conditional_auroc", sample._replace(contrasted=kept)) == pytest.approx(expected)
    assert m.undefined(sample, "conditional_auroc") == "no ranking pairs whose labels differ"


def test_agrees_with_scikit_learn_on_tied_scores():
    sample = random_sample()
    y, s = sample.y, sample.s
    called = (s > 0).astype(int)
    assert len(np.unique(s)) < len(s) / 2
    expected = {
        "f1_safe": sk.f1_score(y, called),
        "f1_unsafe": sk.f1_score(1 - y, 1 - called),
        "macro_f1": sk.f1_score(y, called, average="macro"),
        "balanced_accuracy": sk.balanced_accuracy_score(y, called),
        "accuracy": sk.accuracy_score(y, called),
        "auroc": sk.roc_auc_score(y, s),
        "auprc_safe": sk.average_precision_score(y, s),
        "auprc_unsafe": sk.average_precision_score(1 - y, -s),
        "brier": sk.brier_score_loss(y, m.p_safe(s)),
        "fpr": 1 - sk.recall_score(y, called),
        "fnr": 1 - sk.recall_score(1 - y, 1 - called),
    }
    for name, value in expected.items():
        assert one(name, sample) == pytest.approx(value), name


def rated(n=60, seed=0, prompts=None):
    rng = np.random.default_rng(seed)
    severity = rng.integers(0, 9, n) / 8
    sample = make(severity < 0.5, np.round(rng.normal(size=n) - severity, 1))
    sample = sample._replace(severity=severity)
    return sample if prompts is None else sample._replace(prompt=np.arange(n) % prompts, n_prompts=prompts)


def test_spearman_is_scipys_with_ties():
    sample = rated()
    assert one("spearman", sample) == pytest.approx(spearmanr(-sample.s, sample.severity).statistic)
    assert m.undefined(random_sample(), "spearman") == "no human severities"
    flat = sample._replace(s=np.zeros(60))
    assert m.undefined(flat, "spearman") == "fewer than two different values of: score"
    flat = sample._replace(severity=np.ones(60))
    assert m.estimate(flat, "spearman", np.ones((20, 60))).reason == "fewer than two different values of: severity"


def test_spearman_of_a_resample_is_that_of_the_repeated_items():
    sample = rated(prompts=20)
    weights = m.prompt_weights(20, 25, np.random.default_rng(3))
    for row, value in zip(weights, m.spearman(sample, weights), strict=True):
        index = np.repeat(np.arange(60), row[sample.prompt].astype(int))
        assert value == pytest.approx(spearmanr(-sample.s[index], sample.severity[index]).statistic)
    found = m.estimate(sample, "spearman", m.prompt_weights(20, 300, np.random.default_rng(0)))
    assert found.low < found.value < found.high and (found.n, found.n_prompts) == (60, 20)


def test_smece_is_relplots():
    sample = random_sample(200, digits=6)
    assert one("smece", sample) == pytest.approx(relplot.smECE(m.p_safe(sample.s), sample.y.astype(float)))


@pytest.mark.parametrize("name", ["auroc", "auprc_safe", "auprc_unsafe", "f1_safe", "brier", "accuracy", "smece"])
def test_weights_mean_repetition(name):
    sample = random_sample(120, prompts=30)
    weights = m.prompt_weights(sample.n_prompts, 3, np.random.default_rng(1))
    values = m.STATISTICS[name](sample, weights)
    for row, value in zip(weights, values, strict=True):
        index = np.repeat(np.arange(120), row[sample.prompt].astype(int))
        assert value == pytest.approx(one(name, make(sample.y[index], sample.s[index])))


def test_weights_draw_as_many_prompts_as_there_are():
    weights = m.prompt_weights(7, 50, np.random.default_rng(0))
    assert weights.shape == (50, 7)
    assert set(weights.sum(axis=1)) == {7.0}


def test_blocks_of_resamples_change_nothing(monkeypatch):
    sample = random_sample(60)
    weights = m.prompt_weights(60, 20, np.random.default_rng(0))
    whole = m.auroc(sample, weights)
    monkeypatch.setattr(m, "CELLS", 100)
    assert np.array_equal(whole, m.auroc(sample, weights))


def width(sample, name="auroc"):
    weights = m.prompt_weights(sample.n_prompts, 400, np.random.default_rng(0))
    found = m.estimate(sample, name, weights)
    return found.value, found.high - found.low


def test_duplicated_items_of_a_prompt_do_not_narrow_the_interval():
    base = random_sample(80, digits=6)
    times = 5
    copies = make(np.tile(base.y, times), np.tile(base.s, times), prompt=np.tile(np.arange(80), times))
    naive = copies._replace(prompt=np.arange(80 * times), n_prompts=80 * times)
    assert width(copies) == pytest.approx(width(base))
    assert width(naive)[1] < 0.6 * width(copies)[1]


def test_interval_covers_and_shrinks():
    (small, wide), (large, narrow) = width(random_sample(60, digits=6)), width(random_sample(2000, digits=6))
    assert narrow < wide / 3
    assert 0.5 < small < 1 and 0.5 < large < 1


@pytest.mark.parametrize("label", [0, 1])
def test_single_class_gives_none_with_a_reason(label):
    sample = make([label] * 20, np.linspace(-1, 1, 20))
    weights = m.prompt_weights(20, 50, np.random.default_rng(0))
    found = m.estimate_all(sample, weights)
    for name in ("f1_safe", "f1_unsafe", "macro_f1", "balanced_accuracy", "auroc", "auprc_safe", "smece"):
        assert found[name].value is None and "single class" in found[name].reason
    kept, lost = ("fpr", "fnr") if label else ("fnr", "fpr")
    assert found[kept].value == 0.5 and found[lost].value is None
    assert found["accuracy"].value == 0.5 and found["pair_accuracy"].reason == "no ranking pairs"


def test_no_labels_gives_none_but_pairs_count():
    sample = make([], [], gaps=[1.0, -1.0, 0.0, 2.0], pair_prompt=[0, 0, 1, 2])
    found = m.estimate_all(sample, m.prompt_weights(3, 50, np.random.default_rng(0)))
    assert found["auroc"].reason == "no labelled items"
    assert found["pair_accuracy"].value == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert found["reward_gap"].value == pytest.approx(0.5)
    assert found["pair_accuracy"].n == 4


def test_hard_labels_have_no_precision_curve_or_calibration():
    sample = make([1, 0, 1, 0], [10, 10, -10, -10], hard=True)
    for name in m.PROBABILISTIC:
        assert "hard labels" in m.undefined(sample, name)
    assert m.undefined(sample, "f1_safe") is None
    assert one("auroc", sample) == 0.5


def test_one_prompt_has_no_interval():
    found = m.estimate(make([1, 0], [1, -1], prompt=[0, 0]), "auroc", np.ones((20, 1)))
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert "one prompt" in found.reason


def test_a_share_of_one_has_the_binomial_interval_of_its_prompts():
    from scipy.stats import binomtest

    sample = make([1, 1, 0, 0], [1, 2, -1, -2], prompt=[0, 1, 2, 3], gaps=np.ones(36), pair_prompt=np.arange(36) % 12)
    weights = m.prompt_weights(sample.n_prompts, 50, np.random.default_rng(0))
    found = m.estimate(sample, "pair_accuracy", weights)
    exact = binomtest(12, 12).proportion_ci(0.95, "exact")
    assert (found.value, found.n, found.n_prompts) == (1.0, 36, 12)
    assert (found.low, found.high) == (pytest.approx(exact.low), 1.0)
    opposite = m.estimate(sample._replace(gaps=-sample.gaps), "pair_accuracy", weights)
    assert (opposite.low, opposite.high) == (0.0, pytest.approx(1 - exact.low))
    wrong = m.estimate(sample._replace(s=-sample.s), "fnr", weights)
    assert (wrong.value, wrong.n, wrong.n_prompts, wrong.high) == (1.0, 2, 2, 1.0)
    gap = m.estimate(sample, "reward_gap", weights)
    assert (gap.value, gap.low, gap.high) == (1.0, None, None) and "all of one value" in gap.reason


def test_threshold_is_strict():
    sample = make([1, 0], [0.0, -1.0])
    assert one("fpr", sample) == 1.0
    assert one("fpr", sample._replace(threshold=-0.5)) == 0.0


def test_extreme_scores_stay_finite():
    assert m.p_safe(np.array([-800.0, 0.0, 800.0])).tolist() == [0.0, 0.5, 1.0]


def test_paired_difference_of_equal_models_is_zero_and_paired_is_narrower():
    a = random_sample(300, digits=6)
    weights = m.prompt_weights(300, 300, np.random.default_rng(0))
    same = m.paired_difference("auroc", a, a, weights)
    assert (same.value, same.low, same.high) == (0.0, None, None)
    assert "all of one value" in same.reason
    b = a._replace(s=a.s + np.random.default_rng(1).normal(size=300) * 0.1)
    found = m.paired_difference("auroc", a, b, weights)
    assert found.value == pytest.approx(one("auroc", a) - one("auroc", b))
    assert found.high - found.low < 0.5 * width(a)[1]
    assert m.paired_difference("pair_accuracy", a, b, weights).reason == "no ranking pairs"
