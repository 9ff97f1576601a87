"""Scoring by an OpenAI-compatible server: vLLM's, llama.cpp's, or any that echoes log-probabilities."""

import copy
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import openai

from csrm.model.backends import completions, safe_log_odds
from csrm.model.backends.address import server_address
from csrm.model.verbalizer import Verbalizer
from csrm.settings import ScoreSettings

KEY = "OPENAI_API_KEY"
NEEDED = "vLLM's or llama.cpp's server, or one whose /completions takes token ids with `echo` and `logprobs`"
Read = TypeVar("Read")
Answer = TypeVar("Answer")
WIDER = 16  # times more tokens are asked for when the most likely ones are not all of the answer's


class ServerError(ValueError):
    """A server that cannot be reached or cannot give what scoring needs."""


class ServerBackend:
    """A served model; the key is read from the environment (OPENAI_API_KEY) and kept out of every message.

    Args:
        settings: `base_url`, `concurrency` and `retries`.
        verbalizer: answer tokens.
        names: names under which the server may serve the model, the best one first.

    Raises:
        ServerError: if the server cannot be reached or serves none of them.
        ValueError: if the address cannot be used.
    """

    def __init__(self, settings: ScoreSettings, verbalizer: Verbalizer, names: Sequence[str]) -> None:
        self.url = server_address(settings, names[0])
        self.verbalizer, self.concurrency = verbalizer, settings.concurrency
        self.tokens = [*verbalizer.safe, *verbalizer.unsafe]
        self.ways: Counter[str] = Counter()
        key = os.environ.get(KEY) or "none"
        self._client = openai.OpenAI(base_url=self.url, api_key=key, max_retries=settings.retries)
        self.served = self._find(names)
        self.model = self.served["id"]

    def log_odds(self, prompts: Sequence[Sequence[int]], progress: bool = False) -> list[float]:
        """See `Backend.log_odds`; prompts that start alike are sent one after the other, for the server's cache."""
        answers = self._all(self._log_odds, prompts, progress)
        self.ways = Counter(way for _, way in answers)
        return [value for value, _ in answers]

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, progress: bool = False
    ) -> list[list[int]]:
        """See `WritingBackend.generate`."""

        def answer(prompt: Sequence[int]) -> list[int]:
            return self._read(completions.answer_body(prompt, max_new_tokens), completions.read_answer)

        return self._all(answer, prompts, progress)

    def reading(self, verbalizer: Verbalizer) -> "ServerBackend":
        """See `WritingBackend.reading`."""
        other = copy.copy(self)
        other.verbalizer, other.tokens = verbalizer, [*verbalizer.safe, *verbalizer.unsafe]
        return other

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`: what the server says of its model, and how the last prompts were read."""
        told = {key: self.served[key] for key in ("id", "root", "owned_by", "max_model_len") if key in self.served}
        return {"backend": "openai", "base_url": self.url, "served": told, "read": dict(sorted(self.ways.items()))}

    def _all(
        self, ask: Callable[[Sequence[int]], Answer], prompts: Sequence[Sequence[int]], progress: bool
    ) -> list[Answer]:
        """What is asked about each prompt, in their order; prompts that start alike follow one another."""
        from tqdm import tqdm

        order = sorted(range(len(prompts)), key=lambda i: list(prompts[i]))
        with ThreadPoolExecutor(self.concurrency) as pool:
            answers = pool.map(ask, [prompts[i] for i in order])
            found = dict(zip(order, tqdm(answers, total=len(order), unit="item", disable=not progress), strict=True))
        return [found[i] for i in range(len(prompts))]

    def _log_odds(self, prompt: Sequence[int]) -> tuple[float, str]:
        """Safe log-odds (nats) after `prompt`, and how they were had: by the cheapest way that gives them exactly."""
        body = completions.next_token_body(prompt, len(self.tokens), self.tokens)
        top = self._read(body, completions.read_top)
        known = {token: top.log_probs[token] for token in self.tokens if token in top.log_probs}
        missing = [token for token in self.tokens if token not in known]
        way = "first answer" if not missing else "more tokens" if top.by_id else "echo"
        if missing:
            known |= (self._widened if top.by_id else self._echoed)(prompt, missing)
        return safe_log_odds(known, self.verbalizer), way

    def _echoed(self, prompt: Sequence[int], tokens: Sequence[int]) -> dict[int, float]:
        def read(token: int) -> float:
            body = completions.echo_body(prompt, token)
            return self._read(body, lambda answer: completions.read_echo(answer, len(prompt), token))

        return {token: read(token) for token in tokens}

    def _widened(self, prompt: Sequence[int], tokens: Sequence[int]) -> dict[int, float]:
        asked = len(self.tokens)
        while True:
            asked *= WIDER
            top = self._read(completions.next_token_body(prompt, asked), completions.read_top)
            if all(token in top.log_probs for token in tokens):
                return {token: top.log_probs[token] for token in tokens}
            if top.listed < asked:
                left = [token for token in tokens if token not in top.log_probs]
                raise ServerError(
                    f"{self._who()} lists {top.listed} of {asked} tokens asked for, without the answer tokens {left}: "
                    "serve the weights and the tokenizer of the model folder"
                )

    def _read(self, body: dict[str, Any], read: Callable[[Any], Read]) -> Read:
        """One answer of the server, read."""
        asked = {key: body[key] for key in ("prompt", "max_tokens", "logprobs")}
        extra = {key: value for key, value in body.items() if key not in asked}
        try:
            raw = self._client.completions.with_raw_response.create(model=self.model, extra_body=extra, **asked)
            return read(json.loads(raw.text))
        except openai.OpenAIError as error:
            raise self._explained(error) from None
        except ValueError as error:
            raise ServerError(f"{self._who()}: {error}; use {NEEDED}") from None

    def _find(self, names: Sequence[str]) -> dict[str, Any]:
        """The server's entry of the model.

        A server of one model answers to any name: without this check it would score for another model's row.
        """
        try:
            listed = [model.model_dump() for model in self._client.models.list()]
        except openai.OpenAIError as error:
            raise self._explained(error) from None
        by_id = {model["id"]: model for model in listed}
        for name in names:
            if name in by_id:
                return by_id[name]
        raise ServerError(
            f"score.base_url {self.url} serves {sorted(by_id)}, not {names[0]!r}: serve it under that name "
            "(vLLM: --served-model-name, llama.cpp: --alias), or give the name that it has with --served"
        )

    def _who(self) -> str:
        return f"score.base_url {self.url}, model {self.model!r}"

    def _explained(self, error: openai.OpenAIError) -> ServerError:
        """What went wrong and what to do, without the request's headers."""
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return ServerError(f"score.base_url {self.url} refuses the key: put the server's into {KEY}")
        if isinstance(error, openai.APIStatusError):
            said = error.response.text[:300]
            return ServerError(f"score.base_url {self.url} answers {error.status_code}: {said}; needed: {NEEDED}")
        advice = "start the server or correct the address"
        return ServerError(f"score.base_url {self.url} does not answer, {type(error).__name__}: {advice}")
