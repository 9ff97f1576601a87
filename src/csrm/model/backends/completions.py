"""What is asked of `/v1/completions`, and how the answers are read; pure functions.

Three kinds of servers give every answer token's log-probability, in these ways:

- vLLM reads `logprob_token_ids` and returns exactly those tokens, named by id (`return_tokens_as_token_ids`).
- A server with `echo` (vLLM before that parameter too) returns the log-probability of every token of a prompt, hence of
  an answer token put after it.
- llama.cpp's server has neither, but names tokens by id and returns as many of the most likely ones as are asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Neutral sampling, so that a server that reports processed log-probabilities reports the model's own.
NEUTRAL = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "ignore_eos": True}
ID_MARK = "token_id:"


class Top(NamedTuple):
    """Log-probabilities (nats) by token id of the tokens that a server listed, and how many it listed.

    `by_id`: the server names tokens by number, as llama.cpp's does; more can be had by asking for more.
    """

    log_probs: dict[int, float]
    listed: int
    by_id: bool


def next_token_body(prompt: Sequence[int], top: int, tokens: Sequence[int] = ()) -> dict[str, Any]:
    """Asks for the next token's `top` most likely values, or for `tokens` where the server can name them."""
    named = {"logprob_token_ids": list(tokens), "return_tokens_as_token_ids": True} if tokens else {}
    return {"prompt": list(prompt), "max_tokens": 1, "logprobs": top, **named, **NEUTRAL}


def echo_body(prompt: Sequence[int], token: int) -> dict[str, Any]:
    """Asks for the log-probabilities of the prompt's own tokens, `token` the last of them."""
    asked = {"prompt": [*prompt, token], "max_tokens": 0, "echo": True, "logprobs": 1}
    return {**asked, "return_tokens_as_token_ids": True, **NEUTRAL}


def answer_body(prompt: Sequence[int], max_new_tokens: int) -> dict[str, Any]:
    """Asks for the greedy answer, each token named by id."""
    asked = {"prompt": list(prompt), "max_tokens": max_new_tokens, "logprobs": 1, "return_tokens_as_token_ids": True}
    return {**asked, **NEUTRAL, "temperature": 0, "ignore_eos": False}


def read_answer(answer: Mapping[str, Any]) -> list[int]:
    """Token ids of a generated answer.

    Raises:
        ValueError: if the server names tokens by their text alone.
    """
    found = _logprobs(answer)
    if content := found.get("content"):
        named = [entry.get("id") for entry in content]
    else:
        named = [int(t.removeprefix(ID_MARK)) if t.startswith(ID_MARK) else None for t in found.get("tokens") or []]
    if not named or None in named:
        raise ValueError(f"the server does not name the tokens of its answer by id: {str(answer)[:200]}")
    return named


def read_top(answer: Mapping[str, Any]) -> Top:
    """Log-probabilities at the first generated position.

    Raises:
        ValueError: if the answer holds none.
    """
    found = _logprobs(answer)
    if content := found.get("content"):
        listed = {entry["id"]: float(entry["logprob"]) for entry in content[0]["top_logprobs"] if "id" in entry}
        return Top(listed, len(content[0]["top_logprobs"]), bool(listed))
    if top := found.get("top_logprobs"):
        named = {key: value for key, value in (top[0] or {}).items() if key.startswith(ID_MARK)}
        return Top({int(k.removeprefix(ID_MARK)): float(v) for k, v in named.items()}, len(top[0] or {}), False)
    raise ValueError(f"the server's answer holds no log-probabilities: {str(answer)[:200]}")


def read_echo(answer: Mapping[str, Any], position: int, token: int) -> float:
    """Log-probability of the prompt's token at `position` (from 0).

    Raises:
        ValueError: if the answer has none there, or another token.
    """
    found = _logprobs(answer)
    values, tokens = found.get("token_logprobs") or [], found.get("tokens") or []
    if len(values) not in (position + 1, position + 2) or values[position] is None:
        raise ValueError(f"the server does not echo log-probabilities of the prompt's {position + 1} tokens")
    shown = str(tokens[position]) if position < len(tokens) else ""
    if shown.startswith(ID_MARK) and shown != f"{ID_MARK}{token}":
        raise ValueError(f"the server echoes {shown} where the prompt has token {token}")
    return float(values[position])


def _logprobs(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices") or [{}]
    found: Mapping[str, Any] = choices[0].get("logprobs") or {}
    return found
