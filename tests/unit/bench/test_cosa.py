"""Scenario benchmarks and prompts under allowed categories."""

from pathlib import Path

import pytest

from csrm.bench import cosa
from csrm.configs.taxonomy import load_taxonomy
from csrm.data.adapters import cosa as adapters
from csrm.files import text_id
from csrm.rows import Message, PromptRow, Row

CONFIGS = cosa.scenario_configs(Path("config"))
TAXONOMY = load_taxonomy("cosalign")


def response(name, safe=True, scenario="film_production", source="model-a", label_source="human"):
    messages = [Message(role="user", content=f"ask {name}"), Message(role="assistant", content=f"answer {name}")]
    meta = {"scenario": scenario, "response_source": source}
    data = {"id": name, "dataset": "d", "prompt_id": name, "messages": messages, "taxonomy": "none", "meta": meta}
    return Row(**data, safe=safe, label_source=label_source)


def prompt(name, config_id, allowed, risks, situation, text="How?"):
    meta = {"config_id": config_id, "split": "seen", "allowed": allowed, "situation": situation}
    meta["prompt_categories"] = risks
    return PromptRow(id=name, dataset="d", prompt_id=text_id(text), prompt=text, meta=meta)


def test_every_scenario_has_a_configuration():
    assert set(cosa.SCENARIOS) == set(adapters.SCENARIOS) == set(CONFIGS)
    assert all(len(config) > 1 for config in CONFIGS.values())


def test_responses_are_judged_under_their_scenario():
    rows = [response("a"), response("b", False, "language_learning", label_source="judge:m")]
    items, notes = cosa.scenario_items(rows, CONFIGS, "bench")
    assert [(i.label, i.subset) for i in items] == [("safe", "film_production"), ("unsafe", "language_learning")]
    assert items[1].config == CONFIGS["language_learning"]
    assert items[1].meta == {"response_source": "model-a", "label_source": "judge:m"}
    assert notes == {"response_sources": {"model-a": 2}, "label_sources": {"human": 1, "judge:m": 1}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": None}, r"lacks \['response_source'\]"),
        ({"label_source": ""}, r"lacks \['label_source'\]"),
        ({"safe": None}, r"lacks \['a label'\]: nothing is guessed"),
        ({"scenario": "opera"}, "scenario 'opera' is not one of"),
    ],
)
def test_what_a_response_lacks_is_an_error(change, message):
    with pytest.raises(ValueError, match=message):
        cosa.scenario_items([response("a", **change)], CONFIGS, "bench")


def test_types_of_prompts_are_a_proxy():
    rows = [
        PromptRow(id=t, dataset="d", prompt_id=t, prompt=t, meta={"scenario": "game_development", "type": t})
        for t in ("allowed", "partial", "disallowed")
    ]
    items = cosa.scenario_type_items(rows, CONFIGS, "bench")
    assert [i.label for i in items] == ["safe", "unsafe", "unsafe"]
    assert items[0].messages[-1].content == "Sure. allowed" and items[0].meta["label_source"] == "proxy:type"


def test_prompts_are_asked_under_all_that_is_not_allowed():
    rows = [
        prompt("a", "violence", ["violence"], ["violence"], "allowed"),
        prompt("b", "none", [], ["violence"], "disallowed"),
        prompt("c", "fin+priv", ["financial_crime", "privacy"], ["privacy", "violence"], "partial", "Why?"),
        prompt("d", "drugs", ["drugs"], None, "allowed", "When?"),
    ]
    items = cosa.allowed_items(rows, TAXONOMY, "bench")
    assert [i.label for i in items] == ["safe", "unsafe", "unsafe", "safe"]
    assert [c.key for c in items[1].config] == [c.key for c in TAXONOMY.categories]
    assert {c.key for c in items[1].config} - {c.key for c in items[0].config} == {"violence"}
    assert [i.rank for i in items] == ["chosen", "rejected", None, None] and items[0].pair == items[1].pair
    assert [i.subset for i in items] == ["violence", "none", "fin+priv", "drugs"]


def test_a_third_configuration_of_a_prompt_joins_no_pair():
    rows = [
        prompt("a", "violence", ["violence"], ["violence"], "allowed"),
        prompt("b", "none", [], ["violence"], "disallowed"),
        prompt("c", "drugs", ["drugs"], ["violence"], "disallowed"),
    ]
    assert [i.rank for i in cosa.allowed_items(rows, TAXONOMY, "bench")] == ["chosen", "rejected", None]


def test_a_situation_that_contradicts_the_categories_is_an_error():
    with pytest.raises(ValueError, match=r"situation 'allowed', but \['violence'\] under allowed \[\]"):
        cosa.allowed_items([prompt("a", "none", [], ["violence"], "allowed")], TAXONOMY, "bench")
