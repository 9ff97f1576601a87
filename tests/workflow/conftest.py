"""A copy of the repository for dry runs, and one in which the smoke workflow has run once."""

import os
from pathlib import Path

import pytest
from workflow_tools import Finished, copy_repository, copy_results, snakemake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as `workflow`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.workflow)


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which nothing has been made."""
    return copy_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A copy in which `rule all` of the smoke scale has been made, by every rule.

    `CSRM_SMOKE_LOG` names what Snakemake printed where this checkout has just made it from nothing; it is then copied.
    """
    made = copy_repository(tmp_path_factory.mktemp("smoke"))
    log = os.environ.get("CSRM_SMOKE_LOG")
    if log:
        copy_results(made, "smoke")
    printed = Path(log).read_text(encoding="utf-8") if log else snakemake(made, "--config", "scale=smoke")
    return Finished(made, made / "results" / "smoke", printed)
