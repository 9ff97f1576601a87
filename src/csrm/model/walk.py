"""The order in which a prefix tree over token ids is computed: depth first, every shared segment once.

Sorted sequences are a prefix tree laid out depth first: what a sequence does not share with the one before it is new.
Keys and values of the path that leads to the current token are all that attention needs, so that they lie in one
buffer by position (`csrm.model.path`): a branch overwrites the branch before it, and what they share stays.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class KnownPrefix(Protocol):
    """A prefix whose keys and values are at hand."""

    @property
    def tokens(self) -> Sequence[int]:
        """The prefix."""


class Piece(NamedTuple):
    """A run of new tokens along a path.

    Attributes:
        position: of the first token in its sequence.
        tokens: the run, not empty.
        known: whose first `position` keys and values come before the run (None: they lie there already).
        ends: indices of the sequences whose verdict is read after the last token; none if the run goes on.
    """

    position: int
    tokens: Sequence[int]
    known: KnownPrefix | None
    ends: tuple[int, ...]


def walk(sequences: Sequence[Sequence[int]], known: Sequence[KnownPrefix] = ()) -> list[Piece]:
    """Pieces of the prefix tree of `sequences`, in the order of their computation.

    Args:
        sequences: token ids; equal ones are computed once.
        known: prefixes that need no computation; a sequence may share only a part of one.

    Raises:
        ValueError: if a sequence is empty.
    """
    same: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        if not sequence:
            raise ValueError("cannot place an empty sequence in a prefix tree")
        same.setdefault(tuple(sequence), []).append(index)
    pieces, before = [], tuple[int, ...]()
    for sequence in sorted(same):
        start, prefix = common(before, sequence), None
        for candidate in known:
            shared = min(common(candidate.tokens, sequence), len(sequence) - 1)
            if shared > start:
                start, prefix = shared, candidate
        pieces.append(Piece(start, sequence[start:], prefix, tuple(same[sequence])))
        before = sequence
    return pieces


def passes(pieces: Sequence[Piece], budget: int) -> Iterator[list[Piece]]:
    """Cut a walk into passes of nearly equal numbers of tokens, `budget` at most; the pieces keep their order."""
    total = sum(len(piece.tokens) for piece in pieces)
    size = -(-total // max(1, -(-total // budget)))
    batch: list[Piece] = []
    room = size
    for piece in pieces:
        while len(piece.tokens) > room:
            if room:
                batch.append(Piece(piece.position, piece.tokens[:room], piece.known, ()))
                piece = Piece(piece.position + room, piece.tokens[room:], None, piece.ends)
            yield batch
            batch, room = [], size
        batch.append(piece)
        room -= len(piece.tokens)
    if batch:
        yield batch


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the prefix that two sequences share."""
    if left[: len(right)] == right[: len(left)]:
        return min(len(left), len(right))
    for length, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return length
    return min(len(left), len(right))
