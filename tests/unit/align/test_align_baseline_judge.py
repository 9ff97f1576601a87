"""A baseline as the reward of online training."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from csrm.align import commands
from csrm.align.baseline_judge import BaselineJudge, GuardJudge
from csrm.align.online_reward import OnlineReward
from csrm.augment.encoder import HashEncoder
from csrm.bench import probes
from csrm.bench.baselines import Tools, score_baseline
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.files import read_json, write_rows
from csrm.model.scorer import Request
from csrm.rows import Branch, Group, Item, Message, PromptRow, ScoreRow
from csrm.settings import ScoreSettings

if TYPE_CHECKING:
    from csrm.bench.guards.scorer import GuardScorer

ALCOHOL, PETS = Category(name="Alcohol", guideline="No wine or beer."), Category(name="Pets", guideline="No dogs.")


def turns(said: str) -> list[Message]:
    return [Message(role="user", content="What now?"), Message(role="assistant", content=said)]


@pytest.fixture(scope="module")
def fixed() -> BaselineJudge:
    """Fitted to groups in which wine is unsafe and juice safe, whatever the configuration says."""
    groups = [
        Group(
            id=f"g{n}",
            prompt_id=f"p{n}",
            messages=turns(f"{'wine beer wine' if n % 2 else 'juice water juice'} {n}"),
            branches=[Branch(config=[PETS], label="unsafe" if n % 2 else "safe")],
        )
        for n in range(24)
    ]
    fitted, _ = probes.fit("minilm-lr-no-config", groups, HashEncoder())
    return BaselineJudge("minilm-lr-no-config", Tools(HashEncoder(), fitted))


def test_a_fixed_taxonomy_ignores_the_configuration(fixed: BaselineJudge) -> None:
    asked = [Request(turns(said), [config]) for said in ("wine beer", "juice water") for config in (ALCOHOL, PETS)]
    wine, same_wine, juice, same_juice = (score.log_odds for score in fixed.score_requests(asked))
    assert wine == same_wine < 0 < juice == same_juice
    items = [Item(id="a", prompt_id="a", messages=turns("wine beer"), config=[ALCOHOL])]
    assert score_baseline(fixed.name, items, fixed.tools)[0].log_odds == wine


def test_one_that_reads_the_configuration_follows_it() -> None:
    judge = BaselineJudge("minilm-similarity", Tools(HashEncoder()))
    asked = [Request(turns("wine or beer"), [config]) for config in (ALCOHOL, PETS)]
    forbidden, allowed = (score.log_odds for score in judge.score_requests(asked))
    assert forbidden < allowed


def test_a_policy_is_trained_online_with_it(
    fixed: BaselineJudge, tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fixed.tools.fitted is not None
    probes.save(fixed.tools.fitted, Path("fixed.joblib"))
    write_rows("prompts.jsonl", [PromptRow(id="a", dataset="x", prompt_id="a", prompt="cat ?")])
    for name, text in (
        ("config", "{name: no-alcohol, categories: [{name: Alcohol, key: alcohol}]}"),
        ("align", "{max_new_tokens: 4, lora_rank: 2, reinforce: {rollouts: 2}}"),
        ("empty", "{}"),
    ):
        Path(f"{name}.yaml").write_text(text, encoding="utf-8")
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    line = (
        "train-policy-online --prompts prompts.jsonl --safety-config config.yaml --encoder hash --settings align.yaml"
    )
    line += " --baseline minilm-lr-no-config --baseline-encoder hash --fitted fixed.joblib --scratch scratch"
    line += " --score-settings empty.yaml --train-settings empty.yaml --output adapter"
    options = parser.parse_args([*line.split(), "--policy", str(tiny_policy)])
    options.run(options)
    manifest = read_json("adapter/manifest.json")
    assert {"fitted", "policy"} <= {entry["role"] for entry in manifest["inputs"]}
    assert 0 <= manifest["notes"]["initial_reward"] <= 1


def test_a_guard_scores_requests_as_it_scores_items() -> None:
    class Recorder:
        def score(self, items: list[Item]) -> list[ScoreRow]:
            self.items = items
            return [ScoreRow(id=item.id, log_odds=float(len(item.config)), n_tokens=1) for item in items]

    scorer = Recorder()
    judge = GuardJudge(cast("GuardScorer", scorer))
    asked = [Request(turns("wine"), [ALCOHOL]), Request(turns("juice"), [ALCOHOL, PETS])]
    assert [row.log_odds for row in judge.score_requests(asked)] == [1, 2]
    assert [(i.messages[-1].content, i.config) for i in scorer.items] == [
        ("wine", [ALCOHOL]),
        ("juice", [ALCOHOL, PETS]),
    ]
    reward = OnlineReward(judge, SafetyConfig(name="c", categories=(PETS,)), lambda x, y: np.ones(len(x)))
    assert reward(["What now?"], ["juice"]) == pytest.approx(1 / (1 + np.exp(-1)))


def test_a_guard_that_is_not_there_says_what_to_put_where(tmp_path: Path) -> None:
    options = argparse.Namespace(guard="llamaguard-3-8b", guard_model=tmp_path / "g", config_dir=Path("config"))
    with pytest.raises(FileNotFoundError, match=r"put meta-llama/Llama-Guard-3-8B there .*align\.rewards"):
        commands._guard(options, ScoreSettings())
    options.guard_model = None
    with pytest.raises(ValueError, match="llamaguard-3-8b needs --guard-model"):
        commands._guard(options, ScoreSettings())
