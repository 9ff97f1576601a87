"""One language model behind proposers, classifiers and judges: an OpenAI-compatible endpoint or a local model.

Every answer is cached on disk under the sha256 of model, messages and parameters, so that a rerun costs nothing and
gives exactly the same.
"""

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from csrm.augment.prompts import Prompt, parse_object
from csrm.files import read_dicts
from csrm.hashes import Hashes
from csrm.settings import LLMSettings

Parsed = TypeVar("Parsed")
Messages = list[dict[str, str]]
_REPAIR = "That answer could not be used: {error}. Answer again, with exactly one JSON object as specified."


def default_cache() -> Path:
    """Where answers are kept unless a command says otherwise."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "csrm" / "llm.jsonl"


def open_llm(settings: LLMSettings, folder: str | None, cache: Path | None) -> "LLM":
    """The model that the settings name, else the one in `folder`; `cache` None: the default one."""
    named = settings if settings.model else settings.model_copy(update={"model": folder})
    return LLM(named, cache or default_cache())


class LLM:
    """Chat completions with an exact disk cache and retries on answers that do not parse; endpoints from any thread.

    Args:
        settings: model, endpoint and sampling parameters.
        cache: JSON-lines file of answers; created when missing, only ever appended to.

    Raises:
        ValueError: if `settings.model` is not set.
    """

    def __init__(self, settings: LLMSettings, cache: str | Path) -> None:
        if settings.model is None:
            raise ValueError("llm.model is not set: name a model of the endpoint or a local folder")
        self._settings, self._path = settings, Path(cache)
        self._cache: dict[str, str] = {}
        if self._path.is_file():
            self._cache = {entry["key"]: entry["answer"] for entry in read_dicts(self._path)}
        self._backend: Callable[[Messages, Prompt], str] | None = None
        self.counts: Counter[str] = Counter()
        self.model = settings.model
        self._lock = threading.Lock()
        self._identified: str | None = None

    def ask(self, prompt: Prompt, parse: Callable[[dict[str, Any]], Parsed], **values: str) -> Parsed | None:
        """Fill `prompt`, complete it and parse the JSON answer; None after `retries` further failures.

        Args:
            prompt: versioned prompt.
            parse: from the JSON object to a value; raises ValueError, KeyError or TypeError where it is malformed.
            values: fields of the prompt's template.
        """
        messages = prompt.messages(**values)
        for _ in range(self._settings.retries + 1):
            answer = self.complete(messages, prompt)
            try:
                return parse(parse_object(answer))
            except (ValueError, KeyError, TypeError) as error:
                self._count(f"{prompt.name}: answers that did not parse")
                repair = {"role": "user", "content": _REPAIR.format(error=error)}
                messages = [*messages, {"role": "assistant", "content": answer}, repair]
        self._count(f"{prompt.name}: given up")
        return None

    def complete(self, messages: Messages, prompt: Prompt) -> str:
        """The model's answer to chat messages that began with `prompt`, from the cache where it is known."""
        key = self.key(messages, prompt)
        if key in self._cache:
            self._count("answers from the cache")
            return self._cache[key]
        with self._lock:
            self._backend = self._backend or (self._endpoint() if self._settings.base_url else self._local())
        answer = self._backend(messages, prompt)
        self._count("answers from the model")
        return self._remember(key, answer)

    def _remember(self, key: str, answer: str) -> str:
        """Keep an answer, in memory and on disk; the first one of a request stays."""
        with self._lock:
            if key not in self._cache:
                self._cache[key] = answer
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"key": key, "answer": answer}, ensure_ascii=False) + "\n")
            return self._cache[key]

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def answer(self, request: str) -> str:
        """The model's free answer to one message."""
        return self.complete([{"role": "user", "content": request}], Prompt("free", 1, "", request, {}))

    def key(self, messages: Messages, prompt: Prompt) -> str:
        """Cache key: sha256 of model, messages and the parameters that shape the answer."""
        s = self._settings
        content = {
            "model": self._identity(),
            "messages": messages,
            "max_tokens": s.max_tokens,
            "temperature": s.temperature,
            "base_url": s.base_url,
            "schema": prompt.schema if s.structured else None,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _identity(self) -> str:
        """Digest of a local folder, so that its answers move with it; else the id of the endpoint's or hub's model."""
        name = str(self._settings.model)
        if self._identified is None:
            digest = None if self._settings.base_url else Hashes(quick=True).sha256(Path(name))
            self._identified = digest or name
        return self._identified

    def _endpoint(self) -> Callable[[Messages, Prompt], str]:
        from openai import OpenAI

        from csrm.augment.structured import response_format

        s = self._settings
        client = OpenAI(base_url=s.base_url, api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=3)

        def complete(messages: Messages, prompt: Prompt) -> str:
            asked: dict[str, Any] = {"model": s.model, "messages": messages, "max_tokens": s.max_tokens}
            if s.structured:
                asked["response_format"] = response_format(prompt.name, prompt.schema)
            answer = client.chat.completions.create(temperature=s.temperature, **asked)
            return answer.choices[0].message.content or ""

        return complete

    def _local(self) -> Callable[[Messages, Prompt], str]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from csrm.augment.structured import SchemaMask, make_tokenizer

        s = self._settings
        tokenizer: Any = AutoTokenizer.from_pretrained(s.model)
        model: Any = AutoModelForCausalLM.from_pretrained(str(s.model), dtype="auto")
        model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        guide = make_tokenizer(tokenizer) if s.structured else None
        sampling = {"do_sample": True, "temperature": s.temperature} if s.temperature > 0 else {"do_sample": False}

        def complete(messages: Messages, prompt: Prompt) -> str:
            torch.manual_seed(int(self.key(messages, prompt)[:8], 16))
            inputs = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(model.device)
            length = inputs["input_ids"].shape[1]
            masks = [SchemaMask(guide, prompt.schema, length)] if s.structured else []
            with torch.inference_mode():
                output = model.generate(**inputs, max_new_tokens=s.max_tokens, logits_processor=masks, **sampling)
            return str(tokenizer.decode(output[0, length:], skip_special_tokens=True))

        return complete
