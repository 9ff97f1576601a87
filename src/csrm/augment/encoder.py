"""Sentence embeddings: MiniLM (mean pooling), or a hashed bag of words where a run asks for one by name."""

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
_WORD = re.compile(r"[a-z0-9']+")


class TextEncoder(Protocol):
    """What the proposers need of an encoder: unit vectors, one a text."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embeddings, float32[n, width], each of length 1 (a text without words: 0)."""
        ...


class HashEncoder:
    """Deterministic hashed bag of words (unigrams and bigrams); for tests and the smoke scale only."""

    def __init__(self, width: int = 1024) -> None:
        self.width = width

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `TextEncoder.encode`."""
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        for row, text in enumerate(texts):
            words = _WORD.findall(text.lower())
            for token in [*words, *(f"{a} {b}" for a, b in pairwise(words))]:
                digest = hashlib.blake2b(token.encode(), digest_size=8).digest()
                vectors[row, int.from_bytes(digest, "big") % self.width] += 1
        return _unit(vectors)


class Encoder:
    """A BERT-style sentence encoder from a plain Hugging Face folder: mean over tokens, length 1.

    Embeddings are cached in memory by text; batches are made of texts of similar length.
    """

    def __init__(self, path: str | Path, max_tokens: int = 128, batch_size: int = 64) -> None:
        if not (Path(path) / "config.json").is_file():
            raise FileNotFoundError(f"encoder folder {path} has no config.json; give a model folder, or `hash`")
        self.path, self.max_tokens, self.batch_size = Path(path), max_tokens, batch_size
        self._loaded: tuple[Any, Any] | None = None
        self._cache: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `TextEncoder.encode`."""
        missing = sorted(set(texts) - self._cache.keys(), key=lambda text: (len(text), text))
        for start in range(0, len(missing), self.batch_size):
            batch = missing[start : start + self.batch_size]
            self._cache.update(zip(batch, self._forward(batch), strict=True))
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([self._cache[text] for text in texts])

    def _forward(self, texts: list[str]) -> Vectors:
        import torch

        tokenizer, model = self._load()
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt").to(
            model.device
        )
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        return _unit(((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu().numpy())

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModel, AutoTokenizer

            device = "cuda" if torch.cuda.is_available() else "cpu"
            model = AutoModel.from_pretrained(self.path).eval().to(device)
            self._loaded = AutoTokenizer.from_pretrained(self.path), model
        return self._loaded


def load_encoder(name: str | Path) -> TextEncoder:
    """The encoder of a command's `--encoder`: a model folder, or the word `hash` for `HashEncoder`."""
    return HashEncoder() if str(name) == "hash" else Encoder(name)


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
    return unit
