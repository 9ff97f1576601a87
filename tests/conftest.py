"""Shared fixtures: a random two-layer model that stands in for a backbone in fast tests."""

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, a file's stay together, and so do those of the one smoke run."""
    for item in items:
        smoke = "smoke" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("smoke" if smoke else item.path.name))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer model folder."""
    from csrm.model.backbone import random_backbone

    folder = tmp_path_factory.mktemp("backbone") / "random-tiny"
    random_backbone(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def tiny_scorer(tiny_backbone: Path) -> Any:
    """A float32 scorer on the random model."""
    from csrm.model.scorer import CSRM

    return CSRM.from_pretrained(tiny_backbone)
