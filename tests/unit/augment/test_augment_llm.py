import json
import re
import shutil
import threading
import time
from random import Random
from string import Formatter
from types import SimpleNamespace

import augment_fakes as fakes
import pytest

from csrm.augment import cca
from csrm.augment.catalogue import Catalogue
from csrm.augment.cca_statistics import statistics
from csrm.augment.concurrency import ordered_map
from csrm.augment.encoder import HashEncoder
from csrm.augment.held_out import HeldOut
from csrm.augment.llm import LLM
from csrm.augment.llm_proposer import LLMProposer, classify, parse_proposal, parse_violation
from csrm.augment.llm_strictness import LLMBackend, parse_subcategories
from csrm.augment.prompts import CLASSIFY, PROMPTS, PROPOSE, parse_object, versions
from csrm.augment.proposers import Case
from csrm.augment.strictness import run
from csrm.configs.safety_config import Category
from csrm.settings import LLMSettings

CATALOGUE = fakes.catalogue()
HELD_OUT = HeldOut(CATALOGUE, HashEncoder())


def case(row):
    return Case(row, CATALOGUE.facts(row, 0.5), [])


def oracle(messages):
    """A model that calls a response a violation of any text that shares its word `gore`, `fraud` or `kind N`."""
    text = messages[1]["content"]
    if "Invent two" in text:
        return {
            "violated": {"name": "gore talk", "guideline": "No gore."},
            "respected": {"name": "train talk", "guideline": "No trains."},
        }
    if "Is it a violation" in text:
        conversation, _, category = text.partition("The policy has a single category:")
        return {"violation": any(w in conversation and w in category for w in ("gore", "kind 1", "kind 2", "kind 3"))}
    if "between 4 and 10" in text:
        return {"subcategories": ["kind 1", "kind 2"]}
    if "none of the known" in text:
        return {"subcategories": ["kind 3"]}
    if "most severe" in text:
        return {"number": 1}
    return {"guideline": "Responses with gore are unsafe."}


@pytest.fixture
def endpoint(chat_endpoint):
    """The server with the oracle's answers."""
    chat_endpoint["answer"] = lambda messages: json.dumps(oracle(messages))
    return chat_endpoint


def llm(endpoint, cache, **fields):
    return LLM(LLMSettings(model="fake", base_url=endpoint["url"], **fields), cache)


def test_answers_are_cached_exactly(endpoint, tmp_path):
    cache = tmp_path / "answers" / "llm.jsonl"
    values = {"conversation": "Agent: gore", "categories": "- gore"}
    first = llm(endpoint, cache)
    assert first.ask(CLASSIFY, parse_violation, **values) is True
    assert first.ask(CLASSIFY, parse_violation, **values) is True
    assert len(endpoint["requests"]) == 1
    endpoint["answer"] = lambda messages: pytest.fail("a known answer was asked for again")
    again = llm(endpoint, cache)
    assert again.ask(CLASSIFY, parse_violation, **values) is True
    assert again.counts["answers from the cache"] == 1 and len(cache.read_text().splitlines()) == 1
    messages = CLASSIFY.messages(**values)
    assert again.key(messages, CLASSIFY) != llm(endpoint, cache, temperature=0.5).key(messages, CLASSIFY)
    assert again.key(messages, CLASSIFY) != llm(endpoint, cache, max_tokens=7).key(messages, CLASSIFY)
    assert again.key(messages, CLASSIFY) != llm(endpoint, cache, structured=False).key(messages, CLASSIFY)
    assert again.key(messages, CLASSIFY) != again.key(messages, PROPOSE)


def test_bad_answers_are_retried_with_the_error_then_given_up(endpoint, tmp_path):
    answers = iter(["no json", '{"violation": "maybe"}', 'Sure: {"violation": false}.'])
    endpoint["answer"] = lambda messages: next(answers)
    model = llm(endpoint, tmp_path / "a.jsonl", retries=2)
    assert model.ask(CLASSIFY, parse_violation, conversation="x", categories="y") is False
    assert model.counts["classify: answers that did not parse"] == 2
    assert "could not be used" in endpoint["requests"][-1]["messages"][-1]["content"]
    endpoint["answer"] = lambda messages: "never"
    model = llm(endpoint, tmp_path / "b.jsonl", retries=1)
    assert model.ask(CLASSIFY, parse_violation, conversation="x", categories="y") is None
    assert model.counts["classify: given up"] == 1


def test_proposals_are_verified_and_a_rerun_is_free(endpoint, tmp_path):
    rows = [
        fakes.row("a", "harms", "about gore", harms={"gore": 1.0}),
        fakes.row("b", "harms", "hm", harms={"gore": 0}),
    ]

    def build():
        proposer = LLMProposer(llm(endpoint, tmp_path / "c.jsonl"), 0.5, HELD_OUT)
        return cca.build(rows, CATALOGUE, proposer, fakes.settings(contrasts=1), Random(0))

    groups, counts = build()
    sides = statistics(counts)["proposals"]
    assert (sides["p+"]["proposed"], sides["p+"]["accepted"], sides["p+"]["accepted_rate"]) == (2, 1, 0.5)
    assert sides["p+"]["rejected"] == {"not verified": {"count": 1, "rate": 0.5}}
    assert sides["p-"]["accepted"] == 2 and len(groups) == 2
    asked = len(endpoint["requests"])
    assert build()[0] == groups and len(endpoint["requests"]) == asked


def test_held_out_words_are_rejected(endpoint, tmp_path):
    answer = {"violated": None, "respected": {"name": "Secret keeping", "guideline": "x"}}
    endpoint["answer"] = lambda messages: json.dumps(answer)
    proposer = LLMProposer(llm(endpoint, tmp_path / "d.jsonl"), 1.0, HELD_OUT)
    row = fakes.row("a", "harms", "x", harms={"gore": 0})
    assert next(proposer.proposals(case(row), Random(0))) == (None, None)
    assert proposer.notes["p- rejected: names a held-out family"] == 1


def test_what_means_a_held_out_family_is_rejected_and_counted(endpoint, tmp_path):
    """`secret kind 3` shares no word with the lexicons: only the bank says what it means."""
    respected = {"name": "Hush kind 3", "guideline": "No covert kind 3."}
    bank = [*CATALOGUE.bank(), *CATALOGUE.bank(unseen=True)]
    renamed = [SimpleNamespace(**vars(c)) for c in bank]
    for category in renamed:
        if category.family == "secret":
            category.name = f"hush kind {category.severity}"
            category.guideline = f"No covert kind {category.severity}."
    held_out = HeldOut(Catalogue(renamed, {}, ["secret"]), HashEncoder())
    endpoint["answer"] = lambda messages: json.dumps({"violated": None, "respected": respected})
    proposer = LLMProposer(llm(endpoint, tmp_path / "m.jsonl"), 1.0, held_out)
    assert next(proposer.proposals(case(fakes.row("a", "harms", "x", harms={"gore": 0})), Random(0))) == (None, None)
    assert proposer.notes["p- rejected: means a held-out family"] == 1


def test_strictness_rejects_held_out_subcategories_and_guidelines(endpoint, tmp_path):
    def answer(messages):
        text = messages[1]["content"]
        if "between 4 and 10" in text:
            return json.dumps({"subcategories": ["kind 1", "secret kind 2", "my dogs"]})
        if "Rewrite its guideline" in text:
            return json.dumps({"guideline": "Responses with secret gore are unsafe."})
        return json.dumps(oracle(messages))

    endpoint["answer"] = answer
    gore = CATALOGUE.taxonomy("harms")[0]
    backend = LLMBackend(gore, llm(endpoint, tmp_path / "n.jsonl"), HELD_OUT)
    pool = [fakes.row(str(i), "harms", f"gore, kind {i % 3 + 1}", harms={"gore": 1.0}) for i in range(6)]
    report = run(pool, backend, 0.05, 0.5).report()
    assert report["subcategories"] == ["kind 1", "kind 3"] and report["proposed"] == 1
    assert [r["guideline"] for r in report["rewrites"]] == ["Unsafe: kind 1. Allowed: kind 3."]
    assert backend.notes == {"subcategory names a held-out family": 2, "guideline names a held-out family": 1}


def slow_and_late(messages):
    """An answer that names the conversation, given the sooner the later the conversation was asked about."""
    text = messages[1]["content"]
    number = int(re.search(r"story (\d+)", text).group(1))
    time.sleep((12 - number) * 0.005)
    answer = oracle(messages)
    if "Invent two" in text:
        answer["violated"]["name"] = f"gore talk {number} {text.count('gore talk')}"
    return json.dumps(answer)


def test_requests_side_by_side_give_the_same_groups(endpoint, tmp_path):
    endpoint["answer"] = slow_and_late
    rows = [fakes.row(str(n), "harms", f"gore story {n}", harms={"gore": 1.0}) for n in range(12)]

    def build(workers):
        model = llm(endpoint, tmp_path / f"{workers}.jsonl")
        proposer = LLMProposer(model, 0.5, HELD_OUT, workers)
        groups, counts = cca.build(rows, CATALOGUE, proposer, fakes.settings(contrasts=2), Random(0))
        return groups, counts, model.counts

    assert build(6) == build(1)
    lines = [{line for line in (tmp_path / f"{n}.jsonl").read_text().splitlines()} for n in (1, 6)]
    assert lines[0] == lines[1] and len(lines[0]) == len(endpoint["requests"]) / 2


def test_algorithm_1_side_by_side_is_the_same(endpoint, tmp_path):
    gore = CATALOGUE.taxonomy("harms")[0]
    pool = [fakes.row(str(i), "harms", f"gore, kind {i % 5 + 1}", harms={"gore": 1.0}) for i in range(15)]
    found = [run(pool, LLMBackend(gore, llm(endpoint, tmp_path / f"s{n}.jsonl")), 0.05, 0.5, n) for n in (1, 4)]
    assert found[0] == found[1] and found[0].extended == 1 and found[0].tests


def test_requests_are_in_flight_together(endpoint, tmp_path):
    together = threading.Barrier(4, timeout=20)

    def answer(messages):
        together.wait()
        return json.dumps({"violation": True})

    endpoint["answer"] = answer
    model = llm(endpoint, tmp_path / "t.jsonl")
    texts = [f"Agent: {n}" for n in range(4)]
    assert ordered_map(lambda text: classify(model, text, Category(name="gore")), texts, 4) == [True] * 4


def test_an_error_beside_others_is_raised():
    with pytest.raises(ZeroDivisionError):
        ordered_map(lambda n: 1 // n, [1, 0, 2, 3], 2)


def numbered(messages):
    """A model that answers as `oracle` does, with names that count the request; the third repeats the second."""
    answer = oracle(messages)
    if "This is request" in messages[1]["content"]:
        request = int(messages[1]["content"].partition("This is request ")[2].split()[0])
        for side in answer.values():
            side["name"] = f"{side['name']} {min(request, 2)}"
    return json.dumps(answer)


def test_contrasts_of_one_conversation_differ_and_are_cached(endpoint, tmp_path):
    endpoint["answer"] = numbered
    row = fakes.row("a", "harms", "about gore", harms={"gore": 1.0})

    def propose():
        proposer = LLMProposer(llm(endpoint, tmp_path / "f.jsonl"), 1.0)
        found = proposer.proposals(case(row), Random(0))
        return [next(found) for _ in range(3)], proposer.notes

    (first, second, third), notes = propose()
    assert (first.positive.name, second.positive.name) == ("gore talk 1", "gore talk 2")
    assert (first.negative.name, second.negative.name) == ("train talk 1", "train talk 2")
    assert third == (None, None) and notes["p+ rejected: repeats an earlier proposal"] == 1
    prompts = [r["messages"][1]["content"] for r in endpoint["requests"]]
    assert any("request 3" in p and "gore talk 1: No gore." in p and "train talk 2" in p for p in prompts)
    asked = len(endpoint["requests"])
    assert propose()[0] == [first, second, third] and len(endpoint["requests"]) == asked


def test_verification_that_never_parses_is_counted_apart(endpoint, tmp_path):
    endpoint["answer"] = lambda m: "hm" if "Is it a violation" in m[1]["content"] else json.dumps(oracle(m))
    proposer = LLMProposer(llm(endpoint, tmp_path / "g.jsonl", retries=0), 1.0)
    row = fakes.row("a", "harms", "about gore", harms={"gore": 1.0})
    assert next(proposer.proposals(case(row), Random(0))) == (None, None)
    assert proposer.notes["p+ rejected: no verification that parses"] == 1


def test_algorithm_1_through_the_model(endpoint, tmp_path):
    gore = CATALOGUE.taxonomy("harms")[0]
    pool = [fakes.row(str(i), "harms", f"gore, kind {i % 3 + 1}", harms={"gore": 1.0}) for i in range(6)]
    result = run(pool, LLMBackend(gore, llm(endpoint, tmp_path / "e.jsonl")), 0.05, 0.5)
    assert (result.proposed, result.extended, result.uncovered) == (2, 1, 0)
    assert [len(r.disallowed) for r in result.rewrites.values()] == [1, 2]
    (test,) = result.tests
    assert (test.strict, test.lenient, test.k, test.n) == (2, 1, 6, 6) and test.passed and not result.graded


def test_severity_is_sorted_by_repeated_selection_and_rewrites_are_its_prefixes(endpoint, tmp_path):
    def answer(messages):
        text = messages[1]["content"]
        if "most severe" in text:
            listed = re.findall(r"^(\d+)\. kind (\d+)$", text, re.MULTILINE)
            return json.dumps({"number": int(max(listed, key=lambda pair: int(pair[1]))[0])})
        if "between 4 and 10" in text:
            return json.dumps({"subcategories": ["kind 2", "kind 9", "kind 5", "kind 7"]})
        return json.dumps(oracle(messages))

    endpoint["answer"] = answer
    gore = CATALOGUE.taxonomy("harms")[0]
    pool = [fakes.row("a", "harms", "gore, kind 9", harms={"gore": 1.0})]
    result = run(pool, LLMBackend(gore, llm(endpoint, tmp_path / "h.jsonl")), 0.05, 0.5)
    ordered = [s for s in result.report()["subcategories"] if s in ("kind 9", "kind 7", "kind 5", "kind 2")]
    assert ordered == ["kind 9", "kind 7", "kind 5", "kind 2"]
    for k, rewrite in result.rewrites.items():
        names = [s.name for s in (*rewrite.disallowed, *rewrite.allowed)]
        assert len(rewrite.disallowed) == k and names == result.report()["subcategories"]
    asked = [r["messages"][1]["content"] for r in endpoint["requests"] if "most severe" in r["messages"][1]["content"]]
    assert [len(re.findall(r"^\d+\. ", text, re.MULTILINE)) for text in asked] == [5, 4, 3, 2]


def test_a_rewrite_that_is_not_followed_lowers_recall_and_fails_the_test(endpoint, tmp_path):
    """The case of Figure 3: the strictest text is obeyed least; its pairs are recorded and not kept."""
    kinds = [f"kind {n}" for n in (1, 2, 3)]

    def answer(messages):
        text = messages[1]["content"]
        if "between 4 and 10" in text:
            return json.dumps({"subcategories": kinds})
        if "Rewrite its guideline" in text:
            disallowed = text.partition("are unsafe:")[2].partition("and responses with only")[0]
            return json.dumps({"guideline": f"forbids {disallowed.count('- ')}"})
        conversation, _, category = text.partition("The policy has a single category:")
        if "forbids" in category:
            return json.dumps({"violation": "forbids 1" in category or "kind 1" in conversation})
        return json.dumps(oracle(messages))

    endpoint["answer"] = answer
    gore = CATALOGUE.taxonomy("harms")[0]
    pool = [fakes.row(str(i), "harms", f"gore, {kinds[i % 3]}", harms={"gore": 1.0}) for i in range(9)]
    report = run(pool, LLMBackend(gore, llm(endpoint, tmp_path / "i.jsonl")), 0.05, 0.5).report()
    assert [r["recall"] for r in report["rewrites"]] == [1.0, pytest.approx(1 / 3)]
    (test,) = report["tests"]
    assert (test["k"], test["n"], test["passed"], report["kept"]) == (3, 9, False, 0)


@pytest.mark.parametrize("text", ["", "[1]", "{", "{]}"])
def test_text_without_an_object_is_refused(text):
    with pytest.raises(ValueError):
        parse_object(text)


def test_malformed_proposals_are_refused():
    for data in ({"violated": None}, {"violated": None, "respected": {"name": "", "guideline": "x"}}):
        with pytest.raises((ValueError, KeyError)):
            parse_proposal(data)
    long = {"name": "a", "guideline": "w " * 50}
    with pytest.raises(ValueError, match="too long"):
        parse_proposal({"violated": None, "respected": long})


def test_prompts_are_versioned_and_fill_in():
    assert len(versions()) == len(PROMPTS) == len({p.digest for p in PROMPTS})
    fields = dict.fromkeys(("conversation", "categories", "known", "disallowed", "allowed", "number", "earlier"), "x")
    assert all("{{" not in p.messages(**fields)[1]["content"] for p in PROMPTS)


def test_a_model_must_be_named(tmp_path):
    with pytest.raises(ValueError, match="is not set"):
        LLM(LLMSettings(), tmp_path / "x.jsonl")


def test_the_endpoint_is_asked_for_the_schema(endpoint, tmp_path):
    values = {"conversation": "Agent: gore", "categories": "- gore"}
    llm(endpoint, tmp_path / "a.jsonl").ask(CLASSIFY, parse_violation, **values)
    form = endpoint["requests"][-1]["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["schema"] == CLASSIFY.schema
    llm(endpoint, tmp_path / "b.jsonl", structured=False).ask(CLASSIFY, parse_violation, **values)
    assert "response_format" not in endpoint["requests"][-1]


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_a_random_local_model_answers_by_the_schema(prompt, tiny_backbone, tmp_path):
    fields = {name for _, name, _, _ in Formatter().parse(prompt.user) if name}
    for temperature in (0.0, 1.0):
        settings = LLMSettings(model=str(tiny_backbone), max_tokens=900, temperature=temperature)
        answer = LLM(settings, tmp_path / "c.jsonl").complete(prompt.messages(**dict.fromkeys(fields, "x")), prompt)
        assert set(json.loads(answer)) == set(prompt.schema["required"])


def test_answers_of_a_local_model_move_with_its_folder(tiny_backbone, tmp_path):
    shutil.copytree(tiny_backbone, tmp_path / "copy")
    messages = CLASSIFY.messages(conversation="x", categories="y")
    first = LLM(LLMSettings(model=str(tiny_backbone)), tmp_path / "a.jsonl").key(messages, CLASSIFY)
    assert LLM(LLMSettings(model=str(tmp_path / "copy")), tmp_path / "a.jsonl").key(messages, CLASSIFY) == first
    (tmp_path / "copy" / "config.json").write_text("{}")
    assert LLM(LLMSettings(model=str(tmp_path / "copy")), tmp_path / "a.jsonl").key(messages, CLASSIFY) != first


def test_models_of_the_hub_do_not_share_answers(tmp_path):
    messages = CLASSIFY.messages(conversation="x", categories="y")
    keys = {LLM(LLMSettings(model=name), tmp_path / "a.jsonl").key(messages, CLASSIFY) for name in ("org/a", "org/b")}
    assert len(keys) == 2


def test_the_dots_of_the_prompts_form_are_no_subcategories():
    """What SmolLM2-135M-Instruct answers."""
    assert parse_subcategories({"subcategories": [" kind  1 "]}) == ["kind 1"]
    with pytest.raises(ValueError, match="must be a list of names"):
        parse_subcategories({"subcategories": ["...", "..."]})
