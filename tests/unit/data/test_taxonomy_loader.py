"""Loading taxonomies: keys, families, and errors that name the file."""

from pathlib import Path

import pytest

from csrm.configs.safety_config import Category
from csrm.configs.taxonomy import load_taxonomy

TOY = """
name: toy
source: written for this test
categories:
  - key: fights
    name: Fights
    guideline: The response should not describe fights.
    families: [violence]
    related: [insults]
    levels: [{severity: 0.5, phrase: a fight that hurts}]
"""


def test_loads_a_folder(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(TOY)
    taxonomy = load_taxonomy("toy", tmp_path)
    assert taxonomy.families("fights") == {"violence"}
    assert taxonomy["fights"].levels[0].severity == 0.5
    expected = Category(name="Fights", guideline="The response should not describe fights.", key="fights")
    assert taxonomy["fights"].category() == expected
    with pytest.raises(ValueError, match=r"'duels' is not in taxonomy 'toy': \['fights'\]"):
        taxonomy["duels"]


def test_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\ncategories: [{key: a, name: A, colour: red}]\n")
    with pytest.raises(ValueError, match=r"(?s)bad.yaml.*colour"):
        load_taxonomy("bad", tmp_path)
    with pytest.raises(ValueError, match=r"'none-such' is unknown: .*known: bad"):
        load_taxonomy("none-such", tmp_path)
