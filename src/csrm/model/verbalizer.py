"""Verbalizers: which vocabulary entries count as the answers `safe` and `unsafe` (CSRM section 3.3)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from csrm.settings import VerbalizerSettings


class Verbalizer(NamedTuple):
    """Token ids of the two answers; an answer of several tokens is represented by its first one."""

    safe: tuple[int, ...]
    unsafe: tuple[int, ...]


def resolve_verbalizer(tokenizer: Any, words: VerbalizerSettings | None = None) -> Verbalizer:
    """Resolve the answer words (default: the paper's) to first-token ids of `tokenizer`.

    Raises:
        ValueError: if both sets share a first token, or a word has no token (the log-odds would be undefined).
    """
    words = words or VerbalizerSettings()
    safe = _first_tokens(tokenizer, words.safe)
    unsafe = _first_tokens(tokenizer, words.unsafe)
    shared = sorted(set(safe) & set(unsafe))
    if shared:
        names = tokenizer.convert_ids_to_tokens(shared)
        raise ValueError(
            f"train.verbalizer sets {words.safe} and {words.unsafe} share the first tokens {names}: "
            "choose answer words that this tokenizer starts differently"
        )
    return Verbalizer(safe, unsafe)


def _first_tokens(tokenizer: Any, words: Sequence[str]) -> tuple[int, ...]:
    firsts = []
    for word in words:
        ids = tokenizer(word, add_special_tokens=False).input_ids
        if not ids:
            raise ValueError(f"verbalizer word {word!r} has no token in this tokenizer; choose another word")
        firsts.append(ids[0])
    return tuple(sorted(set(firsts)))
