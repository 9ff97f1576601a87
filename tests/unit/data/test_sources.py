"""Reading raw files: formats, pins, and errors that say what to do."""

import json
from pathlib import Path

import pytest

from csrm.data import tables
from csrm.data.prepare import prepare
from csrm.data.sources import input_paths, load_fixture, load_parts, read_file
from csrm.files import sha256
from csrm.settings import DataSettings

CONFIG = Path(__file__).parents[3] / "config"


def test_csv_skips_metadata_lines_and_keeps_line_breaks_in_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('# version=1,,\n# more\nprompt,label\n"two\nlines\u2028end",1\n', encoding="utf-8-sig")
    assert read_file(path) == [{"prompt": "two\nlines\u2028end", "label": "1"}]


def test_json_mapping_becomes_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"k": "v"}')
    (tmp_path / "b.yaml").write_text("- {a: 1}\n")
    assert read_file(tmp_path / "a.json") == [{"key": "k", "value": "v"}]
    assert read_file(tmp_path / "b.yaml") == [{"a": 1}]


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.xml: unknown file type"):
        read_file(tmp_path / "a.xml")


def mirror(root: Path, text: str, pin: str | None = None) -> tuple[tables.Dataset, Path]:
    """A one-file mirror of `safe-rlhf` with its own tables."""
    dataset = tables.load_datasets(CONFIG)["safe-rlhf"]
    path = root / "mirror" / str(dataset.mirror) / "pairs.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    lines = ["owner part source path sha256", f"safe-rlhf pairs - pairs.jsonl {pin or sha256(path)}"]
    (root / "files.tsv").write_text("\n".join(line.replace(" ", "\t") for line in lines))
    return dataset, root / "mirror"


def test_mirror_is_read_in_place(tmp_path: Path) -> None:
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}
    dataset, root = mirror(tmp_path, json.dumps(row))
    assert load_parts(dataset, tmp_path, None, root) == {"pairs": [row]}


def test_changed_mirror_file_fails(tmp_path: Path) -> None:
    dataset, root = mirror(tmp_path, "{}", pin="0" * 64)
    with pytest.raises(ValueError, match=r"pairs.jsonl has sha256 .* the table says 0{64}; data_root must hold"):
        load_parts(dataset, tmp_path, None, root)


def test_missing_mirror_file_and_missing_root(tmp_path: Path) -> None:
    dataset, _ = mirror(tmp_path, "{}")
    with pytest.raises(FileNotFoundError, match=r"pairs.jsonl is missing; data_root"):
        load_parts(dataset, tmp_path, None, tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"'safe-rlhf': give --raw"):
        load_parts(dataset, tmp_path, None, None)
    only_mirrored = tables.load_datasets(CONFIG)["cosapien"]
    with pytest.raises(ValueError, match=r"'cosapien': give --data-root"):
        load_parts(only_mirrored, CONFIG, tmp_path, None)


def test_missing_raw_folder() -> None:
    dataset = tables.load_datasets(CONFIG)["pyrit-harm"]
    with pytest.raises(ValueError, match=r"give --raw"):
        input_paths(dataset, CONFIG, None, None)
    with pytest.raises(FileNotFoundError, match="csrm fetch --dataset pyrit-harm"):
        load_parts(dataset, CONFIG, Path("absent"), None)


README = """---
configs:
- {config_name: wildguardtrain, data_files: [{split: train, path: train/a.jsonl}]}
- {config_name: wildguardtest, data_files: [{split: test, path: test/b.jsonl}]}
---
"""


def test_hub_folder_is_read_by_config_and_split(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    for split, name in (("train", "a"), ("test", "b")):
        (repo / split).mkdir(parents=True)
        (repo / split / f"{name}.jsonl").write_text(json.dumps({"prompt": split, "response": None}) + "\n")
    (repo / "README.md").write_text(README)
    (tmp_path / "manifest.json").write_text("{}")
    sets = {"train": "wildguardmix", "test": "wildguardmix-test"}
    found = {split: tables.load_datasets(CONFIG)[name] for split, name in sets.items()}
    expected = {split: {split: [{"prompt": split, "response": None}]} for split in sets}
    assert {split: load_parts(dataset, CONFIG, tmp_path, None) for split, dataset in found.items()} == expected
    mirror_root = tmp_path / "mirror"
    (mirror_root / "allenai").mkdir(parents=True)
    repo.rename(mirror_root / "allenai/wildguardmix")
    assert {split: load_parts(dataset, CONFIG, None, mirror_root) for split, dataset in found.items()} == expected


def test_a_split_that_a_mirror_lacks_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "PKU-Alignment/BeaverTails"
    folder.mkdir(parents=True)
    (folder / "30k_test.jsonl").write_text(json.dumps({"prompt": "a", "response": "b"}) + "\n")
    dataset = tables.load_datasets(CONFIG)["beavertails-330k-test"]
    with pytest.raises(
        ValueError, match=r"no split '330k_test' of config 'default' of data set 'beavertails-330k-test'"
    ):
        load_parts(dataset, CONFIG, None, tmp_path)


def test_rows_that_the_user_writes_are_read_below_data_root(tmp_path: Path) -> None:
    dataset = tables.load_datasets(CONFIG)["cosapien-judged"]
    with pytest.raises(FileNotFoundError, match=r"judged.jsonl is missing; write it as docs/contracts.md says"):
        load_parts(dataset, CONFIG, None, tmp_path)
    (tmp_path / "cosapien-judged").mkdir()
    rows = load_fixture("cosapien-judged")["rows"]
    (tmp_path / "cosapien-judged/judged.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert load_parts(dataset, CONFIG, None, tmp_path) == {"rows": rows}
    with pytest.raises(ValueError, match=r"'cosapien-judged' is yours to write.*set data_root"):
        tables.raw_id(dataset)


HUB_FILES = {
    "or-bench": ("or-bench-hard-1k", "hard.csv", "prompt,category\nHow do magicians hide a coin?,deception\n"),
    "safe-rlhf": ("default", "train.jsonl", f"{json.dumps(load_fixture('safe-rlhf')['pairs'][2])}\n"),
}


@pytest.mark.parametrize("name", sorted(HUB_FILES))
def test_sets_with_two_layouts_are_prepared_from_the_hub(name: str, tmp_path: Path) -> None:
    config, file, text = HUB_FILES[name]
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / file).write_text(text)
    entry = f"{{config_name: {config}, data_files: [{{split: train, path: {file}}}]}}"
    (tmp_path / "repo/README.md").write_text(f"---\nconfigs:\n- {entry}\n---\n")
    dataset = tables.load_datasets(CONFIG)[name]
    (row,), notes = prepare(dataset, load_parts(dataset, CONFIG, tmp_path, None), DataSettings())
    assert row.id.startswith(f"{name}-") and notes["rows_out"] == 1 and not notes["dropped"]


def test_absent_fixture() -> None:
    with pytest.raises(FileNotFoundError, match="has no fixture"):
        load_fixture("nope")
