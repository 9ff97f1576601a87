"""The training mixture of a model variant (Table 2): which sources it sees, and how often."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

from csrm.rows import Group

SHARES: Mapping[str, float] = {"base": 1.0, "cca": 2.0, "sa": 1.0, "response": 1.0}


def by_source(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Groups by the source of their first branch."""
    sources: dict[str, list[Group]] = {}
    for group in groups:
        sources.setdefault(group.branches[0].source, []).append(group)
    return sources


def mix(
    groups: Mapping[str, Sequence[Group]],
    cca: bool,
    sa: bool,
    n_groups: int,
    seed: int,
    shares: Mapping[str, float] = SHARES,
) -> tuple[list[Group], dict[str, int]]:
    """Exactly `n_groups` groups for a variant, whatever its sources, and how many of each source.

    Base and response pairs are always in; CCA and SA by the variant's flags. Sources share the total in proportion
    to `shares` (largest remainder). Within a source, groups are drawn without replacement, epoch after epoch.

    Args:
        groups: groups by source: base, cca, sa, response.
        cca: whether the variant trains on CCA.
        sa: whether the variant trains on SA.
        n_groups: total, the same for every variant: a fair comparison of steps.
        seed: of the order.
        shares: weight of each source.

    Raises:
        ValueError: if an enabled source has no groups, or a source is unknown.
    """
    unknown = sorted(set(groups) - set(SHARES))
    if unknown:
        raise ValueError(f"sources {unknown} are unknown; expected {sorted(SHARES)}")
    enabled = {"base": bool(groups.get("base")), "cca": cca, "sa": sa, "response": bool(groups.get("response"))}
    sources = [s for s in SHARES if enabled[s]]
    empty = [s for s in sources if not groups.get(s)]
    if empty or not sources:
        raise ValueError(f"the variant needs groups of {empty or ['base']}, and there are none")
    counts = allocate({s: shares[s] for s in sources}, n_groups)
    drawn: list[Group] = []
    for source in sources:
        stream = epochs(groups[source], Random(f"{seed}:{source}"))
        drawn += [next(stream) for _ in range(counts[source])]
    Random(f"{seed}:order").shuffle(drawn)
    return drawn, counts


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
