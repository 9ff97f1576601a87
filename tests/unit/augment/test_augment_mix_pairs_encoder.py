from collections import Counter

import numpy as np
import pytest

from csrm.augment import response_pairs
from csrm.augment.encoder import HashEncoder, load_encoder
from csrm.augment.mix import allocate, by_source, mix
from csrm.configs.safety_config import Category
from csrm.rows import Branch, Group, Message, PairRow

CONFIG = [Category(name="Violence", key="violence")]


SHARES = {"base": 1.0, "cca": 2.0, "sa": 1.0, "response": 0.5}


def flat(units):
    return [group for unit in units for group in unit]


def group(source, number, text="x"):
    messages = [Message(role="assistant", content=text)]
    branch = Branch(config=CONFIG, label="safe", source=source)
    return Group(id=f"{source}{number}", prompt_id="p", messages=messages, branches=[branch])


SOURCES = {s: [group(s, i) for i in range(n)] for s, n in (("base", 7), ("cca", 5), ("sa", 3))}


def test_variants_have_equal_totals_and_their_sources():
    for cca, sa in ((True, True), (False, True), (False, False)):
        drawn, counts = mix(SOURCES, cca, sa, 40, 1, SHARES)
        assert len(drawn) == sum(counts.values()) == 40
        assert set(by_source(flat(drawn))) == {"base"} | ({"cca"} if cca else set()) | ({"sa"} if sa else set())
        assert (drawn, counts) == mix(SOURCES, cca, sa, 40, 1, SHARES)
    assert mix(SOURCES, True, True, 40, 1, SHARES)[1] == {"base": 10, "cca": 20, "sa": 10}
    assert mix(SOURCES, True, True, 40, 1, SHARES) != mix(SOURCES, True, True, 40, 2, SHARES)


def test_a_conversation_takes_its_groups_along():
    sources = {s: [group(s, i, f"text {i}") for i in range(n)] for s, n in (("base", 7), ("cca", 5), ("sa", 3))}
    sources["sa"].append(group("sa", 9, "text 0"))
    sources["response"] = [group("response", i) for i in range(3)]
    drawn, counts = mix(sources, True, True, 45, 0, SHARES, by_conversation=True)
    assert len(drawn) == 45 and counts == {"base": 40, "cca": 40, "sa": 24, "response": 5}
    by_lead = {}
    for unit in drawn:
        assert len({g.messages[0].content for g in unit}) == 1 and len({g.branches[0].source for g in unit}) == len(
            unit
        )
        by_lead.setdefault(unit[0].id, []).append([g.id for g in unit[1:]])
    assert by_lead["cca4"] == [["base4"]] * 8 and by_lead["cca1"] == [["base1", "sa1"]] * 8
    assert Counter(mates[1] for mates in by_lead["cca0"]) == {"sa0": 4, "sa9": 4}
    drawn, counts = mix(sources, False, True, 45, 0, SHARES, by_conversation=True)
    assert counts["base"] + counts["response"] == 45 and {len(unit) for unit in drawn} == {1, 2}
    assert mix(sources, True, True, 45, 0, {**SHARES, "base": 0.0}, by_conversation=True)[1].keys() == {
        *("cca", "sa", "response")
    }


def test_epochs_are_without_replacement():
    drawn, _ = mix(SOURCES, False, False, 20, 0, SHARES)
    uses = Counter(g.id for g in flat(drawn))
    assert len(uses) == 7 and max(uses.values()) - min(uses.values()) <= 1


def test_mix_names_what_is_missing():
    with pytest.raises(ValueError, match="sa"):
        mix({"base": SOURCES["base"]}, False, True, 4, 0, SHARES)
    with pytest.raises(ValueError, match="unknown"):
        mix({"other": []}, False, False, 4, 0, SHARES)
    assert allocate({"a": 1, "b": 1, "c": 1}, 10) == {"a": 4, "b": 3, "c": 3}


def pair(**fields):
    data = {"id": "1", "dataset": "d", "prompt_id": "p", "prompt": "Q", "chosen": "good", "rejected": "bad"}
    return PairRow(**{**data, **fields})


def test_response_pairs():
    rows = [pair(), pair(meta={"chosen_safe": True, "rejected_safe": False}), pair(rejected="good")]
    groups, counts = response_pairs.build(rows, CONFIG)
    assert counts["dropped: equal responses"] == 1 and counts["groups"] == 2
    assert groups[0].pairs == [(0, 1)] and [b.label for b in groups[0].branches] == [None, None]
    assert [b.label for b in groups[1].branches] == ["safe", "unsafe"]
    assert [b.messages[-1].content for b in groups[0].branches] == ["good", "bad"]
    with pytest.raises(ValueError, match="--config"):
        response_pairs.build(rows, None)
    own = response_pairs.pair_group(pair(config=CONFIG, system="Be kind."), None)
    assert own.branches[0].messages[0].role == "system"


def test_hash_encoder_is_chosen_by_name_and_deterministic(tmp_path):
    encoder = load_encoder("hash")
    assert isinstance(encoder, HashEncoder)
    vectors = encoder.encode(["A red fox.", "a red fox", "trains"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1) and vectors[0] @ vectors[1] == pytest.approx(1)
    assert vectors[0] @ vectors[2] == 0 and not encoder.encode([""]).any()
    with pytest.raises(FileNotFoundError, match="hash"):
        load_encoder(tmp_path)


def test_minilm_orders_by_meaning_and_ignores_the_batch(minilm):
    encoder = load_encoder(minilm)
    a, b, c = encoder.encode(["How to sharpen a knife", "Making a blade sharp", "The weather in Norway next week"])
    assert a @ b > a @ c and np.allclose(encoder.encode(["How to sharpen a knife"])[0], a)
