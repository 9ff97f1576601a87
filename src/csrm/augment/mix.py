"""The training mixture of a model variant (Table 2): which sources it sees, and how often.

A unit is what is trained on at once: a group, or all groups of one conversation, whose tokens are then computed once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

from csrm.rows import Group

SOURCES = ("base", "cca", "sa", "response")

Unit = tuple[Group, ...]


def source_of(group: Group) -> str:
    """The source of a group: that of its first branch."""
    return group.branches[0].source


def by_source(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Groups by source."""
    sources: dict[str, list[Group]] = {}
    for group in groups:
        sources.setdefault(source_of(group), []).append(group)
    return sources


def mix(
    groups: Mapping[str, Sequence[Group]],
    cca: bool,
    sa: bool,
    n_units: int,
    seed: int,
    shares: Mapping[str, float],
    by_conversation: bool = False,
) -> tuple[list[Unit], dict[str, int]]:
    """Exactly `n_units` units for a variant, whatever its sources, and how many groups of each source they hold.

    Base and response pairs are always in; CCA and SA by the variant's flags. Units are drawn without replacement,
    epoch after epoch. Groups one by one: sources share the total in proportion to `shares` (largest remainder). By
    conversation: each CCA group (each base group in a variant without CCA) takes along one group of every other source
    of its conversation, in turn where there are several; response pairs keep their share of the total.

    Args:
        groups: groups by source: base, cca, sa, response.
        cca: whether the variant trains on CCA.
        sa: whether the variant trains on SA.
        n_units: total, the same for every variant: a fair comparison of steps.
        seed: of the order.
        shares: weight of each source; 0 leaves it out.
        by_conversation: whether the groups of a conversation are one unit.

    Raises:
        ValueError: if an enabled source has no groups, or a source is unknown.
    """
    unknown = sorted(set(groups) - set(SOURCES))
    if unknown:
        raise ValueError(f"sources {unknown} are unknown; expected {list(SOURCES)}")
    enabled = {"base": bool(groups.get("base")), "cca": cca, "sa": sa, "response": bool(groups.get("response"))}
    sources = [s for s in SOURCES if enabled[s] and shares[s] > 0]
    empty = [s for s in sources if not groups.get(s)]
    if empty or not sources:
        raise ValueError(f"the variant needs groups of {empty or ['base']}, and there are none")
    drawn = (_conversations if by_conversation else _groups)(groups, sources, n_units, seed, shares)
    Random(f"{seed}:order").shuffle(drawn)
    counts = Counter(source_of(group) for unit in drawn for group in unit)
    return drawn, {source: counts[source] for source in sources}


def _groups(
    groups: Mapping[str, Sequence[Group]], sources: Sequence[str], n_units: int, seed: int, shares: Mapping[str, float]
) -> list[Unit]:
    counts = allocate({s: shares[s] for s in sources}, n_units)
    return [(group,) for s in sources for group in _draw(groups[s], counts[s], f"{seed}:{s}")]


def _conversations(
    groups: Mapping[str, Sequence[Group]], sources: Sequence[str], n_units: int, seed: int, shares: Mapping[str, float]
) -> list[Unit]:
    joined = [s for s in sources if s != "response"]
    parts = {"joined": sum(shares[s] for s in joined), "response": shares["response"] if "response" in sources else 0.0}
    counts = allocate(parts, n_units)
    lead = next((s for s in ("cca", "base", "sa") if s in joined), "response")
    others = {s: _by_conversation(groups[s]) for s in joined if s != lead}
    drawn: list[Unit] = []
    times: Counter[object] = Counter()
    for group in _draw(groups[lead], counts["joined"], f"{seed}:{lead}"):
        key = _conversation(group)
        mates = [found[times[key] % len(found)] for s in others if (found := others[s].get(key))]
        times[key] += 1
        drawn.append((group, *mates))
    return drawn + [(group,) for group in _draw(groups.get("response", ()), counts["response"], f"{seed}:response")]


def _by_conversation(groups: Iterable[Group]) -> dict[object, list[Group]]:
    found: dict[object, list[Group]] = {}
    for group in groups:
        found.setdefault(_conversation(group), []).append(group)
    return found


def _conversation(group: Group) -> object:
    return tuple((message.role, message.content) for message in group.messages)


def _draw(groups: Sequence[Group], count: int, seed: str) -> list[Group]:
    stream = epochs(groups, Random(seed))
    return [next(stream) for _ in range(count)]


def allocate(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Split `total` in proportion to `shares`, the largest remainders rounded up (ties: earlier first)."""
    exact = {k: total * v / sum(shares.values()) for k, v in shares.items()}
    counts = {k: int(v) for k, v in exact.items()}
    order = sorted(exact, key=lambda k: -(exact[k] - counts[k]))
    for key in order[: total - sum(counts.values())]:
        counts[key] += 1
    return counts


def epochs(groups: Sequence[Group], rng: Random) -> Iterator[Group]:
    """Endless groups: each epoch is a fresh permutation of all."""
    while True:
        yield from rng.sample(list(groups), len(groups))
