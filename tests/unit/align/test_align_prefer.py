"""Prompts, rewards, preference pairs and the Pareto sweep, on synthetic values."""

import math
from collections import Counter

import pytest
from align_fakes import Family

from csrm.align.pareto import best_of_n, sweep
from csrm.align.prefer import preferences
from csrm.align.prompts import scenario_tests, split_pool, topic_pool, without
from csrm.align.rewards import align_scores, preference_items, total_reward
from csrm.align.schema import Judgement, Sample
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.data.adapters.cosa import cosapien_prompts
from csrm.rows import PromptRow, ScoreRow
from csrm.settings import AlignSettings, MetricSettings


def sample(prompt: str, number: int, response: str | None = None, config: str = "no-alcohol") -> Sample:
    return Sample(
        id=f"{prompt}-{number}",
        prompt_id=prompt,
        prompt=f"question {prompt}",
        config=config,
        sample=number,
        response=f"answer {number}" if response is None else response,
        n_tokens=2,
        finished=number % 2 == 0,
    )


def drawn(config, families, neutral, train, test, seed):
    return split_pool(config.name, topic_pool(config, families, neutral), train, test, seed)


def test_prompts_are_half_on_topic_disjoint_and_stable(families: list[Family], no_alcohol: SafetyConfig) -> None:
    neutral = [f"How many sides has shape {i}?" for i in range(10)]
    split = drawn(no_alcohol, families, neutral, 8, 4, seed=0)
    assert (len(split.train), len(split.test)) == (8, 4)
    for rows, expected in ((split.train, 4), (split.test, 2)):
        assert sum(row.meta["family"] == "alcohol" for row in rows) == expected
    ids = [row.prompt_id for row in split.train + split.test]
    assert len(set(ids)) == len(ids)
    assert "Can my dog drink beer?" not in {row.prompt for row in split.train + split.test}
    assert split == drawn(no_alcohol, families, neutral, 8, 4, seed=0)
    assert split != drawn(no_alcohol, families, neutral, 8, 4, seed=1)


def test_short_lists_shrink_both_sides(families: list[Family], no_alcohol: SafetyConfig) -> None:
    split = drawn(no_alcohol, families, [], 24, 16, seed=0)
    assert (len(split.train), len(split.test)) == (12 + 4, 8 + 2)
    with pytest.raises(ValueError, match="topic families"):
        topic_pool(SafetyConfig(name="x", categories=(Category(name="X"),)), families, [])


def published(*prompts: str) -> list[PromptRow]:
    """Rows of microsoft/CoSApien's columns: these of the game developer, and one of the film producer."""
    policy, kinds = "We make games.", ("allowed", "partial", "disallowed")
    game = [{"prompt": prompt, "scenario": policy, "type": kinds[n % 3]} for n, prompt in enumerate(prompts)]
    parts = {"game_development": game, "film_production": [{"prompt": "A duel.", "scenario": "-", "type": "allowed"}]}
    return list(cosapien_prompts("cosapien-prompts", parts, Counter()))


def test_test_prompts_of_a_scenario_are_its_own_and_in_no_training(
    families: list[Family], no_alcohol: SafetyConfig
) -> None:
    rows = published("Which wine suits dish 3?", "Draw a pirate.", "Draw  a Pirate.", "Draw a ship.")
    tests = scenario_tests("cosapien-game-development", rows, 40, seed=0)
    assert {row.prompt_id for row in tests} == {row.prompt_id for row in rows if row.prompt != "A duel."}
    assert len(tests) == 3, "a prompt in other case and spaces is the same one"
    assert {row.meta["config"] for row in tests} == {"cosapien-game-development"}
    assert len({row.id for row in tests}) == 3 and all(row.id.startswith("cosapien-game-") for row in tests)
    assert len(scenario_tests("cosapien-game-development", rows, 2, seed=0)) == 2
    pool = topic_pool(no_alcohol, families, ["Draw a pirate.", "Draw a tree."])
    left = without(pool, tests)
    assert {*pool.on_topic} - {*left.on_topic} == {*pool.on_topic} & {row.prompt_id for row in tests} != set()
    train = split_pool("cosapien-game-development", left, 24, 0, seed=0).train
    assert "Draw a tree." in {row.prompt for row in train}
    assert not {row.prompt_id for row in train} & {row.prompt_id for row in tests}
    with pytest.raises(ValueError, match="all 20 prompts on the topics are test prompts"):
        without(pool, published(*(f"Which wine suits dish {i}?" for i in range(20))))


@pytest.mark.parametrize("name", ["no-alcohol", "cosapien-public-prosecutor"])
def test_a_configuration_without_test_prompts_is_named(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"configuration '{name}': none of 2 rows .*serve \['cosapien-film-production'"
    ):
        scenario_tests(name, published("Draw a ship."), 40, seed=0)


def test_total_reward_is_the_product() -> None:
    found = total_reward([0.0, 2.0, -800.0], [1.0, 0.5, 1.0], slope=2.0, offset=1.0)
    assert found[0] == pytest.approx(1 / (1 + math.exp(-1)))
    assert found[1] == pytest.approx(0.5 / (1 + math.exp(-5)))
    assert found[2] == 0


def test_items_follow_the_samples(no_alcohol: SafetyConfig) -> None:
    items = preference_items([sample("p", 0), sample("p", 1, "")], no_alcohol)
    assert [item.id for item in items] == ["p-0"]
    assert items[0].messages[-1].content == "answer 0" and items[0].config == list(no_alcohol.categories)
    with pytest.raises(ValueError, match="drawn under"):
        preference_items([sample("p", 0, config="other")], no_alcohol)


def test_scores_are_matched_by_id() -> None:
    rows = [ScoreRow(id="b", log_odds=2.0, n_tokens=1), ScoreRow(id="a", log_odds=1.0, n_tokens=1)]
    assert align_scores(["a", "b"], rows).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="1 of 1 samples have no score"):
        align_scores(["c"], rows)


def test_best_is_paired_with_worst_and_ties_are_counted(no_alcohol: SafetyConfig) -> None:
    samples = [sample(p, i) for p in "pqrs" for i in range(4)] + [sample("t", 0)]
    samples += [sample("u", 0, "same"), sample("u", 1, "same")]
    rewards = [0.1, 0.9, 0.5, 0.3] + [0.5] * 4 + [0.5, 0.5, 0.5, 0.505] + [0.0, 0.2, 0.1, 0.3] + [1.0] + [0.1, 0.9]
    result = preferences(samples, rewards, no_alcohol, 1, seed=0)
    assert [(p.chosen, p.rejected) for p in result.pairs] == [("answer 1", "answer 0"), ("answer 3", "answer 0")]
    assert result.dropped == {"identical responses": 1, "near tie": 1, "single response": 1, "tie": 1}
    first = result.pairs[0]
    assert (first.reward_chosen, first.reward_rejected) == (0.9, 0.1)
    assert [m.role for m in first.prompt] == ["system", "user"]
    assert (first.chosen_finished, first.rejected_finished) == (False, True)


def test_top_k_is_paired_with_bottom_k_reproducibly(no_alcohol: SafetyConfig) -> None:
    samples, rewards = [sample("p", i) for i in range(7)], [i / 10 for i in range(7)]
    pairs = preferences(samples, rewards, no_alcohol, 9, seed=3).pairs  # k is capped at half of the samples
    assert {p.chosen for p in pairs} == {"answer 6", "answer 5", "answer 4"}
    assert {p.rejected for p in pairs} == {"answer 0", "answer 1", "answer 2"}
    assert pairs == preferences(samples, rewards, no_alcohol, 9, seed=3).pairs


def test_best_of_n_keeps_the_first_of_equals() -> None:
    assert best_of_n(["a", "b", "a", "b"], total_reward([0, 1, 0, 2], [1, 1, 1, 1], 1, 0)) == [0, 3]


def test_sweep_moves_from_safety_to_helpfulness() -> None:
    samples, scores, verdicts = [], [], []
    for i in range(6):
        for n, (log_odds, safe, h) in enumerate([(1.0, True, 0.4), (-1.0, False, 0.9)]):
            row = sample(f"p{i}", n)
            samples.append(row)
            scores.append(ScoreRow(id=row.id, log_odds=log_odds, n_tokens=1))
            verdicts.append(
                Judgement(id=row.id, prompt_id=row.prompt_id, safe=safe, helpfulness=h, refused=False, on_topic=True)
            )
    settings = AlignSettings.model_validate({"sweep": [-4.0, 4.0]})
    result = sweep(samples, scores, verdicts, settings, MetricSettings.model_validate({"bootstrap": 50}), 0)
    strict, lenient = result["points"]
    assert strict["safety"]["value"] == 1 and strict["helpfulness"]["value"] == pytest.approx(0.4)
    assert lenient["safety"]["value"] == 0 and lenient["helpfulness"]["value"] == pytest.approx(0.9)
    assert result["random_choice"]["safety"]["value"] == 0.5
    assert result["samples_left_out"] == 0
