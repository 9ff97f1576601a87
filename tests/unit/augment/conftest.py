from pathlib import Path

import pytest

from csrm.data.fetch import fetch
from csrm.data.tables import load_files, load_models


@pytest.fixture(scope="session")
def minilm(root: Path, pytestconfig: pytest.Config) -> Path:
    """The pinned sentence encoder: as the workflow fetched it, or fetched here and kept in pytest's cache."""
    if (root / "data/raw/minilm/manifest.json").is_file():
        return root / "data/raw/minilm"
    folder = pytestconfig.cache.mkdir("minilm") / "model"
    if not folder.is_dir():
        fetch(load_models(root / "config")["minilm"], load_files(root / "config", "minilm"), folder)
    return folder
