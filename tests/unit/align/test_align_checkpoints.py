"""Policies kept along training, and the curve of reward and judge."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from test_align_policy import pairs

from csrm.align.checkpoints import Answers, checkpoint_steps, reward_curve
from csrm.align.dpo import train_policy
from csrm.align.policy import load_policy
from csrm.align.reinforce import train_reinforce
from csrm.align.schema import Judgement
from csrm.configs.safety_config import SafetyConfig
from csrm.report.checkpoints import curve_table
from csrm.rows import PromptRow, ScoreRow
from csrm.settings import AlignSettings, MetricSettings

METRICS = MetricSettings.model_validate({"bootstrap": 100})
SETTINGS = AlignSettings.model_validate({"lora_rank": 4, "steps": 3, "batch_pairs": 2, "max_new_tokens": 4})


def test_steps_are_equally_spaced_and_end_at_the_end() -> None:
    assert checkpoint_steps(12, 4) == [3, 6, 9, 12] and checkpoint_steps(12, 1) == [12]
    assert checkpoint_steps(3, 2) == [2, 3]
    with pytest.raises(
        ValueError, match=r"5 policies .* 4 steps of training: train longer, or lower align.checkpoints"
    ):
        checkpoint_steps(4, 5)


def test_settings_keep_no_more_policies_than_steps() -> None:
    with pytest.raises(ValueError, match=r"align.checkpoints 4 must not exceed align.steps 3"):
        AlignSettings.model_validate({"steps": 3, "checkpoints": 4})
    assert AlignSettings.model_validate({"checkpoints": 3}).kept("dpo") == ["dpo+checkpoint-1", "dpo+checkpoint-2"]
    assert AlignSettings.model_validate({}).kept("dpo") == []


def _weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_keeping_policies_leaves_the_last_one_as_it_is(
    tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path
) -> None:
    kept = [tmp_path / "one", tmp_path / "two"]
    arguments = (tiny_policy, pairs(no_alcohol), "dpo", SETTINGS, 0, tmp_path / "scratch")
    trained = train_policy(*arguments, tmp_path / "end", "float32", checkpoints=kept)
    train_policy(*arguments, tmp_path / "alone", "float32")
    assert trained.notes["checkpoints"] == [1, 2] and trained.notes["updates"] == 3
    assert len({_weights(folder) for folder in (*kept, tmp_path / "end")}) == 3
    assert _weights(tmp_path / "end") == _weights(tmp_path / "alone")
    load_policy(tiny_policy, kept[0], dtype="float32")
    with pytest.raises(ValueError, match="4 policies cannot be kept in 3 steps"):
        train_policy(*arguments, tmp_path / "end", "float32", checkpoints=[*kept, tmp_path / "three"])


def test_policies_of_reinforce_are_kept_by_update(tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path) -> None:
    settings = AlignSettings.model_validate(
        {"lora_rank": 4, "max_new_tokens": 4, "reinforce": {"rollouts": 2, "batch": 2}}
    )
    prompts = [PromptRow(id=n, dataset="x", prompt_id=n, prompt=f"{n} ?") for n in ("cat", "dog")]

    def brevity(asked: list[str], responses: list[str]) -> list[float]:
        return [1 / (1 + len(text)) for text in responses]

    trained = train_reinforce(
        tiny_policy,
        prompts,
        no_alcohol,
        brevity,
        settings,
        0,
        tmp_path / "scratch",
        tmp_path / "end",
        "float32",
        checkpoints=[tmp_path / "one"],
    )
    assert (trained.notes["checkpoints"], trained.notes["updates"]) == ([1], 2)
    assert _weights(tmp_path / "one") != _weights(tmp_path / "end")


def _answers(rows: Sequence[tuple[float | None, bool, float]]) -> Answers:
    """(log-odds or None for an empty response, safe, helpfulness), two a prompt."""
    judged = [
        Judgement(id=str(n), prompt_id=str(n // 2), safe=safe, helpfulness=h, refused=False, on_topic=True)
        for n, (_, safe, h) in enumerate(rows)
    ]
    return Answers(
        judged, [ScoreRow(id=str(n), log_odds=s, n_tokens=1) for n, (s, *_) in enumerate(rows) if s is not None]
    )


def test_over_optimisation_shows_as_a_rising_reward_and_a_falling_judge() -> None:
    before = _answers([(0.0, True, 0.8), (0.0, True, 0.4), (0.0, False, 0.5), (None, True, 0.0)])
    after = _answers([(9.0, False, 1.0), (9.0, False, 1.0), (9.0, False, 1.0), (9.0, False, 1.0)])
    first, last = reward_curve({6: after, 0: before}, {6: 0.3}, 1.0, METRICS, 0)
    assert (first["step"], last["step"], first["kl"], last["kl"]) == (0, 6, None, 0.3)
    assert first["reward"]["value"] == 0.5 and first["reward"]["n"] == 3 and first["safety"]["n"] == 4
    assert first["total_reward"]["value"] == pytest.approx(0.5 * 1.7 / 3)
    assert first["cosa_score"]["value"] == pytest.approx((0.8 + 0.4 - 0.5) / 4)
    since = {name: found["value"] for name, found in last["since_start"].items()}
    assert since["reward"] > 0.49 and since["safety"] == -0.75
    assert since["cosa_score"] == pytest.approx(-1 - (0.8 + 0.4 - 0.5) / 4)
    head = {"config": "c", "algorithm": "DPO", "reward": "csrm", "scale": "smoke", "seed": 0}
    table = curve_table([{**head, "curve": [first, last]}])
    told = table[(table["quantity"] == "safety") & (table["step"] == 6)]
    assert told["since_start"].tolist() == [-0.75] and set(table["step"]) == {0, 6}
    with pytest.raises(ValueError, match="none of 1 responses has a valid judgement and a score"):
        reward_curve({0: _answers([(None, True, 0.5)])}, {}, 1.0, METRICS, 0)
