"""Naming other benchmarks than the scale's list makes their items, scores and metrics, and nothing before them."""

from pathlib import Path

import pytest
from workflow_tools import copy_repository, empty_mirror, planned, pretend, snakemake


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A copy in which one benchmark of the small scale seems to be made, and the options that it was made with."""
    folder = tmp_path_factory.mktemp("named-later")
    options = ["--config", "scale=small", f"data_root={empty_mirror(folder / 'mirror')}"]
    copy = copy_repository(folder / "repository")
    pretend(copy, metrics("beavertails-seen"), *options)
    assert "Nothing to be done" in snakemake(copy, "--dry-run", metrics("beavertails-seen"), *options)
    return copy, options


def metrics(benchmark: str) -> str:
    return f"results/small/metrics/csrm/{benchmark}.json"


def test_a_benchmark_of_the_scale_named_alone_reruns_nothing_before_it(made: tuple[Path, list[str]]) -> None:
    copy, options = made
    named = [*options, "score={benchmarks: [xstest]}"]
    printed = snakemake(copy, "--dry-run", "--printshellcmds", metrics("xstest"), *named)
    assert set(planned(printed)) == {"build_benchmark", "score_benchmark", "evaluate_benchmark"}
    assert "--seen" not in printed and "not in data.exclude" not in printed


def test_a_further_benchmark_drops_what_was_trained_on(made: tuple[Path, list[str]]) -> None:
    copy, options = made
    named = [*options, "score={benchmarks: [or-bench-full]}"]
    printed = snakemake(copy, "--dry-run", "--printshellcmds", metrics("or-bench-full"), *named)
    assert not {"split_rows", "split_pairs", "check_leaks", "train_csrm"} & set(planned(printed))
    assert "or-bench-full: not in data.exclude, rows with a prompt of training are dropped" in printed
    seen = " ".join(f"results/small/interim/split/{part}.jsonl" for part in ("train", "validation"))
    assert f"--seen {seen}" in printed


def test_what_is_left_out_of_training_is_a_setting(made: tuple[Path, list[str]]) -> None:
    copy, options = made
    named = [*options, "data={exclude: [xstest]}"]
    jobs = planned(snakemake(copy, "--dry-run", metrics("xstest"), *named))
    assert {"split_rows", "augment_cca", "train_csrm", "build_benchmark"} <= set(jobs)
