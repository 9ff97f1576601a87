"""Preference pairs of helpfulness: rows of data sets -> (prompt, chosen, rejected), split by prompt before training.

H ignores ethics, as CoSA's judge does (0 is a refusal): what may be said is the safety reward's business. So answers
are preferred to refusals of the same prompt, unsafe prompts included, and of the configurable-safety-tuning pairs those
count whose system prompt permits everything. Their other preferences follow a system prompt that H never sees.
"""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from csrm.files import text_id
from csrm.rows import PairRow, Row
from csrm.settings import HelpfulnessSettings

PARTS = ("train", "validation", "test")


def _permitted(row: PairRow) -> bool:
    """Whether the pair's system prompt permits everything, so that the fuller answer was chosen."""
    return bool(row.meta.get("conditional")) and "uncensored" in (row.system or "")


HELPFUL: Mapping[str, Callable[[PairRow], bool]] = {
    "coconot": lambda row: True,
    "cst-pairs": _permitted,
    "smoke-pairs": lambda row: True,
}
"""Data sets of pairs -> which of them prefer the more helpful response."""


class Splits(NamedTuple):
    """Pairs by part (train, validation, test), and counts for the manifest."""

    parts: dict[str, list[PairRow]]
    notes: dict[str, Any]


def chosen_pairs(rows: Iterable[PairRow], dropped: Counter[str]) -> list[PairRow]:
    """The pairs of pair data sets that are about helpfulness, without their system prompt.

    Raises:
        ValueError: if a data set's preferences are of another kind.
    """
    kept = []
    for row in rows:
        if row.dataset not in HELPFUL:
            raise ValueError(
                f"data set {row.dataset!r} prefers by something other than helpfulness: name data sets of pairs among "
                f"{sorted(HELPFUL)} in helpfulness.data, or data sets whose rows say what is a refusal"
            )
        if HELPFUL[row.dataset](row):
            kept.append(_pair(row.id, row, row.prompt, row.chosen, row.rejected))
        else:
            dropped["preference under a system prompt"] += 1
    return kept


def answer_pairs(rows: Iterable[Row], most: int, seed: int, dropped: Counter[str]) -> list[PairRow]:
    """Answers over refusals of the same prompt and data set: at most `most` of their combinations, drawn by `seed`."""
    sides: dict[tuple[str, str], tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for row in rows:
        if row.refusal is None or [m.role for m in row.messages] != ["user", "assistant"]:
            dropped["no refusal label, or not one turn"] += 1
        else:
            sides[row.dataset, row.prompt_id][row.refusal].append(row)
    pairs = []
    for (dataset, prompt_id), (answers, refusals) in sides.items():
        if not answers or not refusals:
            dropped["answers or refusals only"] += len(answers) + len(refusals)
        combined = list(itertools.product(answers, refusals))
        drawn = random.Random(f"{seed}-{dataset}-{prompt_id}").sample(combined, min(most, len(combined)))
        pairs += [_labelled_pair(answer, refusal) for answer, refusal in drawn]
    return pairs


def split_helpfulness(
    rows: Sequence[Row | PairRow], settings: HelpfulnessSettings, seed: int, excluded: Iterable[str] = ()
) -> Splits:
    """All pairs by part: a prompt lies in one part, whatever data sets it occurs in.

    Args:
        rows: rows of all data sets; pairs are taken as they are, labelled rows are paired.
        settings: shares, and the most pairs of one prompt.
        seed: of the split and of the drawn combinations.
        excluded: prompt ids that alignment is tested on; H is not fitted to them.

    Raises:
        ValueError: if a part is empty, or a data set is not about helpfulness.
    """
    dropped, barred = Counter[str](), set(excluded)
    pairs = chosen_pairs((row for row in rows if isinstance(row, PairRow)), dropped)
    labelled = (row for row in rows if isinstance(row, Row))
    pairs += answer_pairs(labelled, settings.pairs_per_prompt, seed, dropped)
    parts: dict[str, list[PairRow]] = {name: [] for name in PARTS}
    for pair in _distinct(pairs, dropped):
        name = _part(pair.prompt_id, settings, seed)
        if name != "test" and pair.prompt_id in barred:
            dropped["prompt of the alignment's test"] += 1
        else:
            parts[name].append(pair)
    _check_parts(parts)
    sizes = {name: dict(sorted(Counter(pair.dataset for pair in part).items())) for name, part in parts.items()}
    prompts = {name: len({pair.prompt_id for pair in part}) for name, part in parts.items()}
    return Splits(parts, {"pairs": sizes, "prompts": prompts, "dropped": dict(sorted(dropped.items()))})


def _check_parts(parts: Mapping[str, Sequence[PairRow]]) -> None:
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise ValueError(
            f"no helpfulness pair for {', '.join(empty)}: name more data sets in helpfulness.data, or change "
            "helpfulness.test_share and helpfulness.validation_share"
        )


def _part(prompt_id: str, settings: HelpfulnessSettings, seed: int) -> str:
    from csrm.data.split import position

    place = position(prompt_id, seed)
    if place < settings.test_share:
        return "test"
    return "validation" if place < settings.test_share + settings.validation_share else "train"


def _distinct(pairs: Iterable[PairRow], dropped: Counter[str]) -> list[PairRow]:
    found: dict[tuple[str, str, str], PairRow] = {}
    for pair in pairs:
        key = (pair.prompt_id, pair.chosen, pair.rejected)
        if pair.chosen == pair.rejected:
            dropped["equal responses"] += 1
        elif key in found:
            dropped["duplicate"] += 1
        else:
            found[key] = pair
    return list(found.values())


def _labelled_pair(answer: Row, refusal: Row) -> PairRow:
    texts = (answer.messages[0].content, answer.messages[-1].content, refusal.messages[-1].content)
    return _pair(f"{answer.id}>{refusal.id}", answer, *texts)


def _pair(name: str, row: Row | PairRow, prompt: str, chosen: str, rejected: str) -> PairRow:
    return PairRow(
        id=name, dataset=row.dataset, prompt_id=text_id(prompt), prompt=prompt, chosen=chosen, rejected=rejected
    )
