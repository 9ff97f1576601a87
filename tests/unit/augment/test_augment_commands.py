"""The commands on the project's own rows, with the packaged bank and taxonomies."""

import argparse
from importlib import resources
from itertools import chain

import pytest
import yaml

from csrm.augment import commands
from csrm.augment.catalogue import BROAD, OVERLAPS, REFUSAL, Catalogue
from csrm.augment.configs import threshold_category
from csrm.augment.mix import by_source
from csrm.files import read_json, read_rows, write_rows
from csrm.rows import Group, PairRow
from csrm.settings import AugmentSettings, DataSettings

HELD_OUT = DataSettings().held_out
SMOKE = resources.files("csrm") / "data" / "project" / "smoke.jsonl"


@pytest.fixture
def slices(tmp_path):
    augment = AugmentSettings(dominance=0.1, held_out_thresholds=[0.75])
    for name, model in (("augment", augment), ("data", DataSettings())):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(model.model_dump(mode="json")))
    return ["--settings", f"{tmp_path}/augment.yaml", "--data-settings", f"{tmp_path}/data.yaml", "--seed", "3"]


def call(*arguments):
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers(dest="command"))
    options = parser.parse_args([str(a) for a in arguments])
    options.run(options)


@pytest.mark.parametrize(("command", "source"), [("base", "base"), ("cca", "cca"), ("strictness", "sa")])
def test_rows_become_groups_without_held_out_text(command, source, slices, tmp_path):
    outputs = [tmp_path / f"{name}.jsonl" for name in "ab"]
    for output in outputs:
        call(f"augment-{command}", *slices, "--rows", SMOKE, "--encoder", "hash", "--output", output)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    groups = read_rows(outputs[0], Group)
    assert set(by_source(groups)) == {source}
    manifest = read_json(f"{outputs[0]}.manifest.json")
    assert manifest["notes"]["groups"] == len(groups) and manifest["seed"] == 3
    if command != "base":
        pair = [path.with_name(f"{path.stem}_statistics.json") for path in outputs]
        assert pair[0].read_bytes() == pair[1].read_bytes() and read_json(pair[0])["groups"] == len(groups)
        assert read_json(f"{pair[0]}.manifest.json")["artifact"]["path"].endswith("a_statistics.json")
    catalogue = Catalogue.load(["pyrit"], HELD_OUT)
    closed = {f"bank:{c.id}" for c in catalogue.bank(unseen=True)} | set(HELD_OUT)
    names = {c.name for c in catalogue.bank(unseen=True)} | {c.guideline for c in catalogue.bank(unseen=True)}
    for category in chain.from_iterable(b.config for g in groups for b in g.branches):
        assert category.key.split("@")[0] not in closed
        assert not {category.name, category.guideline} & names


@pytest.mark.parametrize("command", ["cca", "strictness"])
def test_only_the_named_taxonomies_are_augmented(command, slices, tmp_path):
    made = {}
    for names in (None, ["pyrit"], ["beavertails"]):
        settings = AugmentSettings(dominance=0.1, augmented=names)
        (tmp_path / "augment.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
        output = tmp_path / f"{names}.jsonl"
        call(f"augment-{command}", *slices, "--rows", SMOKE, "--encoder", "hash", "--output", output)
        made[str(names)] = output.read_bytes()
    assert made["None"] == made["['pyrit']"] != made["['beavertails']"] == b""


def test_bank_size_limits_what_cca_draws(slices, tmp_path):
    settings = AugmentSettings(bank_size=10)
    (tmp_path / "augment.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    call("augment-cca", *slices, "--rows", SMOKE, "--encoder", "hash", "--output", tmp_path / "cca.jsonl")
    configs = [b.config for g in read_rows(tmp_path / "cca.jsonl", Group) for b in g.branches]
    drawn = {c.key for config in configs for c in config if c.key.startswith("bank:")}
    assert 1 < len(drawn) <= 10
    found = read_json(tmp_path / "cca_statistics.json")
    assert found["bank_categories"] == found["bank_families"] == 10


def test_pairs_command(slices, tmp_path):
    row = PairRow(id="1", dataset="d", prompt_id="p", prompt="Q", chosen="a", rejected="b")
    write_rows(tmp_path / "pairs.jsonl", [row])
    (tmp_path / "c.txt").write_text("S1: Violence. No violence.\n")
    arguments = [*slices, "--rows", tmp_path / "pairs.jsonl", "--output", tmp_path / "out.jsonl"]
    call("augment-pairs", *arguments, "--config", tmp_path / "c.txt")
    (group,) = read_rows(tmp_path / "out.jsonl", Group)
    assert group.pairs == [(0, 1)] and group.branches[0].config[0].name == "Violence"
    with pytest.raises(ValueError, match="--config"):
        call("augment-pairs", *arguments)


def test_encoder_is_never_chosen_silently(slices, tmp_path):
    with pytest.raises(SystemExit):
        call("augment-cca", *slices, "--rows", SMOKE, "--output", tmp_path / "x.jsonl")


def test_overlap_table_names_families_that_exist():
    catalogue = Catalogue.load(["pyrit"], [])
    families = {c.family for c in catalogue.bank()}
    assert set().union(*OVERLAPS, BROAD, {REFUSAL}, HELD_OUT) <= families


def test_threshold_guidelines_are_short():
    for category in Catalogue.load(["pyrit"], []).taxonomy("pyrit"):
        for threshold in (0.25, 0.5, 0.75, 1.0):
            assert len(threshold_category(category, threshold).guideline.split()) <= 30
