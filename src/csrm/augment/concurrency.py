"""Calls side by side where they wait for a server; results are in the order of what was asked."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Asked = TypeVar("Asked")
Found = TypeVar("Found")


def ordered_map(function: Callable[[Asked], Found], items: Iterable[Asked], workers: int) -> list[Found]:
    """`function` of each item, in the order of `items`; the first error is raised, and what has not begun is given up.

    Args:
        function: called from `workers` threads at once; in this thread alone where `workers` is 1.
        items: what it is called with.
        workers: calls at once.
    """
    if workers == 1:
        return [function(item) for item in items]
    from tqdm import tqdm

    asked = list(items)
    with ThreadPoolExecutor(workers) as pool:
        return list(tqdm(pool.map(function, asked), desc="requests", total=len(asked)))
