"""llama.cpp's own server, where its command is on the path."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf_file import write_gguf
from served_process import serving_process

from csrm.configs.safety_config import SafetyConfig
from csrm.model.scorer import CSRM
from csrm.settings import ScoreSettings

# One prompt a slot; keys, values and attention in float32, as here.
OPTIONS = ["--ctx-size", "2048", "--parallel", "2", "--threads", "1", "--flash-attn", "off"]
OPTIONS += ["--cache-type-k", "f32", "--cache-type-v", "f32", "--alias", "tiny"]
CONVERSATIONS = [
    [{"role": "user", "content": "A drink?"}, {"role": "assistant", "content": text}]
    for text in ("gin and tonic", "a glass of milk", "no")
]
CONFIGS = [SafetyConfig.from_data(["Alcohol"]), SafetyConfig.from_data(["Pets", "Travel"])]


@pytest.fixture(scope="module")
def served(tiny_scorer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of `llama-server`."""
    command = shutil.which("llama-server")
    if command is None:
        pytest.skip("no command llama-server: build llama.cpp's server and put it on the path")
    folder = tmp_path_factory.mktemp("gguf")
    file = write_gguf(tiny_scorer.model, tiny_scorer.tokenizer, folder / "tiny.gguf")
    with serving_process([command, "--model", str(file), *OPTIONS]) as url:
        yield url


def test_the_server_gives_the_log_odds_of_direct_scoring(served: str, tiny_backbone: Path) -> None:
    scorer = CSRM.open(tiny_backbone, ScoreSettings(backend="openai", base_url=served), name="tiny")
    direct, remote = (
        [score.log_odds for scores in model.score_many(CONVERSATIONS, CONFIGS) for score in scores]
        for model in (CSRM.from_pretrained(tiny_backbone), scorer)
    )
    assert remote == pytest.approx(direct, abs=1e-4)
    assert scorer.backend.describe()["read"] == {"more tokens": len(direct)}
