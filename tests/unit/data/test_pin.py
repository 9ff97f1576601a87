"""The pins of `data.dvc`: hashes as DVC computes them, and errors on changed bytes."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from csrm.data import pin as module
from csrm.data.pin import folder_entry, raw_pin, read_pins, update, verify

ROOT = Path(__file__).parents[3]


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    folder = tmp_path / "data/raw/toy"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub/b.txt").write_text("bb")
    out = {"path": "data/raw/toy", **folder_entry(folder), "hash": "md5"}
    (tmp_path / "data.dvc").write_text(yaml.safe_dump({"outs": [out]}, sort_keys=False))
    return tmp_path / "data.dvc"


def test_shipped_pins_cover_the_demo() -> None:
    pins = read_pins(ROOT / "data.dvc")
    assert set(pins) == {"pyrit", "smollm2-135m-instruct", "minilm"}
    assert all(out["md5"].endswith(".dir") and out["nfiles"] > 0 for out in pins.values())


def test_raw_pin(pins: Path) -> None:
    assert raw_pin("toy", pins) == folder_entry(pins.parent / "data/raw/toy")["md5"]
    assert raw_pin("other", pins) == "unpinned"


def test_folder_hash_is_that_of_dvc_and_ignores_manifests(pins: Path) -> None:
    folder = pins.parent / "data/raw/toy"
    md5s = [hashlib.md5(text.encode()).hexdigest() for text in ("a", "bb")]
    listing = [{"md5": m, "relpath": p} for m, p in zip(md5s, ("a.txt", "sub/b.txt"), strict=True)]
    expected = hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest()
    (folder / "manifest.json").write_text("{}")
    assert folder_entry(folder) == {"md5": f"{expected}.dir", "size": 3, "nfiles": 2}


def test_changed_byte_is_named_with_both_hashes(pins: Path) -> None:
    assert verify(pins) == {"toy": "ok"}
    (pins.parent / "data/raw/toy/a.txt").write_text("x")
    with pytest.raises(ValueError, match=rf"toy has md5 .* pins {raw_pin('toy', pins)}: remove the folder"):
        verify(pins)


def test_missing_folder_is_reported_and_nothing_committed(pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pins.parent / "data/raw/toy").rename(pins.parent / "elsewhere")
    monkeypatch.setattr(module.subprocess, "run", lambda *a, **k: pytest.fail("dvc was called"))
    assert module.pin(pins) == {"toy": "missing"}
    with pytest.raises(ValueError, match="fetch it before"):
        update(pins)


def test_update_rewrites_the_pins(pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pin", verify)
    before = pins.read_text()
    assert update(pins) == {"toy": "ok"} and pins.read_text() == before
    (pins.parent / "data/raw/toy/a.txt").write_text("x")
    assert update(pins) == {"toy": "ok"} and pins.read_text() != before
