"""The category bank: size, uniqueness, wording limits, severities and families; and how topics join it."""

import json
import re
from collections import Counter
from importlib import resources

import pytest
import yaml

from csrm.configs import bank

HARM = {
    "animal_abuse", "child_abuse", "drugs", "environment", "exploits", "financial_crime", "harassment", "hate_speech",
    "info_integrity", "politics", "privacy", "profanity", "representational", "self_harm", "sexual", "terrorism",
    "trafficking", "unethical", "violence", "weapons",
}  # fmt: skip
STYLE = {"ai_persona", "financial_advice", "legal_advice", "medical_advice", "overconfidence", "refusal"}
FOLDER = resources.files("csrm.configs")
TEXT = (FOLDER / "bank.jsonl").read_text(encoding="utf-8")
SEMANTIC = bank.parse_semantic(TEXT)
SMALL_WORDS = {
    "a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "of", "on", "one", "or", "the", "to", "with",
}  # fmt: skip


def content_words(text: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z']+", text.lower())} - SMALL_WORDS


def test_there_are_at_least_480_categories_of_the_expected_families() -> None:
    counts = Counter(category.family for category in SEMANTIC)
    assert len(SEMANTIC) >= 480
    assert set(counts) == HARM | STYLE
    assert all(counts[family] >= 20 for family in HARM)
    assert all(counts[family] >= 8 for family in STYLE)


@pytest.mark.parametrize("field", ["id", "name", "guideline", "paraphrase"])
def test_every_category_is_distinct(field: str) -> None:
    values = Counter(getattr(category, field).lower() for category in SEMANTIC)
    assert [value for value, count in values.items() if count > 1] == []


def test_ids_begin_with_the_family() -> None:
    assert [c.id for c in SEMANTIC if not c.id.startswith(f"{c.family}-")] == []


def test_names_have_two_to_six_words() -> None:
    assert [c.name for c in SEMANTIC if not 2 <= len(c.name.split()) <= 6] == []
    assert [c.paraphrase for c in SEMANTIC if not 2 <= len(c.paraphrase.split()) <= 6] == []


def test_guidelines_are_one_sentence_of_at_most_22_words() -> None:
    assert [c.guideline for c in SEMANTIC if len(c.guideline.split()) > 22] == []
    assert [c.guideline for c in SEMANTIC if not re.fullmatch(r"[A-Z][^.!?]*\.", c.guideline)] == []


def test_guidelines_vary_in_style() -> None:
    openings = Counter(c.guideline.split()[0] for c in SEMANTIC)
    assert min(openings[word] for word in ("The", "No", "Avoid", "Content", "Do")) >= 50


def test_a_paraphrase_shares_no_content_word_with_its_name() -> None:
    assert [c.id for c in SEMANTIC if content_words(c.name) & content_words(c.paraphrase)] == []


def test_no_paraphrase_is_the_name_of_another_category() -> None:
    assert {c.paraphrase.lower() for c in SEMANTIC} & {c.name.lower() for c in SEMANTIC} == set()


@pytest.mark.parametrize("family", sorted(HARM | STYLE))
def test_severities_of_a_family_spread_over_1_to_5(family: str) -> None:
    assert {c.severity for c in SEMANTIC if c.family == family} == {1, 2, 3, 4, 5}


def test_the_file_is_sorted_and_has_exactly_the_contract_keys() -> None:
    rows = [json.loads(line) for line in TEXT.splitlines()]
    assert all(set(row) == {"id", "name", "guideline", "family", "severity", "paraphrase"} for row in rows)
    assert rows == sorted(rows, key=lambda row: (row["family"], -row["severity"], row["id"]))


TOPIC = {"family": "tea", "name": "Tea and brewing", "guideline": "No tea.", "lexicon": ["tea"], "prompts": ["Tea?"]}


def test_topics_and_their_categories_have_severity_1_and_the_family_of_the_topic() -> None:
    own = {"name": "Café's green leaves", "guideline": "No green tea.", "paraphrase": "Unfermented infusions"}
    parsed = bank.parse_topics([{**TOPIC, "categories": [own]}])
    assert [c.id for c in parsed] == ["tea-tea-and-brewing", "tea-cafes-green-leaves"]
    assert {(c.family, c.severity) for c in parsed} == {("tea", 1)}
    assert [c.paraphrase for c in parsed] == ["Tea and brewing", "Unfermented infusions"]


def test_a_topic_that_lists_itself_is_one_category() -> None:
    own = {"name": "Tea and brewing", "guideline": "No tea.", "paraphrase": "Infused leaves"}
    assert [c.paraphrase for c in bank.parse_topics({"topics": [{**TOPIC, "categories": [own]}]})] == ["Infused leaves"]


@pytest.mark.parametrize("data", [None, [], {}, {"topics": []}, "tea"])
def test_a_table_without_topics_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"topics\.yaml"):
        bank.parse_topics(data)


def test_the_bank_is_the_file_followed_by_the_topics() -> None:
    topics = bank.parse_topics(yaml.safe_load((FOLDER / "topics.yaml").read_text(encoding="utf-8")))
    assert bank.load_bank() == [*SEMANTIC, *topics]
    assert bank.families() == sorted(HARM | STYLE | {c.family for c in topics})
    assert {c.severity for c in topics} == {1}
