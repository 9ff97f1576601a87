"""The table of benchmarks, `config/benchmarks.tsv`."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from csrm.data.tables import Dataset, at_hand

Builder = Literal[
    "conditional",
    "threshold",
    "strictness",
    "full",
    "pairs",
    "pseudo-response",
    "response-label",
    "transcript",
    "turnwise",
    "clauses",
    "refusal-label",
    "severity",
    "scenario",
    "scenario-type",
    "allowed-categories",
]
SPLITS = frozenset({"test", "validation", "pairs"})


class Benchmark(BaseModel):
    """One benchmark: which rows it is built from, how, and what its numbers may be compared with.

    `rows` are data-set ids or names of `SPLITS`; `stand_in_for` names the paper's benchmark that this one replaces
    where the real one is not at hand (its own id and title never carry that name).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    builder: Builder
    rows: tuple[str, ...] = Field(min_length=1)
    dataset: str | None = None
    taxonomy: str | None = None
    config: str | None = None
    scope: Literal["seen", "unseen", "all"] = "all"
    positive_class: Literal["safe", "unsafe", "none"]
    protocol: str
    title: str
    stand_in_for: str | None = None
    description: str


def load_benchmarks(config_dir: str | Path) -> dict[str, Benchmark]:
    """Read `config/benchmarks.tsv` as id -> benchmark; a bad row is named with the file."""
    path = Path(config_dir) / "benchmarks.tsv"
    found: dict[str, Benchmark] = {}
    with path.open(encoding="utf-8", newline="") as table:
        lines = (line for line in table if line.strip() and not line.startswith("#"))
        for line in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            data = {key: value for key, value in line.items() if value and value != "-"}
            try:
                benchmark = Benchmark.model_validate({**data, "rows": tuple(data.get("rows", "").split())})
            except ValidationError as error:
                raise ValueError(f"{path}, benchmark {line.get('id')!r}: {error}") from None
            if benchmark.id in found:
                raise ValueError(f"{path}: benchmark {benchmark.id!r} is listed twice")
            found[benchmark.id] = benchmark
    return found


def get_benchmark(config_dir: str | Path, name: str) -> Benchmark:
    """One benchmark by id; an unknown id is answered with the known ones."""
    known = load_benchmarks(config_dir)
    if name not in known:
        path = Path(config_dir) / "benchmarks.tsv"
        raise ValueError(f"benchmark {name!r} is not in {path}; choose one of {sorted(known)}")
    return known[name]


def without_split(benchmark: Benchmark) -> Benchmark:
    """The benchmark of a run that trains on no response pairs: `pairs` is no split there but the whole data set.

    Raises:
        ValueError: if the benchmark reads `pairs` without naming a data set.
    """
    if "pairs" not in benchmark.rows:
        return benchmark
    if benchmark.dataset is None:
        raise ValueError(
            f"benchmark {benchmark.id!r} reads response pairs of any data set; set data.response_pairs or its dataset"
        )
    return benchmark.model_copy(update={"rows": (benchmark.dataset,)})


def own_sets(benchmarks: Iterable[Benchmark]) -> list[str]:
    """Data sets that benchmarks read as they are, sorted: all but the splits of the training sets."""
    return sorted({name for benchmark in benchmarks for name in benchmark.rows} - SPLITS)


def not_at_hand(benchmark: Benchmark, datasets: Mapping[str, Dataset], data_root: str | Path | None) -> list[str]:
    """Data sets of a benchmark that nothing can fetch and `data_root` does not hold."""
    placed = [datasets[name] for name in benchmark.rows if name in datasets]
    return [dataset.id for dataset in placed if not at_hand(dataset, data_root)]
