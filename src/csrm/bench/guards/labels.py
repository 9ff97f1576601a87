"""The two label words as tokens, where an answer's verdict stands."""

from typing import Any, NamedTuple

from csrm.bench.guards.fitting import token_ids
from csrm.bench.guards.table import Guard
from csrm.model.verbalizer import Verbalizer


class Place(NamedTuple):
    """Token ids before a verdict, and the first token of either word there."""

    tokens: list[int]
    pair: Verbalizer


def place_of(guard: Guard, tokenizer: Any, context: str) -> Place:
    """Where the safe and the unsafe label words part after a context.

    White space that ends the context belongs to the words, as tokenizers join it to what follows. Spellings of one
    label (`safe|Safe`) add up, as the paper's sets of answer words do (CSRM section 3.3).

    Raises:
        ValueError: if a safe and an unsafe word begin with the same token here, or spellings part at different tokens.
    """
    safe, unsafe = (
        [token_ids(tokenizer, context + word) for word in words.split("|")] for words in (guard.safe, guard.unsafe)
    )
    shared = _shared([*safe, *unsafe])
    firsts = Verbalizer(
        *(tuple(sorted({ids[shared] for ids in words if len(ids) > shared})) for words in (safe, unsafe))
    )
    early = shared < len(token_ids(tokenizer, context.rstrip(" "))) - 1
    if early or not all(firsts) or set(firsts.safe) & set(firsts.unsafe):
        raise ValueError(
            f"guard {guard.id!r}: {guard.safe!r} and {guard.unsafe!r} cannot be told apart by one token of this "
            "tokenizer; choose other label words in config/guards.tsv"
        )
    return Place(safe[0][:shared], firsts)


def _shared(texts: list[list[int]]) -> int:
    """How many tokens all of the texts begin with."""
    return next((i for i, tokens in enumerate(zip(*texts, strict=False)) if len(set(tokens)) > 1), len(texts[0]))


def _firsts(texts: list[list[int]], place: int) -> tuple[int, ...]:
    return tuple(sorted({tokens[place] for tokens in texts if len(tokens) > place}))
