"""Held-out families in text that a language model writes, which names no family: by word and by meaning."""

import re
import threading

import numpy as np

from csrm.augment.catalogue import Catalogue
from csrm.augment.encoder import TextEncoder, Vectors

NAMED, MEANT = "names a held-out family", "means a held-out family"


class HeldOut:
    """Whether a written category belongs to a held-out family.

    It does where its text holds the family's key, the name of one of its taxonomy categories or a term of its lexicon,
    and where the category of the whole bank that means most nearly the same is of such a family: by name, or by name
    and guideline.
    """

    def __init__(self, catalogue: Catalogue, encoder: TextEncoder) -> None:
        self._catalogue, self._encoder = catalogue, encoder
        words = sorted({word.replace("_", " ").lower() for word in (*catalogue.held_out, *catalogue.held_out_names())})
        self._words = re.compile("|".join(rf"\b{re.escape(w)}\b" for w in words), re.IGNORECASE) if words else None
        self._bank = [*catalogue.bank(), *catalogue.bank(unseen=True)]
        self._vectors: list[Vectors] = []
        self._lock = threading.Lock()

    def objection(self, name: str, guideline: str = "") -> str | None:
        """Why a category may not enter training text, or None."""
        if self._words is None:
            return None
        text = f"{name} {guideline}".replace("-", " ")
        if self._words.search(text) or not self._catalogue.held_out.isdisjoint(self._catalogue.touched(text)):
            return NAMED
        return None if self._catalogue.held_out.isdisjoint(self._families(name, guideline)) else MEANT

    def _families(self, name: str, guideline: str) -> set[str]:
        """Families of the nearest bank categories, by name and by the whole text."""
        with self._lock:  # one text at a time, so that the numbers do not depend on what else is asked
            if not self._vectors:
                whole = [f"{c.name}. {c.guideline}" for c in self._bank]
                self._vectors = [self._encoder.encode(texts) for texts in ([c.name for c in self._bank], whole)]
            asked = [self._encoder.encode([text])[0] for text in (name, f"{name}. {guideline}".strip())]
        best = [int(np.argmax(vectors @ text)) for vectors, text in zip(self._vectors, asked, strict=True)]
        return {self._bank[index].family for index in best}
