"""What must hold of every CoSAlign pair (CoSA, Algorithm 1), of this package's and of published ones."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from csrm.cosa.codecs import decode_group, decode_set
from csrm.cosa.synthesis import BETA, Harms, Response, error_tenths
from csrm.settings import Mode

TOLERANCE = 1e-6


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


def problems(claim: Record, seen: Harms) -> list[str]:
    """What does not hold of a pair: error scores, their order, how the configuration was drawn (CoSA, Algorithm 1)."""
    if not claim.allowed <= seen:
        return [f"the configuration allows {labels(claim.allowed - seen)}, which is outside T"]
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
            f"mode {claim.mode!r} does not give {labels(claim.allowed)} for a prompt of {labels(claim.prompt)}"
        )
    return found


def labels(harms: Harms) -> list[str]:
    """Harms as plain strings, sorted."""
    return sorted(str(harm) for harm in harms)


def _fits(claim: Record) -> bool:
    allowed, prompt = claim.allowed, claim.prompt
    return {
        "exact_match": allowed == prompt,
        "superset": allowed >= prompt,
        "safe": not allowed,
        "not_superset": not allowed >= prompt if prompt else not allowed,
    }.get(claim.mode, False)
