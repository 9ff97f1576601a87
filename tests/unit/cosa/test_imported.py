"""Pairs over CoSAlign's harms from responses that data sets label, and the prompts that they must not be made of."""

from pathlib import Path

import pytest

from csrm.cli import main
from csrm.configs.taxonomy import load_taxonomy
from csrm.configs.topics import load_topics
from csrm.cosa.answers import test_requests
from csrm.cosa.imported import CROSSWALK, configured_prompts, harms_of, import_rows
from csrm.cosa.pairs import make_pairs, record
from csrm.cosa.records import problems
from csrm.cosa.schema import Asked, Labelled, Pair
from csrm.cosa.synthesis import Harm, Response
from csrm.cosa.topics import Taxonomy
from csrm.files import read_rows, write_rows
from csrm.rows import Message, PromptRow, Row
from csrm.settings import CosaSettings, DataSettings
from csrm.settings.base import write_slice

test_requests.__test__ = False  # a function of the package, not a test
SEEN = ["discrimination", "financial_crime", "privacy", "violence"]
SETTINGS = CosaSettings(
    taxonomy="cosalign",
    data=["beavertails"],
    seen=SEEN,
    unseen=["drugs", "sexual", "weapons"],
    seen_configs=[[], ["violence"]],
    unseen_configs=[["drugs"]],
    test_prompts=2,
)
TAXONOMY = Taxonomy(load_topics(), SETTINGS)


def row(number, response="A full answer to what was asked.", prompt="p0", **labels):
    messages = [Message(role="user", content=f"ask {prompt}"), Message(role="assistant", content=response)]
    head = {"id": f"r{number}", "dataset": "d", "prompt_id": prompt, "messages": messages}
    return Row(**{**head, "taxonomy": "beavertails", "safe": not labels.get("harms"), **labels})


def prompt(number, allowed, situation, **meta):
    meta = {"allowed": allowed, "situation": situation, **meta}
    return PromptRow(id=f"t{number}{allowed}", dataset="c", prompt_id=f"t{number}", prompt=f"test {number}", meta=meta)


def test_every_category_of_the_data_sets_has_categories_of_cosalign() -> None:
    for name, crosswalk in CROSSWALK.items():
        assert {*crosswalk} == {category.key for category in load_taxonomy(name).categories}
        assert {harm for harms in crosswalk.values() for harm in harms} <= {*Harm}


def test_labels_of_a_response_follow_the_data_set() -> None:
    assert harms_of(row(0, harms={"drugs_weapons": 1.0, "terrorism": 0.5})) == ["drugs", "violence", "weapons"]
    assert harms_of(row(0)) == [] and harms_of(row(0, safe=False)) == ["other"]
    assert harms_of(row(0, taxonomy="cosalign", harms={"weapons": 1.0})) == ["weapons"]
    with pytest.raises(ValueError, match=r"taxonomy 'pyrit', which has no categories of CoSAlign.*'wildguard'"):
        harms_of(row(0, taxonomy="pyrit"))


def test_responses_are_grouped_by_prompt_and_test_prompts_left_out() -> None:
    rows = [
        row(0, harms={"violence": 1.0}),
        row(1, "I'm sorry, I can't help with that."),
        row(2, "No.", refusal=True),
        row(3, "I'm sorry, I can't help with that.", meta={"addressed": 1}),
        row(4, prompt="tested"),
        row(5, safe=None),
        row(6, "one two three"),
    ]
    made = import_rows(rows, {"tested"}, longest=3)
    assert [(r.found, r.addressed) for r in made.rows] == [(["violence"], 1), ([], 0), ([], 0), ([], 1), ([], 1)]
    assert {tuple(r.harms) for r in made.rows} == {("violence",)}, "the union of what the responses contain"
    assert [r.finished for r in made.rows] == [False, False, True, False, False]
    assert made.left_out == {"test prompt": 1, "harm not labelled": 1}


def test_pairs_over_harms_keep_the_published_rules() -> None:
    rows = [row(0, harms={"violence": 1.0}), row(1, "I'm sorry, I can't help."), row(2), row(3, harms={"sexual": 1.0})]
    made = make_pairs(import_rows([*rows[:3]], set(), 99).rows, TAXONOMY, 0)
    assert made.pairs and not [p for pair in made.pairs for p in problems(record(pair), frozenset(SEEN))]
    allowed = [pair for pair in made.pairs if pair.mode == "exact_match" and pair.chosen_found == ["violence"]]
    assert [(p.rejected_addressed, p.chosen_tenths, p.rejected_tenths) for p in allowed] == [(0, 1, 10)]
    assert "Violence: The response may describe" in allowed[0].prompt[0].content
    outside = make_pairs(import_rows(rows, set(), 99).rows, TAXONOMY, 0)
    assert outside.pairs == [] and outside.counts["prompts_outside"] == 1, "sexual is no category of training"
    assert make_pairs(import_rows(rows[:3], set(), 99).rows, TAXONOMY, 0, {"p0"}).counts["tested"] == 3


def test_the_golden_groups_give_as_many_pairs_as_upstream() -> None:
    groups = [((), 0), ((), 1), (("violence",), 1), (("violence", "privacy"), 1), (("other",), 1), (("violence",), 0)]
    rows = [
        Labelled(
            **{"prompt_id": "p", "prompt": "ask", "harms": ["violence"], "id": f"{n}", "response": f"{n}"},
            **{"finished": True, "found": list(found), "addressed": addressed},
        )
        for n, (found, addressed) in enumerate(groups)
    ]
    pairs = make_pairs(rows, TAXONOMY, 0).pairs
    assert sum(pair.mode == "exact_match" for pair in pairs) == 14  # A = {V}
    assert sum(pair.mode == "safe" for pair in pairs) == 9  # A = {}
    assert Response(frozenset({"violence"}), 1) in {record(pair).chosen for pair in pairs}


def test_test_prompts_are_asked_under_their_own_configurations() -> None:
    rows = [prompt(n, [], "disallowed", prompt_categories=["violence"]) for n in range(4)]
    rows += [prompt(n, ["violence"], "allowed", prompt_categories=["violence"]) for n in range(2)]
    rows += [prompt(n, ["drugs"], "partial") for n in (7, 8, 9)]
    asked = configured_prompts(rows, SETTINGS, 0)
    named = [name for prompt in asked for name in prompt.situations or {}]
    assert sorted(named) == ["drugs"] * 2 + ["nothing"] * 2 + ["violence"] * 2
    requests = test_requests(asked, TAXONOMY, [], 0)
    assert len(requests) == 6 and {r.group for r in requests if r.allowed == ["drugs"]} == {"unseen"}
    with pytest.raises(
        ValueError, match=r"no test prompts under configuration 'violence'; the data set has \['nothing'"
    ):
        configured_prompts(rows[:4], SETTINGS, 0)


def test_harms_have_no_lexicon_and_other_is_no_category() -> None:
    with pytest.raises(ValueError, match=r"cosa\.taxonomy cosalign has no lexicons .* set cosa\.judge to `llm`"):
        TAXONOMY.labels("text")
    assert [c.key for c in TAXONOMY.forbidden(["violence", "drugs"])] == [
        *("discrimination", "financial_crime", "privacy", "sexual", "weapons")
    ]
    assert "Violence" in TAXONOMY.limits(seen_only=True) and len(TAXONOMY.limits(seen_only=False)) == 7


def test_commands_make_pairs_of_a_data_set(tmp_path: Path) -> None:
    rows = [row(0, harms={"violence": 1.0}), row(1, "I'm sorry, I can't help."), row(2), row(3, prompt="t0")]
    write_rows(tmp_path / "rows.jsonl", rows)
    tests = [prompt(n, allowed, "allowed") for n in range(2) for allowed in ([], ["violence"], ["drugs"])]
    write_rows(tmp_path / "tests.jsonl", tests)
    write_slice(tmp_path / "cosa.yaml", SETTINGS)
    write_slice(tmp_path / "data.yaml", DataSettings())
    settings, drawn = ["--settings", str(tmp_path / "cosa.yaml")], tmp_path / "prompts"
    assert main(["cosalign-prompts", *settings, "--rows", f"{tmp_path}/tests.jsonl", "--output-dir", str(drawn)]) == 0
    assert read_rows(drawn / "train.jsonl", Asked) == [] and len(read_rows(drawn / "test.jsonl", Asked)) == 2
    held = ["--test-prompts", str(drawn / "test.jsonl")]
    taken = [*held, "--data-settings", f"{tmp_path}/data.yaml", "--output", f"{tmp_path}/imported.jsonl"]
    assert main(["cosalign-import", *settings, "--rows", f"{tmp_path}/rows.jsonl", *taken]) == 0
    made = ["--responses", f"{tmp_path}/imported.jsonl", *held, "--output", f"{tmp_path}/pairs.jsonl"]
    assert main(["cosalign-pairs", *settings, *made]) == 0
    assert {pair.prompt_id for pair in read_rows(tmp_path / "pairs.jsonl", Pair)} == {"p0"}
