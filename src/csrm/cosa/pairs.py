"""CoSAlign's preference pairs from labelled responses (CoSA, Algorithm 1)."""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from csrm.cosa.answers import worded
from csrm.cosa.records import Record
from csrm.cosa.schema import Labelled, Pair
from csrm.cosa.synthesis import Draw, Response, draw_configs, error_tenths, pair_groups
from csrm.cosa.topics import Taxonomy
from csrm.cosa.wordings import conversation


class Synthesis(NamedTuple):
    """The pairs, and counts of what was made and what was left out by reason."""

    pairs: list[Pair]
    counts: dict[str, int]


def make_pairs(responses: Sequence[Labelled], taxonomy: Taxonomy, seed: int, tested: Collection[str] = ()) -> Synthesis:
    """Draw configurations for every prompt and pair its response groups by error score.

    Args:
        responses: labelled responses; invalid verdicts are left out and counted.
        taxonomy: T and the modes, in its settings.
        seed: of configurations, wordings and responses.
        tested: ids of test prompts; responses to them are left out and counted.
    """
    rows = [row for row in responses if row.prompt_id not in tested]
    settings, seen = taxonomy.settings, frozenset(taxonomy.settings.seen)
    groups = _groups(rows)
    prompts = {row.prompt_id: row for row in rows}
    asked = [(name, frozenset(row.harms)) for name, row in prompts.items()]
    rng = random.Random(f"{seed}|cosalign")
    counts = Counter(
        responses=len(responses),
        tested=len(responses) - len(rows),
        invalid=sum(row.addressed is None for row in rows),
        prompts=len(prompts),
        prompts_outside=sum(not harms <= seen for _, harms in asked),
    )
    pairs: list[Pair] = []
    for draw in draw_configs(asked, rng, settings.modes, seen, settings.dedup_empty_configs):
        found = groups[draw.prompt_id]
        pairing = pair_groups(list(found), draw.allowed, seen)
        counts.update(draws=1, ties=pairing.ties, violating=pairing.violations)
        for chosen, rejected in pairing.pairs:
            sides = [(list(found)[i], rng.choice(list(found.values())[i])) for i in (chosen, rejected)]
            pairs.append(_pair(f"{draw.mode}-{draw.prompt_id}-{chosen}-{rejected}", draw, sides, taxonomy, rng))
    counts["pairs"] = len(pairs)
    return Synthesis(pairs, dict(sorted(counts.items())))


def _groups(rows: Sequence[Labelled]) -> dict[str, dict[Response, list[Labelled]]]:
    groups: dict[str, dict[Response, list[Labelled]]] = {row.prompt_id: {} for row in rows}
    for row in rows:
        if row.addressed is not None:
            groups[row.prompt_id].setdefault(Response(frozenset(row.found), row.addressed), []).append(row)
    return groups


def _pair(
    name: str, draw: Draw, sides: Sequence[tuple[Response, Labelled]], taxonomy: Taxonomy, rng: random.Random
) -> Pair:
    seen = frozenset(taxonomy.settings.seen)
    row = sides[0][1]
    system = worded(draw.allowed, taxonomy, rng, seen_only=True)
    values: dict[str, Any] = {}
    for side, (group, response) in zip(("chosen", "rejected"), sides, strict=True):
        tenths = error_tenths(draw.allowed, group.harms, group.addressed, seen)
        values |= {side: response.response, f"{side}_finished": response.finished, f"{side}_found": response.found}
        values |= {f"{side}_addressed": group.addressed, f"{side}_tenths": tenths, f"reward_{side}": -tenths / 10}
    prompt = conversation(system, (), row.prompt)
    head: dict[str, Any] = {"mode": draw.mode, "allowed": list(draw.allowed), "harms": row.harms, "prompt": prompt}
    return Pair(id=name, prompt_id=row.prompt_id, **head, **values)


def record(pair: Pair) -> Record:
    """A pair of this package."""
    return Record(
        pair.mode,
        frozenset(pair.allowed),
        frozenset(pair.harms),
        Response(frozenset(pair.chosen_found), pair.chosen_addressed),
        Response(frozenset(pair.rejected_found), pair.rejected_addressed),
        pair.chosen_tenths,
        pair.rejected_tenths,
    )
