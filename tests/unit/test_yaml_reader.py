"""YAML: libyaml and the pure parser read the same; a key given twice names the file and both lines."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from csrm.yaml_reader import read_yaml

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("config/**/*.yaml"), *(ROOT / "src").glob("csrm/**/*.yaml")])


def test_libyaml_is_used_where_it_is() -> None:
    from csrm import yaml_reader

    assert issubclass(yaml_reader._UniqueKeys, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_reads_as_by_the_pure_parser(path: Path) -> None:
    assert read_yaml(path) == yaml.load(path.read_text(encoding="utf-8"), yaml.SafeLoader)


def test_without_libyaml_the_pure_parser_reads(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: {b: [1, 2.5, x]}\nc: 1\na: 2\n")
    code = "import yaml; del yaml.CSafeLoader; from csrm.yaml_reader import read_yaml; read_yaml('a.yaml')"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "a.yaml: key 'a' is given twice, in lines 1 and 3: keep one" in result.stderr


def test_equal_keys_of_different_mappings_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: {b: 1}\nc: {b: 2, '1': 3, 1: 4}\nd: [{b: 1}, {b: 2}]\n")
    assert read_yaml(tmp_path / "a.yaml")["c"] == {"b": 2, "1": 3, 1: 4}


@pytest.mark.parametrize("text", ["a: {\n", "a: [1\nb: 2\n", "\tx: 1\n"])
def test_broken_yaml_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml: (.|\n)*line"):
        read_yaml(tmp_path / "a.yaml")
