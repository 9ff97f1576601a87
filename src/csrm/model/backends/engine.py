"""Scoring by vLLM's offline engine, on accelerators; vLLM is a package of its own, imported when it is asked for."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from csrm.model.backends import safe_log_odds
from csrm.model.verbalizer import Verbalizer
from csrm.settings import ScoreSettings

HINT = "or run `vllm serve` in its own environment and set score.backend: openai"


class EngineBackend:
    """A model in a vLLM engine.

    The vocabulary projection runs in float32, as in this package's own scoring (`head_dtype`).

    Args:
        folder: model folder, or a hub id.
        settings: `dtype`, `max_length`, and `engine` with further arguments of `vllm.LLM`.
        verbalizer: answer tokens.

    Raises:
        ValueError: if vLLM is not installed, or cannot return the log-probabilities of given tokens.
    """

    def __init__(self, folder: str | Path, settings: ScoreSettings, verbalizer: Verbalizer) -> None:
        from csrm.model.device import inference_dtype

        vllm = _vllm()
        self.version, self.verbalizer = str(vllm.__version__), verbalizer
        self.arguments: dict[str, Any] = {
            "dtype": str(inference_dtype(settings.dtype)).removeprefix("torch."),
            "max_model_len": settings.max_length + 1,
            "enable_prefix_caching": True,
            "hf_overrides": {"head_dtype": "float32"},
            **settings.engine,
        }
        self._sampling = _next_token(verbalizer)
        self._engine = vllm.LLM(model=str(folder), **self.arguments)

    def log_odds(self, prompts: Sequence[Sequence[int]], progress: bool = False) -> list[float]:
        """See `Backend.log_odds`."""
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self._engine.generate(asked, self._sampling, use_tqdm=progress)
        return [self._read(output.outputs[0].logprobs[0]) for output in outputs]

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, progress: bool = False
    ) -> list[list[int]]:
        """See `WritingBackend.generate`."""
        greedy = _vllm().SamplingParams(max_tokens=max_new_tokens, temperature=0, detokenize=False)
        asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self._engine.generate(asked, greedy, use_tqdm=progress)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def reading(self, verbalizer: Verbalizer) -> "EngineBackend":
        """See `WritingBackend.reading`."""
        other = copy.copy(self)
        other.verbalizer, other._sampling = verbalizer, _next_token(verbalizer)
        return other

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        return {"backend": "vllm", "vllm": self.version, "engine": self.arguments}

    def _read(self, log_probs: Mapping[int, Any]) -> float:
        return safe_log_odds({token: entry.logprob for token, entry in log_probs.items()}, self.verbalizer)


def _next_token(verbalizer: Verbalizer) -> Any:
    tokens = [*verbalizer.safe, *verbalizer.unsafe]
    return _vllm().SamplingParams(max_tokens=1, logprob_token_ids=tokens, detokenize=False)


def _vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ValueError(f"score.backend vllm needs the package vllm ({error}): install it, {HINT}") from None
    if not hasattr(vllm.SamplingParams(), "logprob_token_ids"):
        lacks = f"vLLM {vllm.__version__} has no SamplingParams.logprob_token_ids"
        raise ValueError(f"score.backend vllm: {lacks}: install a newer one, {HINT}")
    return vllm
