"""Trained baselines: fitted on training groups, they follow the configuration exactly when they may read it."""

import argparse

import numpy as np
import pytest

from csrm import files
from csrm.augment.encoder import HashEncoder
from csrm.bench import baseline_commands, baselines, probes
from csrm.bench.baselines import Tools
from csrm.configs.safety_config import Category
from csrm.rows import Branch, Group, Item, Message, ScoreRow

PETS, DICE = (
    Category(name="Pets", guideline="No dogs or cats."),
    Category(name="Gambling", guideline="No dice or poker."),
)
SAID = {"Pets": "dogs cats kitten puppy dogs", "Gambling": "dice poker casino bet dice"}


def turns(said, number):
    return [Message(role="user", content=f"question {number}"), Message(role="assistant", content=f"{said} {number}")]


def make_groups(count=24):
    groups = []
    for number in range(count):
        own, other = (PETS, DICE) if number % 2 else (DICE, PETS)
        branches = [Branch(config=[own], label="unsafe"), Branch(config=[other], label="safe"), Branch(config=[own])]
        messages = turns(SAID[own.name], number)
        groups.append(Group(id=f"g{number}", prompt_id=f"p{number}", messages=messages, branches=branches))
    return groups


def make_items():
    found = []
    for number, (said, category) in enumerate((s, c) for s in SAID for c in (PETS, DICE)):
        label = "unsafe" if said == category.name else "safe"
        data = {"id": f"i{number}", "prompt_id": f"q{number}", "label": label, "config": [category]}
        found.append(Item(messages=turns(SAID[said], 900), **data))
    return found


def log_odds(name):
    fitted, notes = probes.fit(name, make_groups(), HashEncoder())
    tools = Tools(HashEncoder(), fitted)
    return [row.log_odds for row in baselines.score_baseline(name, make_items(), tools)], notes


@pytest.mark.parametrize("name", ["tfidf-lr", "minilm-lr"])
def test_with_the_configuration_the_label_is_learnt(name):
    values, notes = log_odds(name)
    assert [value > 0 for value in values] == [item.label == "safe" for item in make_items()]
    assert notes["examples"] == 48 and notes["safe"] == 24 and notes["unlabelled_branches_left_out"] == 24
    assert notes["inverse_penalty"] in probes.INVERSE_PENALTIES


@pytest.mark.parametrize("name", ["tfidf-lr-no-config", "minilm-lr-no-config"])
def test_without_the_configuration_nothing_can_be_learnt(name):
    values, _ = log_odds(name)
    assert values[0] == values[1] and values[2] == values[3] and max(map(abs, values)) < 0.1


def test_every_trained_line_has_a_probe():
    assert {name for name, line in baselines.BASELINES.items() if line.trained} == set(probes.PROBES)
    assert all(baselines.BASELINES[n].encoder == (p.features == "minilm") for n, p in probes.PROBES.items())


def test_each_group_weighs_the_same():
    group = make_groups(1)[0]
    wide = group.model_copy(update={"branches": [*group.branches, *group.branches[:2]]})
    examples, _ = probes.examples_of([group, wide])
    weights = [example.weight for example in examples]
    assert sum(weights[:2]) == pytest.approx(1) and sum(weights[2:]) == pytest.approx(1)


def test_a_branch_brings_its_own_messages():
    branch = Branch(config=[PETS], label="safe", messages=turns("own words", 1))
    group = Group(id="g", prompt_id="p", messages=turns("shared", 2), branches=[branch])
    assert probes.examples_of([group])[0][0].messages == branch.messages


def test_log_odds_are_those_of_scikit_learn():
    fitted, _ = probes.fit("tfidf-lr", make_groups())
    features = probes.tfidf_features(make_items(), fitted.vectorizer, True)
    p_safe = fitted.classifier.predict_proba(features)[:, 1]
    np.testing.assert_allclose(fitted.log_odds(make_items()), np.log(p_safe / (1 - p_safe)), atol=1e-9)


def test_what_is_missing_is_named():
    one_class = [g.model_copy(update={"branches": g.branches[:1]}) for g in make_groups()]
    with pytest.raises(ValueError, match="got 0 safe and 24 unsafe"):
        probes.fit("tfidf-lr", one_class)
    with pytest.raises(ValueError, match="needs --encoder"):
        probes.fit("minilm-lr", make_groups())
    with pytest.raises(ValueError, match="'keyword' is not trained"):
        probes.fit("keyword", make_groups())
    with pytest.raises(ValueError, match="needs --fitted"):
        baselines.score_baseline("tfidf-lr", make_items())
    fitted, _ = probes.fit("tfidf-lr", make_groups())
    with pytest.raises(ValueError, match="holds 'tfidf-lr', not 'tfidf-lr-no-config'"):
        baselines.score_baseline("tfidf-lr-no-config", make_items(), Tools(None, fitted))


def test_commands_fit_once_and_score(tmp_path):
    files.write_rows(tmp_path / "groups.jsonl", make_groups())
    files.write_rows(tmp_path / "items.jsonl", make_items())
    parser = argparse.ArgumentParser()
    baseline_commands.register(parser.add_subparsers())

    def run(line):
        chosen = parser.parse_args(line.split())
        chosen.run(chosen)

    for name in ("one", "two"):
        line = f"fit-baseline --baseline minilm-lr --groups {tmp_path}/groups.jsonl --encoder hash"
        run(f"{line} --output {tmp_path}/{name}")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    line = f"score-baseline --baseline minilm-lr --items {tmp_path}/items.jsonl --encoder hash"
    run(f"{line} --fitted {tmp_path}/one --output {tmp_path}/scores.jsonl")
    rows = files.read_rows(tmp_path / "scores.jsonl", ScoreRow)
    expected, _ = log_odds("minilm-lr")
    assert [row.log_odds for row in rows] == expected
    assert files.read_json(tmp_path / "one.manifest.json")["notes"]["examples"] == 48
