"""Counts of the real data sets, when the local mirror is there."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from csrm.align.prompts import data_pool, split_pool
from csrm.bench.cosa import SCENARIOS, allowed_items, scenario_configs, scenario_items
from csrm.bench.evaluate import pairs_of
from csrm.configs.safety_config import SafetyConfig
from csrm.configs.taxonomy import load_taxonomy
from csrm.configs.topics import load_topics
from csrm.cosa.imported import configured_prompts, import_rows
from csrm.cosa.pairs import make_pairs, record
from csrm.cosa.records import problems
from csrm.cosa.topics import Taxonomy
from csrm.data import tables
from csrm.data.prepare import prepare
from csrm.data.sources import load_parts
from csrm.data.split import split
from csrm.settings import CosaSettings, DataSettings

ROOT = Path(__file__).parents[3]
MIRROR = ROOT / "../shared/mirror"
DATASETS = tables.load_datasets(ROOT / "config")
LONG = DataSettings(max_prompt_words=10**6, max_response_words=10**6)

pytestmark = pytest.mark.skipif(not MIRROR.is_dir(), reason="no local mirror in ../shared/mirror")


def rows(name: str) -> tuple[list[Any], dict[str, Any]]:
    return prepare(DATASETS[name], load_parts(DATASETS[name], ROOT / "config", None, MIRROR), LONG)


def test_beavertails() -> None:
    found, notes = rows("beavertails")
    labels = Counter(
        row["is_safe"] for row in load_parts(DATASETS["beavertails"], ROOT / "config", None, MIRROR)["rows"]
    )
    assert labels == {False: 1733, True: 1288}
    assert (notes["rows_in"], len(found), notes["dropped"]) == (3021, 3019, {"duplicate": 2})
    assert not notes["noticed"] and all(bool(row.harms) != row.safe for row in found)


def test_cosalign_test() -> None:
    found, notes = rows("cosalign-test")
    assert len(found) == 3200 and set(Counter(r.meta["config_id"] for r in found).values()) == {400}
    assert Counter(r.meta["situation"] for r in found) == {"allowed": 1210, "partial": 728, "disallowed": 1262}
    seen = Counter(r.meta["situation"] for r in found if r.meta["split"] == "seen")
    assert seen == {"allowed": 760, "partial": 347, "disallowed": 893}
    assert len({r.prompt for r in found}) == notes["prompts_out"] + 1 == 2711


def test_cosalign_situations_follow_from_the_categories() -> None:
    for row in rows("cosalign-test")[0]:
        allowed, prompt = set(row.meta["allowed"]), set(row.meta["prompt_categories"])
        expected = "allowed" if prompt <= allowed else "partial" if prompt & allowed else "disallowed"
        assert row.meta["situation"] == expected


def test_xstest() -> None:
    assert Counter(row.meta["label"] for row in rows("xstest")[0]) == {"safe": 250, "unsafe": 200}
    kinds = Counter(row.meta["refusal_kind"] for row in rows("xstest-completions")[0])
    assert kinds == {"compliance": 1091, "full": 983, "partial": 176}
    found, notes = rows("xstest-completions")
    assert Counter(row.safe for row in found) == {True: 2061, False: 136, None: 53}
    assert notes["noticed"] == {"partial refusal of an unsafe prompt, harm unknown": 53}
    labels = Counter((row.safe, row.refusal) for row in rows("xstest-response")[0])
    assert labels == {(True, None): 368, (False, None): 78, (None, False): 271, (None, True): 178}


def test_pairs_and_prompts() -> None:
    assert len(rows("or-bench")[0]) == 269
    assert len(rows("cosapien")[0]) == 25
    assert (len(rows("safe-rlhf")[0]), rows("safe-rlhf")[1]["dropped"]) == (783, {"equal responses": 1})
    assert len(rows("coconot")[0]) == 927
    assert Counter(row.meta["task"] for row in rows("cst-pairs")[0]) == {"harmless": 936, "truthfulness": 1016}


def test_beavertails_30k_test_as_a_benchmark_is_the_whole_split() -> None:
    assert len(rows("beavertails-30k-test")[0]) == len(rows("beavertails")[0]) == 3019


def test_allowed_categories_of_cosalign_test() -> None:
    items = allowed_items(rows("cosalign-test")[0], load_taxonomy("cosalign"), "b")
    assert Counter(item.label for item in items) == {"safe": 1210, "unsafe": 1990}
    assert Counter(item.rank for item in items) == {None: 2980, "chosen": 110, "rejected": 110}
    assert len(pairs_of(items)) == 110


def test_demonstrations_of_cosapien() -> None:
    items, notes = scenario_items(rows("cosapien")[0], scenario_configs(ROOT / "config"), "b")
    assert Counter(item.subset for item in items) == dict.fromkeys(SCENARIOS, 5)
    assert notes["label_sources"] == {"authors": 25}


def test_overlaps_that_splits_must_exclude() -> None:
    benchmark = {row.prompt_id for row in rows("cosalign-test")[0]}
    beavertails = rows("beavertails")[0]
    splits, notes = split(beavertails, LONG.model_copy(update={"held_out": []}), 0, benchmark)
    shared = [row for row in beavertails if row.prompt_id in benchmark]
    tested = [row for row in splits["test"] if row.prompt_id in benchmark]
    assert 605 <= len(shared) <= 612
    assert notes["dropped"]["prompt of a benchmark"] == len(shared) - len(tested)
    assert not any(row.prompt_id in benchmark for row in splits["train"] + splits["validation"])


def test_prompts_of_cosalign_test_for_a_configuration_of_harms() -> None:
    config = SafetyConfig.load(ROOT / "config/safety_configs/general-harm.yaml")
    pool = data_pool(config, rows("cosalign-test")[0], ["What time is it?"])
    assert len(pool.on_topic) > 300 and len(pool.off_topic) > 100 and not {*pool.on_topic} & {*pool.off_topic}
    assert {family for _, family in pool.on_topic.values()} == {"privacy", "sexual", "violence"}
    train, test = split_pool(config.name, pool, 100, 40, seed=0)
    assert (len(train), len(test)) == (100, 40) and not {r.prompt_id for r in train} & {r.prompt_id for r in test}


def test_cosalign_pairs_of_beavertails_share_no_prompt_with_its_test() -> None:
    seen = ["discrimination", "financial_crime", "privacy", "violence"]
    harms = {"seen": seen, "unseen": ["drugs"], "seen_configs": [[], ["violence"]], "unseen_configs": [["drugs"]]}
    settings = CosaSettings(taxonomy="cosalign", test_prompts=20, **harms)
    tests = configured_prompts(rows("cosalign-test")[0], settings, 0)
    tested = {prompt.prompt_id for prompt in tests}
    assert 40 < len(tests) <= 60 and all(prompt.harms for prompt in tests if "drugs" in (prompt.situations or {}))
    found = import_rows(rows("beavertails")[0], tested, 10**6)
    pairs = make_pairs(found.rows, Taxonomy(load_topics(), settings), 0, tested).pairs
    assert found.left_out["test prompt"] > 0 and len(pairs) > 100
    assert not {pair.prompt_id for pair in pairs} & tested
    assert not [problem for pair in pairs for problem in problems(record(pair), frozenset(seen))]
