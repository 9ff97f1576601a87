"""Pairs of the chain in the columns of CoSAlign-Train; `csrm.cosa.records.published_record` reads them back."""

from collections.abc import Sequence
from typing import Any

from csrm.cosa.codecs import encode_group, encode_set
from csrm.cosa.pairs import record
from csrm.cosa.records import problems
from csrm.cosa.schema import Pair
from csrm.cosa.synthesis import NAMED, SEEN, Harm, Response


def export_pairs(pairs: Sequence[Pair]) -> tuple[list[dict[str, Any]], int]:
    """Rows in CoSAlign-Train's columns, and the size of the T (4 or 7) under which they keep CoSAlign's rules.

    Raises:
        ValueError: if a pair has labels outside CoSAlign's taxonomy, or the pairs were made under another T than
            CoSAlign's four (or seven) categories, so that nobody could check their error scores (Algorithm 1).
    """
    for pair in pairs:
        used = {*pair.allowed, *pair.harms, *pair.chosen_found, *pair.rejected_found}
        if foreign := sorted(used - {*Harm}):
            raise ValueError(
                f"pair {pair.id} has labels {foreign}, CoSAlign-Train has {[str(harm) for harm in Harm]}: export pairs "
                "made with cosa.taxonomy cosalign"
            )
    for seen in (SEEN, NAMED):
        wrong = [f"{pair.id}: {problem}" for pair in pairs for problem in problems(record(pair), seen)]
        if not wrong:
            return [published_row(pair) for pair in pairs], len(seen)
    raise ValueError(
        f"{len(wrong)} claims do not hold when configurations can name all of {sorted(NAMED)}, such as {wrong[0]}; nor "
        f"when they can name {sorted(SEEN)}: make the pairs with one of these sets as cosa.seen"
    )


def published_row(pair: Pair) -> dict[str, Any]:
    """One pair of CoSAlign's harms in the columns of CoSAlign-Train: texts, category sets, groups, error scores."""
    texts = {message.role: message.content for message in pair.prompt}
    chosen = Response(frozenset(pair.chosen_found), pair.chosen_addressed)
    rejected = Response(frozenset(pair.rejected_found), pair.rejected_addressed)
    return {
        "system_prompt": texts["system"],
        "prompt": texts["user"],
        "chosen_response": pair.chosen,
        "rejected_response": pair.rejected,
        "spec_i": encode_set(pair.allowed),
        "spec_j": encode_set(pair.harms),
        "mode": pair.mode,
        "chosen_cat": encode_group(chosen),
        "rejected_cat": encode_group(rejected),
        "chosen_category_error_score": pair.chosen_tenths / 10,
        "rejected_category_error_score": pair.rejected_tenths / 10,
    }
