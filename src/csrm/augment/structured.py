"""Answers that follow a prompt's JSON schema: asked of an endpoint, enforced token by token on a local model."""

import json
from typing import Any

import torch
from transformers import LogitsProcessor


def response_format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """`response_format` of an OpenAI-compatible chat completion."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


class SchemaMask(LogitsProcessor):
    """Forbids every next token that cannot continue a JSON object of the schema; for one sequence at a time.

    Args:
        tokenizer: what `make_tokenizer` returned for the model's tokenizer.
        schema: JSON schema of the answer.
        prompt_length: tokens before the answer.

    Raises:
        ValueError: if the schema cannot be compiled, or the generated tokens leave it.
    """

    def __init__(self, tokenizer: Any, schema: dict[str, Any], prompt_length: int) -> None:
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides={"whitespace_flexible": False})
        self._matcher, self._read = LLMatcher(tokenizer, grammar), prompt_length
        self._check()

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores (1, vocabulary) with forbidden tokens at minus infinity."""
        self._matcher.consume_tokens(input_ids[0, self._read :].tolist())
        self._check()
        self._read = input_ids.shape[1]
        allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8) > 0
        forbidden = torch.ones(scores.shape[-1], dtype=torch.bool)  # ids beyond the tokenizer's are forbidden too
        forbidden[: len(allowed)] = ~allowed[: scores.shape[-1]]
        masked = scores.masked_fill(forbidden.to(scores.device), -torch.inf)
        return masked  # type: ignore[return-value]

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ValueError(f"the answer's JSON schema cannot be followed: {self._matcher.get_error()}")


def make_tokenizer(tokenizer: Any) -> Any:
    """A Hugging Face tokenizer as the masks need it."""
    from llguidance.hf import from_tokenizer

    return from_tokenizer(tokenizer)
