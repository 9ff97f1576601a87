"""Walks over prefix trees: every token once, in an order in which a path can be overwritten."""

import random
from typing import NamedTuple

import pytest

from csrm.model.walk import Piece, common, passes, walk


class Known(NamedTuple):
    """A prefix at hand."""

    tokens: tuple[int, ...]


def sequences(seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3) for _ in range(draw.randint(1, 9))] for _ in range(20)]


def read(pieces: list[Piece]) -> dict[int, list[int]]:
    """The sequence at each verdict, read from the path as the pieces leave it."""
    path: list[int] = []
    found = {}
    for piece in pieces:
        if piece.known is not None:
            path = list(piece.known.tokens)
        assert piece.tokens and len(path) >= piece.position
        path = path[: piece.position] + list(piece.tokens)
        found |= {index: list(path) for index in piece.ends}
    return found


@pytest.mark.parametrize("seed", range(5))
def test_each_verdict_is_read_at_the_end_of_its_sequence_and_no_token_is_computed_twice(seed: int) -> None:
    given = sequences(seed)
    pieces = walk(given)
    assert read(pieces) == dict(enumerate(given))
    nodes = {tuple(s[:n]) for s in given for n in range(1, len(s) + 1)}
    assert sum(len(piece.tokens) for piece in pieces) == len(nodes)


@pytest.mark.parametrize("budget", [1, 2, 7, 1000])
def test_a_walk_is_cut_anywhere(budget: int) -> None:
    given = sequences(0)
    known = [Known((0, 1, 2)), Known((1, 1, 1, 1)), Known((2,) * 30)]
    cut = list(passes(walk(given, known), budget))
    assert read([piece for batch in cut for piece in batch]) == dict(enumerate(given))
    sizes = [sum(len(piece.tokens) for piece in batch) for batch in cut]
    assert max(sizes) <= budget and max(sizes) - min(sizes) <= len(sizes)


def test_the_longest_known_prefix_is_taken_but_never_the_last_token() -> None:
    known = [Known((1, 2)), Known((1, 2, 3, 9)), Known((1, 2, 3))]
    pieces = walk([[1, 2, 3, 4], [1, 2]], known)
    assert [(p.position, p.tokens, p.known) for p in pieces] == [(1, (2,), known[0]), (3, (4,), known[1])]
    assert walk([[1, 2, 3]], known)[0].tokens == (3,)


def test_nothing_and_empty() -> None:
    assert list(passes(walk([]), 10)) == []
    with pytest.raises(ValueError, match="empty sequence"):
        walk([[1], []])


def test_common_prefix() -> None:
    assert [common((1, 2, 3), other) for other in ((1, 2, 3), (1, 2), (1, 3, 3), (4,), (), (1, 2, 3, 4))] == [
        3,
        2,
        1,
        0,
        0,
        3,
    ]
