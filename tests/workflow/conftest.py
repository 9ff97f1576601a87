"""A copy of the repository for dry runs, and one in which the smoke workflow has run once."""

from pathlib import Path

import pytest
from workflow_tools import Finished, copy_repository, snakemake


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
    """A copy in which `rule all` of the smoke scale has been made, by every rule."""
    made = copy_repository(tmp_path_factory.mktemp("smoke"))
    printed = snakemake(made, "--config", "scale=smoke")
    return Finished(made, made / "results" / "smoke", printed)
