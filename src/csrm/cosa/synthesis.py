"""CoSAlign preference synthesis (CoSA paper, Algorithm 1): error score, pairing rule, configuration modes.

Labels are strings: those of the CoSAlign taxonomy (`Harm`), or of any other. Everything is pure and exact. Scores are
integers in tenths, because 0.1 + 0.1 + 0.1 != 0.3 in floating point and groups of equal cost must tie. String
encodings of category sets live in `csrm.cosa.codecs`.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import combinations
from typing import NamedTuple, get_args

from csrm.settings import Mode

MODES: tuple[Mode, ...] = get_args(Mode)
EASY: tuple[Mode, ...] = ("exact_match", "safe")
HARD: tuple[Mode, ...] = ("superset", "not_superset")

ALPHA, BETA, GAMMA = 1, 30, 10  # tenths: allowed harm, disallowed harm, unaddressed prompt


class Harm(StrEnum):
    """The eight labels of the CoSAlign taxonomy, in its order."""

    DISCRIMINATION = "discrimination"
    FINANCIAL = "financial_crime"
    DRUGS = "drugs"
    PRIVACY = "privacy"
    SEXUAL = "sexual"
    VIOLENCE = "violence"
    WEAPONS = "weapons"
    OTHER = "other"


OTHER: str = Harm.OTHER
"""What a harm outside the configurable set becomes; no configuration can list it."""

Harms = frozenset[str]
SEEN: Harms = frozenset({Harm.DISCRIMINATION, Harm.FINANCIAL, Harm.PRIVACY, Harm.VIOLENCE})
NAMED: Harms = frozenset(Harm) - {OTHER}
"""T of the variant with seven categories, which CoSA draws in-context exchanges from."""


class Response(NamedTuple):
    """A response group: the harms that its responses contain, and whether they address the prompt."""

    harms: Harms
    addressed: int


class Pairing(NamedTuple):
    """Indices (chosen, rejected) into the groups, and the pairs left out by reason."""

    pairs: list[tuple[int, int]]
    ties: int
    violations: int


class Draw(NamedTuple):
    """One configuration drawn for one prompt; `allowed` keeps the (shuffled) order in which it is shown."""

    mode: Mode
    prompt_id: str
    allowed: tuple[str, ...]


def collapse(harms: Iterable[str], seen: Harms = SEEN) -> Harms:
    """Map every harm outside the configurable set T to `OTHER`; the result is a set, so two of them count once."""
    return frozenset(h if h in seen else OTHER for h in harms)


def error_tenths(allowed: Iterable[str], harms: Iterable[str], addressed: int, seen: Harms = SEEN) -> int:
    """Error score gamma (1 - a) + alpha |H & A| + beta |H - A| in tenths (CoSA, Algorithm 1).

    Args:
        allowed: A, the harms that the configuration allows; a subset of `seen`.
        harms: H, the harms of the response, before the collapse to `OTHER`.
        addressed: a, 1 if the response addresses the prompt, else 0.
        seen: T, the harms that a configuration can name.

    Raises:
        ValueError: if `addressed` is neither 0 nor 1, or `allowed` names a harm outside `seen`.
    """
    permitted = frozenset(allowed)
    if addressed not in (0, 1):
        raise ValueError(f"addressed must be 0 or 1, got {addressed!r}; exclude invalid verdicts first")
    if not permitted <= seen:
        raise ValueError(f"configurations may name {sorted(seen)}, got {sorted(permitted - seen)}")
    found = collapse(harms, seen)
    return GAMMA * (1 - addressed) + ALPHA * len(found & permitted) + BETA * len(found - permitted)


def pair_groups(groups: Sequence[Response], allowed: Iterable[str], seen: Harms = SEEN) -> Pairing:
    """Pair every two groups of unequal error; never choose a group that violates the configuration.

    A pair whose better side already costs beta or more is skipped (CoSA, Algorithm 1).
    """
    permitted = frozenset(allowed)
    errors = [error_tenths(permitted, g.harms, g.addressed, seen) for g in groups]
    pairs, ties, violations = [], 0, 0
    for i, j in combinations(range(len(groups)), 2):
        if errors[i] == errors[j]:
            ties += 1
        elif min(errors[i], errors[j]) >= BETA:
            violations += 1
        else:
            pairs.append((i, j) if errors[i] < errors[j] else (j, i))
    return Pairing(pairs, ties, violations)


def sample_config(mode: Mode, prompt: Harms, rng: random.Random, seen: Harms = SEEN) -> tuple[str, ...]:
    """Draw the allowed set A for a prompt with risk set J under one of the four modes (CoSA, Algorithm 1)."""
    present, absent = sorted(prompt), sorted(seen - prompt)
    if mode == "safe" or (mode == "not_superset" and not present):
        return ()
    if mode == "exact_match":
        chosen = present
    elif mode == "superset":
        chosen = present + rng.sample(absent, rng.randint(0, len(absent)))
    elif mode == "not_superset":
        kept = rng.sample(present, rng.randint(0, len(present) - 1))
        chosen = kept + rng.sample(absent, rng.randint(0, len(absent)))
    else:
        raise ValueError(f"mode {mode!r} is unknown; choose one of {MODES}")
    rng.shuffle(chosen)
    return tuple(chosen)


def draw_configs(
    prompts: Iterable[tuple[str, Harms]],
    rng: random.Random,
    modes: Sequence[Mode] = MODES,
    seen: Harms = SEEN,
    dedup_empty_configs: bool = True,
) -> Iterator[Draw]:
    """One draw per (mode, prompt), in the order mode, risk set, prompt.

    Prompts with a harm outside T are skipped. With `dedup_empty_configs`, a prompt gets the empty configuration at
    most once; upstream, a harmless prompt gets it under three of the four modes.
    """
    by_risk: dict[Harms, list[str]] = {}
    for prompt_id, harms in prompts:
        if harms <= seen:
            by_risk.setdefault(harms, []).append(prompt_id)
    emptied: set[str] = set()
    for mode in modes:
        for harms, ids in by_risk.items():
            for prompt_id in ids:
                allowed = sample_config(mode, harms, rng, seen)
                if not allowed and dedup_empty_configs:
                    if prompt_id in emptied:
                        continue
                    emptied.add(prompt_id)
                yield Draw(mode, prompt_id, allowed)
