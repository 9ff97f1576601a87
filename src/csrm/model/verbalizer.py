"""Verbalizers: which vocabulary entries count as the answers `safe` and `unsafe` (CSRM section 3.3)."""

from typing import Any, NamedTuple

SAFE_WORDS = ("safe", " safe", "Safe")
UNSAFE_WORDS = ("unsafe", " unsafe", "Unsafe")


class Verbalizer(NamedTuple):
    """Token ids of the two answers; an answer of several tokens is represented by its first one."""

    safe: tuple[int, ...]
    unsafe: tuple[int, ...]


def resolve_verbalizer(
    tokenizer: Any, safe_words: tuple[str, ...] = SAFE_WORDS, unsafe_words: tuple[str, ...] = UNSAFE_WORDS
) -> Verbalizer:
    """Resolve the answer words to first-token ids of `tokenizer`.

    Raises:
        ValueError: if both sets share a first token, or a word has no token (the log-odds would be undefined).
    """
    safe = _first_tokens(tokenizer, safe_words)
    unsafe = _first_tokens(tokenizer, unsafe_words)
    shared = sorted(set(safe) & set(unsafe))
    if shared:
        names = tokenizer.convert_ids_to_tokens(shared)
        raise ValueError(
            f"verbalizer sets {safe_words} and {unsafe_words} share the first tokens {names}: "
            "choose answer words that this tokenizer starts differently"
        )
    return Verbalizer(safe, unsafe)


def _first_tokens(tokenizer: Any, words: tuple[str, ...]) -> tuple[int, ...]:
    firsts = []
    for word in words:
        ids = tokenizer(word, add_special_tokens=False).input_ids
        if not ids:
            raise ValueError(f"verbalizer word {word!r} has no token in this tokenizer; choose another word")
        firsts.append(ids[0])
    return tuple(sorted(set(firsts)))
