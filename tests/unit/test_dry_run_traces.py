"""A dry run is known by its command line, and the settings of the last run are put back after it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from csrm.dry_run import is_dry_run, restore_at_exit
from csrm.settings import load, write_slices

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize(
    ("line", "dry"),
    [
        ("snakemake -n", True),
        ("snakemake --cores all -np", True),
        ("snakemake --dry-run --cores 2", True),
        ("snakemake --dryrun", True),
        ("snakemake --cores all --config seed=1 --nolock", False),
        ("snakemake -j 2 -k results/n", False),
    ],
)
def test_a_dry_run_is_known_by_its_command_line(line: str, dry: bool) -> None:
    assert is_dry_run(line.split()) is dry


def test_slices_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", ends.append)
    write_slices(load(CONFIG, {"outdir": str(tmp_path / "run")}))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.yaml")}
    restore_at_exit(tmp_path / "run")
    write_slices(load(CONFIG, {"outdir": str(tmp_path / "run"), "metrics": {"bootstrap": 60}}))
    (tmp_path / "run" / "config" / "extra.yaml").write_text("{}")
    restore_at_exit(tmp_path / "other")
    write_slices(load(CONFIG, {"outdir": str(tmp_path / "other")}))
    for end in ends:
        end()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.yaml")} == before
    assert not (tmp_path / "other").exists()
