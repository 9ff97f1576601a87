"""What the workflow costs besides its jobs, as ratios: medians of interleaved repetitions.

    python benchmarks/workflow.py                                             # of the demo, once it has run
    python benchmarks/workflow.py --config scale=smoke --finished FOLDER      # of smoke, in a clone where that has run

Commands are compared with an idle run of a Snakefile of as many jobs that do nothing, hashes of an unchanged file with
its md5. CPU time hardly depends on what else the machine does; wall time does, and is printed beside it, not asserted.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path
from statistics import median
from typing import NamedTuple

from csrm.files import file_digest
from csrm.remembered import TICK, remembered_digest

ROOT = Path(__file__).parents[1]
IDLE = "Nothing to be done"
PLAN = ("config", "rules", "src", "workflow")  # what a dry run reads
EMPTY, JOBS, MD5 = "an empty Snakefile", "as many jobs that do nothing", "md5 of the file"
NOTHING = """rule all:
    input: expand("{{n}}.done", n=range({count}))
rule nothing:
    output: touch("{{n}}.done")
"""


class Cost(NamedTuple):
    """Seconds of one repetition, or medians."""

    wall: float
    cpu: float


def command(words: list[str], folder: Path, expected: str = "") -> Cost:
    """Run a command in a folder of the project; its own and its children's time.

    Raises:
        SystemExit: if it fails, or what it prints holds no `expected`.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or expected not in done.stdout + done.stderr:
        raise SystemExit(f"{' '.join(words)} in {folder}: expected {expected!r}, got:\n{done.stdout}{done.stderr}")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def call(work: Callable[[], object]) -> Cost:
    """Run a function in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def medians(ways: Mapping[str, Callable[[], Cost]], repeats: int) -> dict[str, Cost]:
    """All ways in turn, `repeats` times, after one round that warms caches."""
    rounds = [{name: way() for name, way in ways.items()} for _ in range(1 + repeats)][1:]
    return {name: Cost(*(median(times) for times in zip(*(r[name] for r in rounds), strict=True))) for name in ways}


def table(found: Mapping[str, Cost], reference: str) -> list[str]:
    """One line a way; ratios to the reference."""
    base = found[reference]
    return [
        f"| {name} | {cost.wall:.4g} | {cost.cpu:.4g} | {cost.wall / base.wall:.3g} | {cost.cpu / base.cpu:.3g} |"
        for name, cost in found.items()
    ]


def commands(finished: Path, config: list[str], scratch: Path, jobs: int) -> dict[str, Callable[[], Cost]]:
    """`csrm --help`, a dry run where nothing is made, and idle runs of a finished workflow and of what costs nothing.

    Args:
        finished: folder where the workflow has run.
        config: Snakemake's overrides of that run.
        scratch: an empty folder.
        jobs: number of jobs of that run.
    """
    empty, nothing, plan = scratch / "empty", scratch / "nothing", scratch / "plan"
    for folder, text in ((empty, ""), (nothing, NOTHING.format(count=jobs))):
        (folder / "workflow").mkdir(parents=True)
        (folder / "workflow" / "Snakefile").write_text(text, encoding="utf-8")
    for name in PLAN:
        shutil.copytree(ROOT / name, plan / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "data.dvc", plan)
    idle, options = ["snakemake", "--cores", "1"], ["--config", *config] * bool(config)
    command(idle, nothing)
    return {
        EMPTY: lambda: command(idle, empty, IDLE),
        JOBS: lambda: command(idle, nothing, IDLE),
        "`csrm --help`": lambda: command(["csrm", "--help"], plan, "usage"),
        "dry run, nothing made": lambda: command([*idle, "--dry-run", *options], plan, "Job stats"),
        "idle run, all made": lambda: command([*idle, *options], finished, IDLE),
    }


def hashes(size: int, scratch: Path) -> dict[str, Callable[[], Cost]]:
    """A new file of `size` random bytes: read for its md5 and sha256, and known by size, times and inode.

    To be called where `scratch` is the working folder.
    """
    (scratch / ".snakemake").mkdir()
    path = scratch / "large"
    with path.open("wb") as out:
        for start in range(0, size, 1 << 24):
            out.write(os.urandom(min(1 << 24, size - start)))
    time.sleep(2e-9 * TICK)
    return {
        MD5: lambda: call(lambda: file_digest(path, "md5")),
        "its sha256": lambda: call(lambda: file_digest(path)),
        "its sha256, unchanged since": lambda: call(lambda: remembered_digest(path)),
    }


def torch_users(results: Path) -> tuple[Counter[str], int]:
    """Commands of a finished run that imported torch, and the number of all, by their manifests."""
    runs = {}
    for path in results.rglob("*manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if "hardware" in manifest:
            runs[tuple(manifest["command"])] = manifest["hardware"]["threads"] is not None
    return Counter(words[1] for words, torch in runs.items() if torch), len(runs)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=Path, default=ROOT, help="folder where the workflow has run")
    parser.add_argument("--config", nargs="+", default=[], help="Snakemake's overrides of that run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=10**9, help="bytes of the hashed file")
    options = parser.parse_args()
    finished = options.finished.absolute()
    users, count = torch_users(finished / "results")
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"medians of {options.repeats} interleaved repetitions; load {load:.1f} a core at the start\n")
    print("| what | wall s | CPU s | x wall | x CPU |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        ways = commands(finished, options.config, Path(folder), count)
        print("\n".join(table(medians(ways, options.repeats), JOBS)))
        print("\n".join(table(medians(hashes(options.size, Path(folder)), options.repeats), MD5)))
    print(f"\nof {count} commands of the finished run these imported torch: {dict(sorted(users.items()))}")


if __name__ == "__main__":
    main()
