"""The packaged content: topic families, taxonomies, example configurations and the project's own rows."""

import re
from pathlib import Path

import pytest
from topic_samples import SAMPLES

from csrm.configs.bank import load_bank, parse_semantic
from csrm.configs.safety_config import SafetyConfig
from csrm.configs.taxonomy import load_taxonomy
from csrm.configs.topics import TopicFamily, load_topics
from csrm.files import read_dicts, read_rows, text_id
from csrm.rows import Message, Row

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src" / "csrm"
CONFIGS = sorted((ROOT / "config" / "safety_configs").glob("*.yaml"))
TAXONOMIES = ["aegis2", "beavertails", "cosalign", "pyrit", "topics", "wildguard"]
LARGE = {"alcohol", "medication", "pets", "cooking_meat", "travel"}
OPEN_PROMPTS = 24  # of 40 in a large family, at most so many name the topic themselves


def test_topics_have_the_promised_sizes() -> None:
    topics = load_topics()
    assert len(topics.families) >= 30
    assert len(topics.neutral_prompts) == 40
    for family in topics.families:
        assert len(family.prompts) == 40 if family.family in LARGE else 10 <= len(family.prompts) <= 12, family.family
        assert 3 <= len(family.categories) <= 5, family.family
        for text in (family.guideline, *(c.guideline for c in family.categories)):
            assert len(text.split()) <= 22, text


def test_lexicons_compile_term_by_term() -> None:
    for family in load_topics().families:
        assert len(set(family.lexicon)) == len(family.lexicon), family.family
        for term in family.lexicon:
            assert not re.compile(term, re.IGNORECASE).match(""), f"{family.family}: {term!r} matches the empty text"


def test_every_family_has_samples() -> None:
    assert set(SAMPLES) == set(load_topics().keys)


@pytest.mark.parametrize("key", SAMPLES)
def test_lexicon_separates_the_samples(key: str) -> None:
    family = load_topics().family(key)
    touching, missing = SAMPLES[key][:2], SAMPLES[key][2:]
    assert [text for text in touching if not family.matches(text)] == []
    assert [text for text in missing if family.matches(text)] == []


def test_prompts_touch_their_family_and_neutral_prompts_touch_none() -> None:
    topics = load_topics()
    for family in topics.families:
        named = sum(map(family.matches, family.prompts))
        if family.family in LARGE:
            assert 10 <= named <= OPEN_PROMPTS, (family.family, named)
        else:
            assert named >= 0.6 * len(family.prompts), (family.family, named)
    assert {p: topics.touched(p) for p in topics.neutral_prompts if topics.touched(p)} == {}


def test_a_lexicon_is_bounded_by_words_and_ignores_case() -> None:
    family = TopicFamily(family="x", name="X", guideline="No x.", lexicon=("gin", "c\\+\\+"))
    assert family.matches("GIN, please") and family.matches("Learn C++ today")
    assert not family.matches("imagine") and not family.matches("ginger")


def test_a_broken_lexicon_is_named() -> None:
    with pytest.raises(ValueError, match="topic family 'x'"):
        TopicFamily(family="x", name="X", guideline="No x.", lexicon=("(gin",)).matches("gin")
    with pytest.raises(KeyError, match="alcohol"):
        load_topics().family("nonsense")


@pytest.mark.parametrize("name", TAXONOMIES)
def test_taxonomies_are_consistent(name: str) -> None:
    taxonomy = load_taxonomy(name)
    keys = [c.key for c in taxonomy.categories]
    known = {c.family for c in load_bank()}
    related = {c.key: set(c.related) for c in taxonomy.categories}
    assert taxonomy.name == name and taxonomy.source
    assert len(set(keys)) == len(keys)
    assert len({c.name for c in taxonomy.categories}) == len(keys)
    for category in taxonomy.categories:
        assert 0 < len(category.guideline.split()) <= 25, category.key
        assert category.families and set(category.families) <= known, category.key
        assert related[category.key] <= set(keys) - {category.key}, category.key
        assert all(category.key in related[other] for other in category.related), f"{category.key}: not symmetric"


def test_pyrit_levels_rise_and_are_short() -> None:
    for category in load_taxonomy("pyrit").categories:
        assert [level.severity for level in category.levels] == [0.25, 0.5, 0.75, 1.0]
        assert all(len(level.phrase.split()) <= 12 for level in category.levels), category.key


def test_taxonomy_sizes() -> None:
    sizes = {name: len(load_taxonomy(name).categories) for name in TAXONOMIES if name != "topics"}
    assert sizes == {"aegis2": 14, "beavertails": 14, "cosalign": 8, "pyrit": 8, "wildguard": 13}


def test_topics_taxonomy_repeats_the_families() -> None:
    facts = [(f.family, f.name, f.guideline) for f in load_topics().families]
    assert [(c.key, c.name, c.guideline) for c in load_taxonomy("topics").categories] == facts


def test_configurations_load() -> None:
    semantic = parse_semantic((PACKAGE / "configs" / "bank.jsonl").read_text(encoding="utf-8"))
    known = {c.family for c in semantic} | set(load_topics().keys)
    assert len(CONFIGS) >= 15
    for path in CONFIGS:
        config = SafetyConfig.load(path)
        assert config.name == path.stem
        assert len({c.name for c in config.categories}) == len(config.categories), path
        for category in config.categories:
            assert category.guideline, path
            assert category.key is None or category.key in known, f"{path}: {category.key}"


@pytest.mark.parametrize("name", ["no-alcohol", "no-medication", "no-pets", "no-meat", "no-travel"])
def test_alignment_configurations_start_with_their_topic(name: str) -> None:
    config = SafetyConfig.load(ROOT / "config" / "safety_configs" / f"{name}.yaml")
    assert 2 <= len(config.categories) <= 3
    family = load_topics().family(str(config.categories[0].key))
    assert family.family in LARGE
    assert (config.categories[0].name, config.categories[0].guideline) == (family.name, family.guideline)


@pytest.mark.parametrize(
    ("domain", "size"),
    [
        ("game-development", 3),
        ("public-prosecutor", 4),
        ("book-publisher", 9),
        ("language-learning", 4),
        ("film-production", 7),
    ],
)
def test_cosapien_configurations_have_the_papers_sizes(domain: str, size: int) -> None:
    config = SafetyConfig.load(ROOT / "config" / "safety_configs" / f"cosapien-{domain}.yaml")
    assert len(config.categories) == size


def test_smoke_rows() -> None:
    rows = read_rows(PACKAGE / "data" / "project" / "smoke.jsonl", Row)
    keys = {c.key for c in load_taxonomy("pyrit").categories}
    assert len(rows) == len({r.id for r in rows}) == 60
    assert len({tuple(m.content for m in r.messages) for r in rows}) == 60
    for row in rows:
        assert (row.dataset, row.taxonomy, row.label_source) == ("smoke", "pyrit", "project")
        assert row.prompt_id == text_id(row.messages[0].content)
        assert row.harms and set(row.harms) <= keys
        assert 8 <= len(row.messages[-1].content.split()) <= 20
    assert {v for r in rows for v in r.harms.values()} == {0, 0.25, 0.5, 0.75, 1}
    assert {"violence", "hate_speech", "privacy", "sexual"} <= {k for r in rows for k, v in r.harms.items() if v}
    assert sum(bool({"privacy", "self_harm"} & r.harms.keys()) for r in rows) >= 12


def test_example_conversations() -> None:
    conversations = list(read_dicts(PACKAGE / "data" / "project" / "example_conversations.jsonl"))
    assert len(conversations) == 6
    for conversation in conversations:
        messages = [Message.model_validate(m) for m in conversation["messages"]]
        assert messages[-1].role == "assistant"
