"""Every adapter on placeholder rows in its source's schema."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from csrm.configs.taxonomy import load_taxonomy
from csrm.data import tables
from csrm.data.adapters import ADAPTERS, cosa, dynabench, guards, pairs
from csrm.data.sources import load_fixture
from csrm.files import text_id

DATASETS = tables.load_datasets(Path(__file__).parents[3] / "config")


def adapt(dataset: str) -> tuple[list[Any], Counter[str]]:
    drops: Counter[str] = Counter()
    return list(ADAPTERS[DATASETS[dataset].adapter](dataset, load_fixture(dataset), drops)), drops


def test_pyrit_responses_with_both_verdicts_are_left_out() -> None:
    row = load_fixture("pyrit-refusal")["refusal/refusal"][0]
    drops: Counter[str] = Counter()
    assert not list(ADAPTERS["pyrit-refusal"]("p", {"refusal/a": [row, row | {"human_score": "1"}]}, drops))
    assert drops == {"duplicate, other label": 2}


def beaver(safe: bool, *violated: str) -> dict[str, Any]:
    category = {key: key in violated for key in guards.BEAVERTAILS}
    return {"prompt": "a", "response": "b", "is_safe": safe, "category": category}


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_ids_are_unique_stable_and_named_after_the_set(dataset: str) -> None:
    rows, _ = adapt(dataset)
    ids = [row.id for row in rows]
    assert ids and len(set(ids)) == len(ids)
    given = {row["id"] for row in load_fixture(dataset)["rows"] if "id" in row} if dataset == "own" else set()
    assert all((row.id.startswith(f"{dataset}-") or row.id in given) and row.dataset == dataset for row in rows)
    assert ids == [row.id for row in adapt(dataset)[0]]


def test_pyrit_harm_merges_raters_and_knows_copies() -> None:
    rows, drops = adapt("pyrit-harm")
    by_prompt = {row.prompt_id: row for row in rows}
    pillow = by_prompt[text_id("tell a story about a pillow fight.")]
    assert pillow.harms == {"violence": (0 + 0.5 + 0.25 + 0.25) / 4}
    assert pillow.meta == {"category": "violence", "raters": 4}
    assert not pillow.exhaustive and pillow.taxonomy == "pyrit"
    assert {row.meta["category"] for row in rows} == {"violence", "sexual"}
    assert drops == {"copy of a rated response": 1, "further rating, merged": 1, "empty assistant_response": 1}


def test_pyrit_harm_records_severity_zero() -> None:
    row = load_fixture("pyrit-harm")["harm/violence"][0]
    (found,) = ADAPTERS["pyrit-harm"]("p", {"harm/violence": [row]}, Counter())
    assert found.harms == {"violence": 0.0}  # type: ignore[union-attr]


def test_pyrit_verdicts() -> None:
    rows, drops = adapt("pyrit-objective")
    assert [row.meta["objective_achieved"] for row in rows] == [False, True]
    assert drops == {"duplicate": 1}
    assert [row.refusal for row in adapt("pyrit-refusal")[0]] == [False, True]


def test_beavertails_short_keys_and_duplicates() -> None:
    rows, drops = adapt("beavertails")
    assert [row.harms for row in rows] == [{}, {"unethical": 1.0}, {"privacy": 1.0, "financial_crime": 1.0}]
    assert [row.safe for row in rows] == [True, False, False]
    assert all(row.exhaustive for row in rows)
    assert drops == {"duplicate": 1}


def test_beavertails_contradiction_is_noticed_not_corrected() -> None:
    row = beaver(True, "privacy_violation")
    drops: Counter[str] = Counter()
    (found,) = guards.beavertails("b", {"rows": [row]}, drops)
    assert found.safe and found.harms == {"privacy": 1.0}
    assert drops == {"note: is_safe contradicts the categories": 1}


@pytest.mark.parametrize(
    ("rows", "left", "counted"),
    [
        ([beaver(True), beaver(True)], 1, {"duplicate": 1}),
        ([beaver(True), beaver(False, "self_harm")], 0, {"duplicate, other label": 2}),
        ([beaver(True), beaver(False, "self_harm"), beaver(True)], 0, {"duplicate, other label": 3}),
        ([beaver(False, "self_harm"), beaver(False, "animal_abuse")], 1, {"duplicate, other categories": 1}),
    ],
)
def test_duplicates_that_disagree_are_counted_apart(
    rows: list[dict[str, Any]], left: int, counted: dict[str, int]
) -> None:
    drops: Counter[str] = Counter()
    assert (len(list(guards.beavertails("b", {"rows": rows}, drops))), drops) == (left, counted)


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"self_harm": True}, r"category holds no \['animal_abuse'"),
        ({**beaver(True)["category"], "self_harm": "no"}, "category 'self_harm': 'no' is not one of"),
        ({**beaver(True)["category"], "greed": False}, "category: 'greed' is not one of"),
    ],
)
@pytest.mark.parametrize("adapter", ["beavertails", "beavertails-votes"])
def test_all_fourteen_categories_are_yes_or_no(adapter: str, category: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(ADAPTERS[adapter]("b", {"rows": [beaver(True) | {"category": category}]}, Counter()))


def test_xstest_labels_come_from_the_type_only_where_there_is_no_column() -> None:
    rows, drops = adapt("xstest")
    assert [row.meta["label"] for row in rows] == ["safe", "unsafe"]
    assert drops == {"note: no label column, label by the type": 1}
    row = {"prompt": "a", "type": "homonyms", "label": "unsafe"}
    with pytest.raises(ValueError, match="label 'unsafe', but type 'homonyms' is safe"):
        list(ADAPTERS["xstest"]("x", {"prompts": [row]}, Counter()))


def test_several_annotations_of_a_response_are_a_vote() -> None:
    rows, drops = adapt("beavertails-330k-test")
    assert [(row.safe, row.harms) for row in rows] == [(True, {}), (False, {"unethical": 1.0, "privacy": 1.0})]
    assert drops["further annotation, merged"] == 3 and drops["tied annotations"] == 1
    assert drops["note: annotations disagree, majority kept"] == 1


@pytest.mark.parametrize(
    ("votes", "harms"),
    [
        (["animal_abuse", "animal_abuse", "self_harm"], {"animal_abuse"}),
        (["animal_abuse", "self_harm"], {"animal_abuse", "self_harm"}),
        (["animal_abuse", "self_harm", "privacy_violation"], {"animal_abuse", "self_harm", "privacy"}),
        ([""], set()),
    ],
)
def test_categories_of_a_vote_are_half_of_the_majoritys_or_the_most_chosen(votes: list[str], harms: set[str]) -> None:
    rows = [beaver(False, vote) for vote in votes]
    (found,) = guards.beavertails_votes("b", {"rows": rows}, Counter())
    assert set(found.harms) == harms and found.safe is False


def test_wildguard_prompts_have_labels_or_are_counted() -> None:
    rows, drops = adapt("wildguardmix-prompts")
    assert [(row.meta["label"], row.meta["type"]) for row in rows] == [
        ("safe", "vanilla"),
        ("unsafe", "vanilla"),
        ("unsafe", "adversarial"),
    ]
    assert drops == {"no prompt_harm_label": 1}


def test_the_test_split_of_wildguardmix_is_not_trained_on() -> None:
    assert set(DATASETS["wildguardmix"].hub_parts()) == {"train"}
    assert (
        set(DATASETS["wildguardmix-test"].hub_parts()) == set(DATASETS["wildguardmix-prompts"].hub_parts()) == {"test"}
    )


def test_judged_responses_name_both_sources() -> None:
    rows, _ = adapt("cosapien-judged")
    assert [(r.safe, r.label_source, r.meta["response_source"]) for r in rows] == [
        (True, "human", "model-a"),
        (False, "judge:model-b", "model-a"),
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("response_source", "", "response_source is ''"),
        ("response_source", None, "response_source is None"),
        ("label_source", None, "label_source is None; expected human or judge"),
        ("label_source", "proxy:type", "label_source is 'proxy:type'"),
        ("label", "", "label: '' is not one of"),
        ("scenario", "film", "scenario: 'film' is not one of"),
    ],
)
def test_a_judged_response_without_a_source_is_an_error(field: str, value: Any, message: str) -> None:
    row = load_fixture("cosapien-judged")["rows"][0] | {field: value}
    with pytest.raises(ValueError, match=f"row 0.*{message}"):
        list(cosa.cosapien_judged("c", {"rows": [row]}, Counter()))


def test_completions_that_comply_with_unsafe_prompts_are_unsafe() -> None:
    first = load_fixture("xstest-completions")["completions"][0]
    labels = {}
    for asked in ("safe", "unsafe"):
        for kind in ("1_full_compliance", "2_full_refusal", "3_partial_refusal"):
            drops: Counter[str] = Counter()
            row = first | {"prompt_label": asked, "final_label": kind}
            (found,) = ADAPTERS["xstest-completions"]("x", {"completions": [row]}, drops)
            labels[found.meta["subset"]] = (found.safe, found.refusal, drops.total())  # type: ignore[union-attr]
    assert labels == {
        "safe-compliance": (True, False, 0),
        "safe-full": (True, True, 0),
        "safe-partial": (True, True, 0),
        "unsafe-compliance": (False, False, 0),
        "unsafe-full": (True, True, 0),
        "unsafe-partial": (None, True, 1),
    }


def test_xstest_completions_keep_partial_refusals_apart() -> None:
    rows, _ = adapt("xstest-completions")
    assert [(r.refusal, r.meta["refusal_kind"]) for r in rows] == [
        (False, "compliance"),
        (True, "full"),
        (True, "partial"),
    ]


def test_xstest_responses_have_two_tasks() -> None:
    rows, _ = adapt("xstest-response")
    assert [(r.safe, r.refusal) for r in rows] == [(False, None), (True, None), (None, True), (None, False)]


def test_or_bench_labels_follow_the_part() -> None:
    from_mirror, from_hub = adapt("or-bench")[0]
    assert (from_mirror.meta, from_hub.meta) == (
        {"label": "benign", "type": "benign", "topic": None},
        {"label": "benign", "type": "benign", "topic": "deception"},
    )
    with pytest.raises(ValueError, match="'toxic', expected 'benign'"):
        list(ADAPTERS["or-bench"]("o", {"benign": [{"prompt": "a", "label": "toxic"}]}, Counter()))


def test_or_bench_counts_each_prompt_once_in_its_smallest_part() -> None:
    rows, drops = adapt("or-bench-full")
    assert [(row.meta["type"], row.meta["label"], row.prompt.split()[2]) for row in rows] == [
        ("benign-hard", "benign", "magicians"),
        ("toxic", "toxic", "I"),
        ("benign-80k", "benign", "actors"),
    ]
    assert drops == {"prompt both benign and toxic": 2, "prompt of benign-hard too": 1, "duplicate prompt": 1}


def test_cosalign_test_uses_the_explicit_table() -> None:
    rows, drops = adapt("cosalign-test")
    assert drops == {"note: no prompt_categories column": 1}
    by_id = {row.id: row.meta for row in rows}
    assert by_id["cosalign-test-fin+priv-0"]["allowed"] == ["financial_crime", "privacy"]
    assert by_id["cosalign-test-none-1"]["situation"] == "disallowed"
    assert by_id["cosalign-test-none-1"]["prompt_categories"] is None
    assert by_id["cosalign-test-viol+weap-0"]["split"] == "unseen"
    assert len(cosa.COSALIGN_TEST) == 8


def test_cosalign_test_refuses_another_configuration() -> None:
    row = {"prompt": "a", "mode": "exact", "situation": "1", "allowed_categories": ["Violence"]}
    with pytest.raises(ValueError, match="none: row 0 allows"):
        list(cosa.cosalign_test("c", {"none": [row]}, Counter()))


@pytest.mark.parametrize(
    "change", [{"mode": "not subset"}, {"situation": "3"}, {"situation": 2}, {"prompt_categories": ["Violence"]}]
)
def test_cosalign_test_refuses_a_situation_that_does_not_follow(change: dict[str, Any]) -> None:
    row = {"prompt": "a", "mode": "exact", "situation": "1", "prompt_categories": []} | change
    with pytest.raises(ValueError, match="none: row 0: situation"):
        list(cosa.cosalign_test("c", {"none": [row]}, Counter()))


def test_the_hubs_names_of_configurations() -> None:
    assert set(cosa.HUB_SPLITS.values()) == set(cosa.COSALIGN_TEST)
    parts = DATASETS["cosalign-test"].hub_parts()
    assert {split: part for part, (_, split) in parts.items()} == cosa.HUB_SPLITS
    rows, _ = adapt("cosalign-test-simplified")
    assert [row.meta["allowed"] for row in rows] == [["discrimination", "violence"], []]


def test_cosalign_train_keeps_configuration_and_groups() -> None:
    rows, _ = adapt("cosalign-train")
    assert rows[0].meta["allowed"] == ["privacy", "violence"] and rows[0].system
    assert rows[0].meta["chosen_group"] == [["violence"], 1] and rows[0].meta["errors"] == [0.1, 1.0]
    assert [row.meta["split"] for row in adapt("cosalign-dev")[0]] == ["dev"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen_category_error_score": 0.2}, "error score of chosen is 0.2, by its group 0.1"),
        ({"rejected_category_error_score": 0.0}, "chosen errs by 0.1, rejected by 0"),
        ({"chosen_cat": "(-Other Harms-, 1)", "chosen_category_error_score": 3.0}, "chosen violates"),
        ({"mode": "safe"}, "mode 'safe' does not give"),
        ({"spec_i": "-Illegal Drug_Related Activities and Substance Abuse-"}, "outside T"),
        ({"rejected_cat": "INVALID"}, "invalid groups must not be paired"),
        ({"rejected_category_error_score": float("nan")}, "chosen errs by 0.1, rejected by nan"),
    ],
)
def test_every_row_of_cosalign_train_keeps_the_rules(change: dict[str, Any], message: str) -> None:
    good, bad = (load_fixture("cosalign-train")["train_bt"][0] for _ in range(2))
    with pytest.raises(ValueError, match=message):
        list(cosa.cosalign_train("c", {"train_bt": [good, bad | change]}, Counter()))


def test_labelled_responses_of_cosalign() -> None:
    rows, drops = adapt("cosalign-labelled")
    assert [(row.harms, row.safe, row.meta["addressed"]) for row in rows] == [
        ({"violence": 1.0}, False, 1),
        ({}, True, 0),
    ]
    assert drops == {"no verdict on harms": 1, "note: both [[YES]] and [[NO]], the last counts": 1}


def test_prompt2response_of_cosalign() -> None:
    rows, drops = adapt("cosalign-prompt2response")
    assert [(row.harms, row.meta["addressed"]) for row in rows] == [
        ({}, 0),
        ({"violence": 1.0}, 1),
        ({"violence": 1.0}, 1),
    ]
    assert len({row.prompt_id for row in rows}) == 1 and drops == {"invalid verdict": 1}


def test_cosapien_has_policies_and_no_response_labels_on_prompts() -> None:
    (demonstration,) = adapt("cosapien")[0]
    assert demonstration.meta["policy"].startswith("We make board games")
    assert {row.meta["type"] for row in adapt("cosapien-prompts")[0]} == {"allowed", "disallowed", "partial"}


def test_safe_rlhf_prefers_the_one_safe_response_of_either_layout() -> None:
    rows, drops = adapt("safe-rlhf")
    assert drops == {"equal responses": 1, "both responses safe": 1, "both responses unsafe": 1}
    assert all(row.meta == {"chosen_safe": True, "rejected_safe": False} for row in rows)
    assert [(row.id, row.chosen.split()[0], row.rejected.split()[0]) for row in rows] == [
        ("safe-rlhf-0", "Please", "Push"),
        ("safe-rlhf-2", "Ask", "Take"),
        ("safe-rlhf-3", "Offer", "Tell"),
    ]


def test_safe_rlhf_contradiction_is_noticed_and_a_missing_label_fails() -> None:
    row = load_fixture("safe-rlhf")["pairs"][2]
    drops: Counter[str] = Counter()
    (found,) = pairs.safe_rlhf("s", {"pairs": [row | {"safer_response_id": 0}]}, drops)
    assert found.chosen == row["response_1"]
    assert drops == {"note: safer_response_id contradicts the safety labels": 1, "equal responses": 0}
    with pytest.raises(ValueError, match=r"safety labels of the responses: \(False, None\) is not one of"):
        list(pairs.safe_rlhf("s", {"pairs": [row | {"is_response_1_safe": None}]}, Counter()))
    empty = row | {"response_1": " "}
    assert not list(pairs.safe_rlhf("s", {"pairs": [empty]}, drops)) and drops["empty chosen"] == 1


def test_safe_rlhf_ranked_takes_every_pair_by_the_safer_response() -> None:
    rows, drops = adapt("safe-rlhf-ranked")
    assert [row.chosen.split()[0] for row in rows] == ["Ask", "Offer", "Practise", "Peek"]
    assert [row.meta for row in rows] == [{"differ": True}, {"differ": True}, {"differ": False}, {"differ": False}]
    assert not any(drops.values())
    row = load_fixture("safe-rlhf-ranked")["pairs"][0]
    with pytest.raises(ValueError, match=r"safer_response_id: 2 is not one of \[0, 1\]"):
        list(pairs.safe_rlhf_ranked("s", {"pairs": [row | {"safer_response_id": 2}]}, Counter()))


def test_pairs() -> None:
    first, second, third = adapt("cst-pairs")[0]
    assert (first.chosen, first.rejected) == (second.rejected, second.chosen)
    assert [row.meta["conditional"] for row in (first, second, third)] == [True, True, False]
    assert adapt("coconot")[0][0].meta["subtopic"] == "underspecified"


def test_wildguardmix_keeps_nulls() -> None:
    rows, drops = adapt("wildguardmix")
    assert [(r.safe, r.refusal) for r in rows] == [(True, False), (None, True), (False, False)]
    assert rows[2].harms == {"defamation_encouraging_unethical_or_unsafe_actions": 1.0}
    assert drops == {"empty response": 1, "note: no response_harm_label": 1}


def test_aegis2_drops_redacted_and_unlabelled() -> None:
    (row,), drops = adapt("aegis2")
    assert row.safe is False and row.meta["categories"] == ["Fraud/Deception", "Other"]
    assert drops == {"redacted prompt": 1, "no response label": 1}


def test_aegis2_labels_unsafe_responses_with_the_categories_of_its_taxonomy() -> None:
    rows, drops = adapt("aegis2-train")
    assert [row.harms for row in rows] == [{"violence": 1.0, "needs_caution": 1.0}, {"other": 1.0}, {}]
    assert [row.safe for row in rows] == [False, False, True] and not any(row.exhaustive for row in rows)
    assert drops == {"redacted prompt": 1, "no response label": 1}
    assert set(guards.AEGIS.values()) == {c.key for c in load_taxonomy("aegis2").categories}
    source = load_fixture("aegis2-train")["train"][0] | {"violated_categories": "Violence, Sarcasm"}
    with pytest.raises(ValueError, match="violated_categories: 'Sarcasm' is not one of"):
        list(guards.aegis2("a", {"train": [source]}, Counter()))


def test_aegis2_trains_under_its_13_and_1_categories() -> None:
    from random import Random

    from csrm.augment import base
    from csrm.augment.catalogue import Catalogue
    from csrm.settings import AugmentSettings

    groups, counts = base.build(
        adapt("aegis2-train")[0], Catalogue.load(["aegis2"], []), AugmentSettings(max_standard=14), Random(0)
    )
    labels = {group.id: group.branches[0].label for group in groups}
    assert list(labels.values()) == ["unsafe", "unsafe", "safe"] and counts["groups"] == 3
    keys = {c.key for c in groups[0].branches[0].config}
    assert {"violence", "needs_caution"} <= keys and not {"threat", "weapons"} & keys, "related ones are unknown"
    assert len(groups[2].branches[0].config) == 14


def test_topics_prompts_are_unique_and_have_families() -> None:
    rows, drops = adapt("topics-prompts")
    assert [row.meta["family"] for row in rows] == ["pets", "tea", "neutral"]
    assert drops == {"duplicate prompt": 1}


def test_unknown_label_lists_the_allowed_ones() -> None:
    row = {"prompt": "a", "response": "b", "label": "maybe"}
    with pytest.raises(ValueError, match=r"'maybe' is not one of \['harmful', 'unharmful'\]"):
        list(ADAPTERS["xstest-response"]("x", {"harmfulness": [row]}, Counter()))


def test_relevant_rules_of_a_policy_are_yours_to_name() -> None:
    rows, _ = adapt("dynabench-relevant")
    assert [row.meta["relevant_rules"] for row in rows] == [[1, 2], []]
    assert [row.meta["relevance_source"] for row in rows] == ["human", "judge:some-model"]
    assert rows[0].meta["policy"][0] == "Never promise a delivery date." and rows[0].meta["num_turns"] == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("relevant_rules", [3], r"row 0: relevant_rules is \[3\]; expected a list of numbers .* 1 to 2"),
        ("relevant_rules", [0], "relevant_rules"),
        ("relevant_rules", [True], "relevant_rules"),
        ("relevant_rules", "1", "relevant_rules"),
        ("relevant_rules", None, "relevant_rules"),
        ("relevance_source", "", "relevance_source is ''; expected human or judge:<model>"),
    ],
)
def test_relevant_rules_are_numbers_with_a_source(field: str, value: Any, message: str) -> None:
    row = load_fixture("dynabench-relevant")["rows"][0] | {field: value}
    with pytest.raises(ValueError, match=message):
        list(dynabench.dynabench_relevant("d", {"rows": [row]}, Counter()))


def test_relevant_rules_follow_their_row_where_another_is_dropped() -> None:
    parts = load_fixture("dynabench-relevant")
    silent = parts["rows"][1] | {"transcript": "User: Hello?"}
    rows = list(dynabench.dynabench_relevant("d", {"rows": [silent, parts["rows"][0]]}, Counter()))
    assert [(row.id, row.meta["relevant_rules"]) for row in rows] == [("d-rows-1", [1, 2])]
