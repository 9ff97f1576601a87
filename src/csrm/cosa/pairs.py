"""CoSAlign's preference pairs from labelled responses (CoSA, Algorithm 1), and what must hold of every such pair."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from csrm.cosa.answers import worded
from csrm.cosa.codecs import decode_group, decode_set
from csrm.cosa.schema import Labelled, Pair
from csrm.cosa.synthesis import BETA, Draw, Harms, Response, draw_configs, error_tenths, pair_groups
from csrm.cosa.topics import Taxonomy
from csrm.cosa.wordings import conversation
from csrm.settings import Mode

TOLERANCE = 1e-6


class Synthesis(NamedTuple):
    """The pairs, and counts of what was made and what was left out by reason."""

    pairs: list[Pair]
    counts: dict[str, int]


def make_pairs(rows: Sequence[Labelled], taxonomy: Taxonomy, seed: int) -> Synthesis:
    """Draw configurations for every prompt and pair its response groups by error score.

    Args:
        rows: labelled responses; invalid verdicts are left out and counted.
        taxonomy: T and the modes, in its settings.
        seed: of configurations, wordings and responses.
    """
    settings, seen = taxonomy.settings, frozenset(taxonomy.settings.seen)
    groups = _groups(rows)
    prompts = {row.prompt_id: row for row in rows}
    asked = [(name, frozenset(row.harms)) for name, row in prompts.items()]
    rng = random.Random(f"{seed}|cosalign")
    counts = Counter(
        responses=len(rows),
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


class Record(NamedTuple):
    """What a pair claims, as labels: of this package (`Pair`) or of a CoSAlign-Train file."""

    mode: Mode
    allowed: Harms
    prompt: Harms
    chosen: Response
    rejected: Response
    chosen_tenths: float
    rejected_tenths: float


COLUMNS = (
    *("mode", "spec_i", "spec_j", "chosen_cat", "rejected_cat"),
    *("chosen_category_error_score", "rejected_category_error_score"),
)


def published_record(row: Mapping[str, Any]) -> Record:
    """A row of CoSAlign-Train (`spec_i`, `spec_j`, `mode`, `chosen_cat`, `rejected_cat` and both error scores).

    Raises:
        ValueError: if a column is missing, or a category set or a group is malformed or invalid.
    """
    if missing := [name for name in COLUMNS if name not in row]:
        raise ValueError(f"no columns {missing}; CoSAlign-Train has {list(COLUMNS)}, this row {sorted(row)}")
    groups = []
    for side in ("chosen", "rejected"):
        group = decode_group(row[f"{side}_cat"])
        if group is None:
            raise ValueError(f"{side}_cat is {row[f'{side}_cat']!r}: invalid groups must not be paired")
        groups.append(group)
    errors = [10 * float(row[f"{side}_category_error_score"]) for side in ("chosen", "rejected")]
    return Record(row["mode"], decode_set(row["spec_i"]), decode_set(row["spec_j"]), groups[0], groups[1], *errors)


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


def problems(claim: Record, seen: Harms) -> list[str]:
    """What does not hold of a pair: error scores, their order, how the configuration was drawn (CoSA, Algorithm 1)."""
    if not claim.allowed <= seen:
        return [f"the configuration allows {sorted(claim.allowed - seen)}, which is outside T"]
    found = []
    for side, group, claimed in (
        ("chosen", claim.chosen, claim.chosen_tenths),
        ("rejected", claim.rejected, claim.rejected_tenths),
    ):
        tenths = error_tenths(claim.allowed, group.harms, group.addressed, seen)
        if abs(tenths - claimed) > 10 * TOLERANCE:
            found.append(f"error score of {side} is {claimed / 10:g}, by its group {tenths / 10:g}")
    if not claim.chosen_tenths < claim.rejected_tenths:
        found.append(f"chosen errs by {claim.chosen_tenths / 10:g}, rejected by {claim.rejected_tenths / 10:g}")
    if claim.chosen_tenths >= BETA:
        found.append(f"chosen violates the configuration (error score {claim.chosen_tenths / 10:g})")
    if not _fits(claim):
        found.append(
            f"mode {claim.mode!r} does not give {sorted(claim.allowed)} for a prompt of {sorted(claim.prompt)}"
        )
    return found


def _fits(claim: Record) -> bool:
    allowed, prompt = claim.allowed, claim.prompt
    return {
        "exact_match": allowed == prompt,
        "superset": allowed >= prompt,
        "safe": not allowed,
        "not_superset": not allowed >= prompt if prompt else not allowed,
    }.get(claim.mode, False)
