"""Safety configurations from YAML, JSON and free text."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from csrm.configs.safety_config import Category, SafetyConfig

CATEGORIES = (Category(name="Violence", guideline="No graphic violence."), Category(name="Alcohol"))


def test_yaml_and_json_agree(tmp_path: Path) -> None:
    data = {"name": "house", "categories": [{"name": "Violence", "guideline": "No graphic violence."}, "Alcohol"]}
    (tmp_path / "a.json").write_text(json.dumps(data))
    (tmp_path / "a.yaml").write_text(
        "name: house\ncategories:\n- {name: Violence, guideline: No graphic violence.}\n- Alcohol\n"
    )
    expected = SafetyConfig(name="house", categories=CATEGORIES)
    assert SafetyConfig.load(tmp_path / "a.json") == SafetyConfig.load(tmp_path / "a.yaml") == expected


def test_a_bare_list_takes_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "pub.yml").write_text("[Violence, Alcohol]")
    config = SafetyConfig.load(tmp_path / "pub.yml")
    assert config.name == "pub"
    assert [c.name for c in config.categories] == ["Violence", "Alcohol"]


@pytest.mark.parametrize(
    "text",
    [
        "S1: Violence. No graphic violence.\nS2: Alcohol.\n",
        "1. Violence. No graphic violence.\n2) Alcohol\n",
        "  S1: Violence. No graphic\n  violence.\n\n  S2: Alcohol",
    ],
)
def test_numbered_text(text: str) -> None:
    assert SafetyConfig.from_text(text).categories == CATEGORIES


def test_text_without_numbers_is_one_category(tmp_path: Path) -> None:
    (tmp_path / "policy.txt").write_text("Do not mention rivals.\nBe kind.\n")
    config = SafetyConfig.load(tmp_path / "policy.txt")
    assert config.name == "policy"
    assert config.categories == (Category(name="Policy", guideline="Do not mention rivals. Be kind."),)


def test_empty_configurations_are_refused() -> None:
    with pytest.raises(ValueError, match="'blank' is empty"):
        SafetyConfig.from_text(" \n\n", name="blank")
    for data in ({"name": "x"}, {"categories": []}, [], "text", None):
        with pytest.raises(ValueError, match="expected a non-empty list"):
            SafetyConfig.from_data(data)


def test_unknown_keys_are_named() -> None:
    with pytest.raises(ValueError, match="guidelines"):
        SafetyConfig.from_data([{"name": "Violence", "guidelines": "typo"}])
    with pytest.raises(ValidationError):
        Category(name="")


def test_with_categories_keeps_the_name() -> None:
    config = SafetyConfig(name="house", categories=CATEGORIES)
    shorter = config.with_categories(CATEGORIES[1:])
    assert (shorter.name, shorter.categories) == ("house", CATEGORIES[1:])
    assert config.categories == CATEGORIES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("categories:\n- name: A\n- guideline: no name\n", r"mine.yaml: category 2 needs a `name`.*no name"),
        (
            "categories:\n- {name: A, guidelines: x}\n",
            r"mine.yaml: category 1 \('A'\) has unknown keys \['guidelines'\]",
        ),
        ("categories: [A\n", r"mine.yaml: "),
        ("categories: [A]\ncategories: [B]\n", r"mine.yaml: key 'categories' is given twice, in lines 1 and 2"),
        ("name: x\ncategories: [A]\ntreshold: 1\n", r"mine.yaml: .* unknown keys \['treshold'\]: use name and categ"),
        ("categories:\n- {name: 7}\n", r"mine.yaml: category 1: `name` is 7, of type int: write text, in quotes"),
        ("categories: []\n", r"mine.yaml: .*expected a non-empty list `categories`"),
    ],
)
def test_a_wrong_file_is_named_with_the_category(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        SafetyConfig.load(tmp_path / "mine.yaml")
