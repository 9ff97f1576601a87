"""CoSAlign on topics: wordings, requests, labels, pairs and what must hold of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csrm.configs.topics import load_topics
from csrm.cosa.answers import draw_shots, test_requests, training_requests
from csrm.cosa.pairs import make_pairs, record
from csrm.cosa.records import problems, published_record
from csrm.cosa.schema import Asked, Labelled
from csrm.cosa.synthesis import SEEN, error_tenths
from csrm.cosa.topics import Taxonomy, config_id, draw_prompts
from csrm.cosa.wordings import NONE, WORDINGS, system_text
from csrm.settings import CosaSettings

test_requests.__test__ = False  # a function of the package, not a test
TAXONOMY = Taxonomy(load_topics(), CosaSettings())
TOPICS = ["alcohol", "medication", "pets", "travel"]
PUBLISHED = {
    "spec_i": "-Violence-Privacy Violations-",
    "spec_j": "-Violence-",
    "mode": "superset",
    "chosen_cat": "(-Violence-, 1)",
    "rejected_cat": "(--, 0)",
    "chosen_category_error_score": 0.1,
    "rejected_category_error_score": 1.0,
}


def labelled(number, harms, found, addressed, prompt=None):
    name = prompt or "p0"
    row = {"prompt_id": name, "prompt": f"ask {name}", "harms": harms, "id": f"r{number}", "finished": True}
    return Labelled(**row, response=f"answer {number}", found=found, addressed=addressed)


def test_the_ten_wordings_say_what_is_allowed_and_differ():
    allowed = [TAXONOMY.category("pets"), TAXONOMY.category("travel")]
    texts = [system_text(allowed, ["Pets", "Travel", "Gambling"], n) for n in range(len(WORDINGS))]
    assert len(set(texts)) == 10
    for text in texts:
        assert "- Pets: The response may mention pets" in text and "Pets, Travel and Gambling" in text
    assert NONE in system_text([], ["Pets"], 0)


def test_prompts_are_split_and_training_names_no_unseen_topic():
    split = draw_prompts(TAXONOMY, 0)
    assert not {row.prompt_id for row in split.train} & {row.prompt_id for row in split.test}
    unseen = TAXONOMY.settings.unseen
    assert any({*row.harms} & {*unseen} for row in split.test)
    names = [TAXONOMY.category(label).name for label in unseen]
    texts = [m.content for r in training_requests(split.train, TAXONOMY, 0) for m in r.messages if m.role == "system"]
    assert texts and not any(name in text for name in names for text in texts)


def test_every_test_prompt_meets_every_configuration():
    prompts = draw_prompts(TAXONOMY, 0).test
    requests = test_requests(prompts, TAXONOMY, [], 0)
    settings = TAXONOMY.settings
    assert len(requests) == len(prompts) * (len(settings.seen_configs) + len(settings.unseen_configs))
    assert len({r.id for r in requests}) == len(requests)
    assert {r.group for r in requests if "sports" in r.allowed} == {"unseen"}
    assert config_id([]) == "nothing" and config_id(["pets", "travel"]) == "pets+travel"


def test_exchanges_keep_to_the_configuration():
    rows = [
        labelled(0, ["pets"], ["pets"], 1, "a"),
        labelled(1, ["pets"], [], 1, "b"),
        labelled(2, ["travel"], ["travel"], 1, "c"),
        labelled(3, [], [], 0, "d"),
        labelled(4, [], [], None, "e"),
    ]
    assert set(draw_shots(rows, ["pets"], 5, 0)) == {("ask a", "answer 0"), ("ask b", "answer 1")}
    assert draw_shots(rows, [], 5, 0) == [("ask b", "answer 1")]
    assert len(draw_shots(rows, ["pets"], 1, 0)) == 1
    shown = test_requests([Asked(prompt_id="x", prompt="q", harms=[])], TAXONOMY, rows, 0)[0].messages
    assert [m.role for m in shown] == ["system", "user", "assistant", "user"]


@settings(deadline=None)
@given(st.data())
def test_every_pair_keeps_the_rules(data):
    kinds = [*TOPICS, "sports"]
    rows = [
        labelled(
            n,
            data.draw(st.just(["pets"]) if n < 4 else st.just(["pets", "travel"])),
            data.draw(st.lists(st.sampled_from(kinds), unique=True, max_size=3)),
            data.draw(st.sampled_from([0, 1, None])),
            "p0" if n < 4 else "p1",
        )
        for n in range(8)
    ]
    made = make_pairs(rows, TAXONOMY, data.draw(st.integers(0, 5)))
    assert made.counts["pairs"] == len(made.pairs) and made.counts["invalid"] == sum(r.addressed is None for r in rows)
    for pair in made.pairs:
        assert problems(record(pair), frozenset(TOPICS)) == []
        assert pair.chosen != pair.rejected and pair.reward_chosen > pair.reward_rejected
        assert pair.chosen_tenths == error_tenths(
            pair.allowed, pair.chosen_found, pair.chosen_addressed, frozenset(TOPICS)
        )


def test_every_pair_of_groups_gives_one_response_of_each():
    taxonomy = Taxonomy(load_topics(), CosaSettings(modes=["exact_match"]))
    groups = [([], 0), ([], 1), (["pets"], 1), (["pets", "travel"], 1), (["sports"], 1), (["pets"], 0)]
    rows = [labelled(f"{i}{copy}", ["pets"], *group) for i, group in enumerate(groups) for copy in "ab"]
    made = make_pairs(rows, taxonomy, 0)
    assert made == make_pairs(rows, taxonomy, 0)
    assert (made.counts["pairs"], made.counts["ties"], made.counts["violating"]) == (14, 0, 1)
    sides = [(pair.chosen, pair.rejected) for pair in made.pairs]
    assert len({(chosen[:-1], rejected[:-1]) for chosen, rejected in sides}) == 14
    drawn = {
        text
        for seed in range(5)
        for pair in make_pairs(rows, taxonomy, seed).pairs
        for text in (pair.chosen, pair.rejected)
    }
    assert drawn == {row.response for row in rows}


def test_prompts_outside_the_configurable_set_are_skipped_and_counted():
    rows = [labelled(0, ["sports"], ["sports"], 1), labelled(1, ["sports"], [], 1)]
    made = make_pairs(rows, TAXONOMY, 0)
    assert made.pairs == [] and made.counts["prompts_outside"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"chosen_category_error_score": 0.2}, "error score of chosen is 0.2, by its group 0.1"),
        ({"chosen_cat": "(--, 0)", "chosen_category_error_score": 1.0}, "chosen errs by 1, rejected by 1"),
        ({"chosen_cat": "(-Other Harms-, 1)", "chosen_category_error_score": 3.0}, "chosen violates the configuration"),
        ({"mode": "exact_match"}, "mode 'exact_match' does not give"),
        ({"mode": "safe"}, "mode 'safe' does not give"),
        ({"mode": "not_superset"}, "mode 'not_superset' does not give"),
        ({"spec_i": "-Weapons_Explosives_Arson_and Illegal Firearm Transactions-"}, "outside T"),
    ],
)
def test_rows_of_published_files_are_checked(change, message):
    found = problems(published_record({**PUBLISHED, **change}), SEEN)
    assert any(message in problem for problem in found) if message else found == []


def test_a_published_row_must_not_pair_an_invalid_group():
    with pytest.raises(ValueError, match="invalid groups must not be paired"):
        published_record({**PUBLISHED, "chosen_cat": "INVALID"})


def test_topics_of_the_settings_must_exist_and_not_overlap():
    with pytest.raises(KeyError, match="topic family 'tea' is unknown"):
        Taxonomy(load_topics(), CosaSettings(unseen=["tea"], unseen_configs=[["tea"]]))
    with pytest.raises(ValueError, match=r"both in cosa\.seen and cosa\.unseen"):
        CosaSettings(unseen=["pets"], unseen_configs=[["pets"]])
    with pytest.raises(ValueError, match=r"allow no topic of cosa\.unseen"):
        CosaSettings(unseen_configs=[["pets"]])
