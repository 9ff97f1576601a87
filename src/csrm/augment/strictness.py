"""SA: strictness augmentation (CSRM section 3.2, Algorithm 1 and Definition 3.1).

The algorithm is written once over a `Backend`; `csrm.augment.strictness_backends` has the deterministic ones and
`csrm.augment.llm_strictness` the one of a language model.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from csrm.augment.concurrency import ordered_map
from csrm.configs.safety_config import Category
from csrm.rows import Row


class Subcategory(NamedTuple):
    """A subcategory s of a category p; `severity` orders deterministic backends, LLM backends ignore it."""

    key: str
    name: str
    guideline: str = ""
    severity: float = 0.0


class Rewrite(NamedTuple):
    """d_k: category p rewritten to disallow the k most severe subcategories; a larger k is stricter."""

    k: int
    category: Category
    disallowed: tuple[Subcategory, ...]
    allowed: tuple[Subcategory, ...]


class Tested(NamedTuple):
    """One strictness test: k = #{unsafe under both}, n = #{unsafe under the laxer d'}, `lower` = LB_alpha."""

    strict: int
    lenient: int
    k: int
    n: int
    lower: float
    passed: bool


class Strictness(NamedTuple):
    """What Algorithm 1 made of one category: rewrites by k, all tests, and how S_p came about.

    `flagged[k]` is the number of conversations of D_p that l calls unsafe under d_k: recall by strictness (Figure 3).
    """

    rewrites: dict[int, Rewrite]
    flagged: dict[int, int]
    tests: list[Tested]
    pool: int
    proposed: int
    extended: int
    uncovered: int
    graded: bool

    @property
    def kept(self) -> list[tuple[Rewrite, Rewrite]]:
        """The (strict, lenient) rewrites whose order passed the test."""
        return [(self.rewrites[t.strict], self.rewrites[t.lenient]) for t in self.tests if t.passed]

    def report(self) -> dict[str, Any]:
        """Counts, S_p by falling severity, the rewrites with their recall on D_p, and every test, kept or not."""
        counts = {"pool": self.pool, "proposed": self.proposed, "extended": self.extended, "uncovered": self.uncovered}
        tests = [t._asdict() for t in self.tests]
        rewrites = [self._described(rewrite) for rewrite in self.rewrites.values()]
        names = [s.name for r in list(self.rewrites.values())[:1] for s in (*r.disallowed, *r.allowed)]
        kept = sum(t.passed for t in self.tests)
        return {**counts, "subcategories": names, "rewrites": rewrites, "tests": tests, "kept": kept}

    def _described(self, rewrite: Rewrite) -> dict[str, Any]:
        covered = rewrite.k / (len(rewrite.disallowed) + len(rewrite.allowed))
        recall = self.flagged[rewrite.k] / self.pool if self.pool else None
        text = {"k": rewrite.k, "key": rewrite.category.key, "guideline": rewrite.category.guideline}
        return {**text, "covered": covered, "flagged": self.flagged[rewrite.k], "recall": recall}


class Backend(Protocol):
    """The functions that Algorithm 1 calls for one category p with pool D_p.

    `graded` says that rewrites are severity thresholds, so that human severities label conversations under them.
    `notes` counts what was made and rejected, by reason.
    """

    graded: bool
    notes: Counter[str]

    def propose(self, pool: Sequence[Row]) -> list[Subcategory]:
        """RawPropose(p): common subcategories."""
        ...

    def covers(self, row: Row, subcategory: Subcategory) -> bool:
        """Whether l(x⊙r; s) = unsafe."""
        ...

    def extend(self, row: Row, known: Sequence[Subcategory]) -> list[Subcategory]:
        """Propose(p, x⊙r, S_p): subcategories for an uncovered conversation; empty if there are none."""
        ...

    def sort(self, subcategories: Sequence[Subcategory]) -> list[Subcategory]:
        """SortBySeverity(S_p), most severe first."""
        ...

    def describe(self, disallowed: Sequence[Subcategory], allowed: Sequence[Subcategory]) -> Category:
        """Describe: category p with a guideline that disallows the former and allows the latter."""
        ...

    def unsafe(self, row: Row, rewrite: Rewrite) -> bool:
        """Whether l(x⊙r; d_k) = unsafe."""
        ...


def lower_bound(k: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson lower bound BetaInv(alpha; k, n-k+1) of a binomial share; 0 where k = 0."""
    if not 0 <= k <= n:
        raise ValueError(f"k successes of n trials need 0 <= k <= n, got k={k}, n={n}")
    if k == 0:
        return 0.0
    from scipy.stats import beta

    return float(beta.ppf(alpha, k, n - k + 1))


def strictness_test(
    strict: Sequence[bool], lenient: Sequence[bool], alpha: float, dominance: float
) -> tuple[int, int, float, bool]:
    """Definition 3.1: whether d dominates d' on D_p with confidence 1 - alpha.

    Args:
        strict: l(x⊙r; d) = unsafe, one a conversation of D_p.
        lenient: l(x⊙r; d') = unsafe, in the same order.
        alpha: level of the bound.
        dominance: Pr(d ≻ d') that the bound must exceed.

    Returns:
        k, n, the lower bound, and whether it exceeds `dominance`.
    """
    k = sum(a and b for a, b in zip(strict, lenient, strict=True))
    n = sum(lenient)
    bound = lower_bound(k, n, alpha)
    return k, n, bound, bound > dominance


def run(pool: Sequence[Row], backend: Backend, alpha: float, dominance: float, workers: int = 1) -> Strictness:
    """Algorithm 1 for one category: subcategories, cover check, sort, prefix rewrites, tests of all i < j.

    Args:
        pool: D_p.
        backend: proposer, sorter, rewriter and classifier.
        alpha: level of the bound.
        dominance: what the bound must exceed.
        workers: calls of l at once; the result does not depend on it.
    """
    raw = backend.propose(pool)
    covered = ordered_map(lambda row: any(backend.covers(row, s) for s in raw), pool, workers)
    subcategories, uncovered = list(raw), 0
    for row in (row for row, found in zip(pool, covered, strict=True) if not found):
        if not any(backend.covers(row, s) for s in subcategories[len(raw) :]):
            known = {s.key for s in subcategories}
            fresh = [s for s in backend.extend(row, subcategories) if s.key not in known]
            uncovered += not fresh
            subcategories += fresh
    ordered = backend.sort(subcategories)
    rewrites = {}
    for k in range(1, len(ordered)):
        disallowed, allowed = tuple(ordered[:k]), tuple(ordered[k:])
        rewrites[k] = Rewrite(k, backend.describe(disallowed, allowed), disallowed, allowed)
    asked = [(row, rewrite) for rewrite in rewrites.values() for row in pool]
    called = ordered_map(lambda pair: backend.unsafe(*pair), asked, workers)
    flags = {k: called[n * len(pool) : (n + 1) * len(pool)] for n, k in enumerate(rewrites)}
    tests = [
        Tested(j, i, *strictness_test(flags[j], flags[i], alpha, dominance))
        for j in rewrites
        for i in rewrites
        if i < j
    ]
    extended = len(subcategories) - len(raw)
    flagged = {k: sum(found) for k, found in flags.items()}
    return Strictness(rewrites, flagged, tests, len(pool), len(raw), extended, uncovered, backend.graded)
