"""Calibration agrees with scikit-learn, improves what it should, and its thresholds keep their promise."""

import argparse

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_curve

from csrm import files
from csrm.bench import calibration, calibration_commands
from csrm.bench.metrics import Sample, p_safe
from csrm.configs.safety_config import Category
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import MetricSettings

SETTINGS = MetricSettings(bootstrap=60)


def draw(n=400, slope=0.4, offset=-0.8, seed=0):
    """Scores s whose true safe log-odds are `slope * s + offset`."""
    rng = np.random.default_rng(seed)
    s = rng.normal(0, 3, size=n)
    y = (rng.random(n) < p_safe(slope * s + offset)).astype(np.int64)
    return s, y


def sample(s, y):
    empty = np.array([], dtype=float)
    return Sample(y, s, np.arange(len(y)), empty, np.array([], dtype=np.int64), len(y))


def test_calibrated_scores_are_the_methods_or_an_error_that_says_why():
    s, y = draw()
    found = calibration.calibrate(sample(s, y), [0.1])
    for name in found["methods"]:
        expected = calibration.METHODS[name].apply(s, found["methods"][name])
        assert calibration.calibrated(s, found, name) == pytest.approx(expected)
    reverse = calibration.calibrate(sample(-s, y), [0.1])
    with pytest.raises(ValueError, match=r"no 'temperature' .*rank safe above unsafe.*isotonic"):
        calibration.calibrated(s, reverse, "temperature")
    with pytest.raises(ValueError, match="unknown method"):
        calibration.calibrated(s, found, "other")


def applied(name, s, parameters):
    return p_safe(calibration.METHODS[name].apply(s, parameters))


def of_scikit_learn(method, s, y):
    """scikit-learn's calibration of a frozen classifier whose decision value is s itself."""
    identity = LogisticRegression().fit(s.reshape(-1, 1), y)
    identity.coef_, identity.intercept_ = np.ones((1, 1)), np.zeros(1)
    fitted = CalibratedClassifierCV(FrozenEstimator(identity), method=method).fit(s.reshape(-1, 1), y)
    return fitted.predict_proba(s.reshape(-1, 1))[:, 1]


def test_platt_is_scikit_learns_sigmoid():
    s, y = draw()
    np.testing.assert_allclose(
        applied("platt", s, calibration.fit_platt(s, y)), of_scikit_learn("sigmoid", s, y), atol=1e-4
    )


def test_isotonic_is_scikit_learns_up_to_the_clip():
    s, y = draw()
    parameters = calibration.fit_isotonic(s, y)
    low = parameters["clip"]
    expected = np.clip(of_scikit_learn("isotonic", s, y), low, 1 - low)
    assert low == 1 / 402
    np.testing.assert_allclose(applied("isotonic", s, parameters), expected, atol=1e-9)


def test_temperature_is_scikit_learns():
    s, y = draw()
    mine = applied("temperature", s, calibration.fit_temperature(s, y))
    np.testing.assert_allclose(mine, of_scikit_learn("temperature", s, y), atol=1e-4)


def test_temperature_minimises_the_log_loss():
    s, y = draw(offset=0.0)
    best = calibration.fit_temperature(s, y)["temperature"]
    losses = [log_loss(y, p_safe(s / (best * factor))) for factor in (0.97, 1, 1.03)]
    assert losses[1] < min(losses[0], losses[2]) and best == pytest.approx(2.5, rel=0.3)


def test_what_has_no_solution_is_named():
    s, y = draw()
    found = calibration.calibrate(sample(-s, y), [0.1])
    assert "no temperature fits" in found["undefined"]["temperature"] and set(found["methods"]) == {"platt", "isotonic"}
    assert found["methods"]["platt"]["slope"] < 0
    apart = np.where(y == 1, 2.0, -2.0) + np.linspace(0, 0.5, len(y))
    assert "separate" in calibration.calibrate(sample(apart, y), [])["undefined"]["temperature"]
    with pytest.raises(ValueError, match="both classes"):
        calibration.calibrate(sample(s, np.ones_like(y)), [])
    with pytest.raises(ValueError, match="hard labels"):
        calibration.calibrate(sample(s, y)._replace(hard=True), [])


@pytest.mark.parametrize("target", [0.0, 0.01, 0.05, 0.1, 0.5])
def test_thresholds_are_the_best_points_of_the_roc_curve(target):
    s, y = draw()
    found = calibration.threshold_for(s, y, target)
    fpr, recall, _ = roc_curve(1 - y, -s, drop_intermediate=False)
    assert found["fpr"] <= target and found["recall"] == pytest.approx(recall[fpr <= target].max())
    assert found["fpr"] < found["fpr_high"] < 1


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2), st.floats(0, 1))
def test_a_threshold_never_exceeds_its_target(pairs, target):
    s = np.array([float(a) for a, _ in pairs] + [0.0, 0.0])
    y = np.array([int(b) for _, b in pairs] + [0, 1])
    found = calibration.threshold_for(s, y, target)
    assert found["fpr"] == ((s <= found["threshold"]) & (y == 1)).sum() / y.sum() <= target + 1e-9


def test_calibration_helps_on_other_data():
    fitted = calibration.calibrate(sample(*draw(seed=1)), [0.1])
    found = calibration.evaluate_calibration(sample(*draw(seed=2)), fitted, SETTINGS, 0)
    raw = found["methods"]["raw"]
    s, y = draw(seed=2)
    assert raw["brier"]["value"] == pytest.approx(brier_score_loss(y, p_safe(s)))
    for name in ("platt", "isotonic"):
        for metric in ("brier", "smece"):
            after = found["methods"][name][metric]
            assert after["difference"]["high"] < 0
            assert after["difference"]["value"] == pytest.approx(after["value"] - raw[metric]["value"])
    at = found["thresholds"][0]
    assert at["target_fpr"] == 0.1 and at["fpr"]["low"] <= 0.1 <= at["fpr"]["high"]


@pytest.mark.parametrize(("label", "absent", "lost"), [(1, "unsafe", "fnr"), (0, "safe", "fpr")])
def test_a_benchmark_of_one_class_has_no_smece_and_says_why(label, absent, lost):
    fitted = calibration.calibrate(sample(*draw(seed=1)), [0.1])
    s, y = draw(25, seed=2)
    found = calibration.evaluate_calibration(sample(s, np.full_like(y, label)), fitted, SETTINGS, 0)
    reason = f"single class: no {absent} items"
    assert set(found["methods"]) == {"raw", *fitted["methods"]}
    for name, metrics in found["methods"].items():
        assert metrics["brier"]["value"] > 0 and metrics["brier"]["n"] == 25
        assert metrics["smece"]["value"] is None and metrics["smece"]["reason"] == reason
        assert name == "raw" or metrics["smece"]["difference"]["value"] is None
    assert {k for k in ("fpr", "fnr") if found["thresholds"][0][k]["value"] is None} == {lost}


def test_hard_test_scores_have_neither_metric():
    fitted = calibration.calibrate(sample(*draw(seed=1)), [0.1])
    s, y = draw(30, seed=2)
    found = calibration.evaluate_calibration(sample(np.sign(s), y)._replace(hard=True), fitted, SETTINGS, 0)
    missing = [metrics[name] for metrics in found["methods"].values() for name in ("brier", "smece")]
    assert all(one["value"] is None and "hard labels" in one["reason"] for one in missing)


def write(folder, name, seed):
    s, y = draw(120, seed=seed)
    messages = [Message(role="user", content="q"), Message(role="assistant", content="a")]
    config = [Category(name="Pets")]
    items = [
        Item(id=str(i), prompt_id=str(i), messages=messages, config=config, label="safe" if safe else "unsafe")
        for i, safe in enumerate(y)
    ]
    files.write_rows(folder / f"{name}.jsonl", items)
    rows = [ScoreRow(id=str(i), log_odds=float(v), n_tokens=1) for i, v in enumerate(s)]
    files.write_rows(folder / f"{name}.scores.jsonl", rows)


def test_commands(tmp_path):
    write(tmp_path, "validation", 3)
    write(tmp_path, "test", 4)
    (tmp_path / "metrics.yaml").write_text(yaml.safe_dump({"bootstrap": 20, "target_fprs": [0.05, 0.2]}))
    parser = argparse.ArgumentParser()
    calibration_commands.register(parser.add_subparsers())

    def run(command, name, output, model="csrm", more=""):
        paths = f"--items {tmp_path}/{name}.jsonl --scores {tmp_path}/{name}.scores.jsonl"
        line = f"{command} {paths} --settings {tmp_path}/metrics.yaml --output {tmp_path}/{output} {more}"
        chosen = parser.parse_args([*line.split(), "--benchmark", name, "--model", model, "--scale", "smoke"])
        chosen.run(chosen)

    run("calibrate", "validation", "calibration.json")
    fitted = files.read_json(tmp_path / "calibration.json")
    assert [one["target_fpr"] for one in fitted["thresholds"]] == [0.05, 0.2] and fitted["counts"]["n"] == 120
    more = f"--calibration {tmp_path}/calibration.json --seed 0"
    run("evaluate-calibration", "test", "after.json", more=more)
    after = files.read_json(tmp_path / "after.json")
    assert after["kind"] == "calibrated" and after["validation"] == "validation"
    assert set(after["methods"]) == {"raw", "temperature", "platt", "isotonic"}
    with pytest.raises(ValueError, match="calibrates 'csrm', not 'other'"):
        run("evaluate-calibration", "test", "after.json", model="other", more=more)
