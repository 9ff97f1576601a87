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
    """Where the safe and the unsafe label word part after a context.

    White space that ends the context belongs to the words, as tokenizers join it to what follows.

    Raises:
        ValueError: if both words begin with the same token here.
    """
    safe, unsafe = (token_ids(tokenizer, context + word) for word in (guard.safe, guard.unsafe))
    shared = next((i for i, (a, b) in enumerate(zip(safe, unsafe, strict=False)) if a != b), None)
    if shared is None or shared < len(token_ids(tokenizer, context.rstrip(" "))) - 1:
        raise ValueError(
            f"guard {guard.id!r}: {guard.safe!r} and {guard.unsafe!r} cannot be told apart by one token of this "
            "tokenizer; choose other label words in config/guards.tsv"
        )
    return Place(safe[:shared], Verbalizer((safe[shared],), (unsafe[shared],)))
