"""Statistics of CCA (`cca_statistics.json`): label flips, and what became of proposed categories."""

from collections.abc import Mapping
from typing import Any

FLIPS = (("safe", "unsafe"), ("unsafe", "safe"))
SIDES = ("p+", "p-")


def statistics(counts: Mapping[str, int]) -> dict[str, Any]:
    """The counts of `cca.build` as a nested table with rates.

    A flip is a branch whose label differs from the conversation's label under the standard configuration; its rate is
    over the branches of conversations with that label. A proposal is accepted unless it is rejected by a check;
    rates of acceptance and rejection are over proposals, the rate of none over requests. A rate over nothing is null.
    """
    return {
        "groups": counts.get("groups", 0),
        "pairs": counts.get("pairs", 0),
        "branches": {label: counts.get(f"branches labelled {label}", 0) for label in ("safe", "unsafe")},
        "dropped": _after(counts, "dropped: "),
        "flips": {f"{old} to {new}": _flip(counts, old, new) for old, new in FLIPS},
        "proposals": {side: _side(counts, side) for side in SIDES},
    }


def _flip(counts: Mapping[str, int], old: str, new: str) -> dict[str, Any]:
    flips, branches = counts.get(f"flips {old} to {new}", 0), counts.get(f"branches of {old} conversations", 0)
    return {"count": flips, "branches": branches, "rate": _rate(flips, branches)}


def _side(counts: Mapping[str, int], side: str) -> dict[str, Any]:
    found = {what: counts.get(f"proposer: {side} {what}", 0) for what in ("proposed", "accepted", "none")}
    rejected = _after(counts, f"proposer: {side} rejected: ")
    unparsed = counts.get(f"proposer: {side} no answer that parses", 0)
    requests = found["proposed"] + found["none"] + unparsed
    cut = counts.get(f"proposer: {side} candidates above the cut")
    return {
        "requests": requests,
        **found,
        **({} if cut is None else {"bank candidates above the similarity cut": cut}),
        "no answer that parses": unparsed,
        "none_rate": _rate(found["none"], requests),
        "accepted_rate": _rate(found["accepted"], found["proposed"]),
        "rejected": {
            reason: {"count": count, "rate": _rate(count, found["proposed"])} for reason, count in rejected.items()
        },
    }


def _after(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {key.removeprefix(prefix): count for key, count in sorted(counts.items()) if key.startswith(prefix)}


def _rate(count: int, total: int) -> float | None:
    return count / total if total else None
