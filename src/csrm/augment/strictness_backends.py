"""Deterministic backends of Algorithm 1: human severity levels, and bank subcategories by meaning."""

from collections import Counter
from collections.abc import Sequence

from csrm.augment.catalogue import BankLike, TaxonomyCategoryLike, bank_key, conversation_text
from csrm.augment.configs import threshold_category
from csrm.augment.encoder import TextEncoder
from csrm.augment.proposers import nearest
from csrm.augment.strictness import Rewrite, Subcategory
from csrm.configs.safety_config import Category
from csrm.rows import Row

NAMES = 4  # subcategories named on each side of the boundary of a rewritten guideline
COMMON = 0.02  # RawPropose of the bank backend: nearest subcategory of at least this share of the pool


class LevelBackend:
    """S_p = the severity levels of the category and "none"; l is the human severity.

    The least severe member is severity 0, which no rewrite disallows, so the rewrites d_k of Algorithm 1
    (k <= |S_p| - 1) reach every level. Severity thresholds that training must not use make no subcategory boundary.
    """

    graded = True

    def __init__(self, category: TaxonomyCategoryLike, held_out_thresholds: Sequence[float] = ()) -> None:
        self.notes: Counter[str] = Counter()
        self._category = category
        self._held_out = frozenset(held_out_thresholds)

    def propose(self, pool: Sequence[Row]) -> list[Subcategory]:
        """See `Backend.propose`: the levels, those of a held-out threshold merged into the next more severe one."""
        levels = [level for level in self._category.levels if level.severity not in self._held_out]
        subcategories = [Subcategory(f"{v.severity:g}", v.phrase, severity=v.severity) for v in levels]
        return [Subcategory("0", "none", severity=0.0), *subcategories]

    def covers(self, row: Row, subcategory: Subcategory) -> bool:
        """See `Backend.covers`."""
        return row.harms.get(self._category.key, 0.0) >= subcategory.severity > 0

    def extend(self, row: Row, known: Sequence[Subcategory]) -> list[Subcategory]:
        """See `Backend.extend`: the levels are complete."""
        return []

    def sort(self, subcategories: Sequence[Subcategory]) -> list[Subcategory]:
        """See `Backend.sort`."""
        return sorted(subcategories, key=lambda s: -s.severity)

    def describe(self, disallowed: Sequence[Subcategory], allowed: Sequence[Subcategory]) -> Category:
        """See `Backend.describe`: the severity threshold in words."""
        return threshold_category(self._category, disallowed[-1].severity)

    def unsafe(self, row: Row, rewrite: Rewrite) -> bool:
        """See `Backend.unsafe`: human severity reaches the threshold."""
        return row.harms.get(self._category.key, 0.0) >= rewrite.disallowed[-1].severity


class BankBackend:
    """S_p = bank subcategories of the category's families; l = the conversation's nearest one is disallowed.

    Families without an order of severity (benign topics) have no subcategories here, and so no rewrites.
    """

    graded = False

    def __init__(self, category: TaxonomyCategoryLike, bank: Sequence[BankLike], encoder: TextEncoder) -> None:
        self.notes: Counter[str] = Counter()
        self._category, self._encoder = category, encoder
        found = [c for c in bank if c.family in category.families]
        self._bank = found if len({c.severity for c in found}) > 1 else []
        self._vectors = encoder.encode([f"{c.name}. {c.guideline}" for c in self._bank])
        self._nearest: dict[str, Subcategory] = {}

    def propose(self, pool: Sequence[Row]) -> list[Subcategory]:
        """See `Backend.propose`: the subcategories that are nearest for a common share of the pool."""
        if not self._bank:
            return []
        self._encoder.encode([conversation_text(row) for row in pool])
        counts = Counter(self._of(row) for row in pool)
        return sorted(s for s, n in counts.items() if n >= max(2, COMMON * len(pool)))

    def covers(self, row: Row, subcategory: Subcategory) -> bool:
        """See `Backend.covers`."""
        return self._of(row) == subcategory

    def extend(self, row: Row, known: Sequence[Subcategory]) -> list[Subcategory]:
        """See `Backend.extend`: the conversation's nearest subcategory."""
        return [self._of(row)] if self._bank else []

    def sort(self, subcategories: Sequence[Subcategory]) -> list[Subcategory]:
        """See `Backend.sort`: by the bank's severity, then by key."""
        return sorted(subcategories, key=lambda s: (-s.severity, s.key))

    def describe(self, disallowed: Sequence[Subcategory], allowed: Sequence[Subcategory]) -> Category:
        """See `Backend.describe`: the names nearest to the boundary on each side."""
        unsafe = ", ".join(s.name for s in disallowed[-NAMES:])
        safe = ", ".join(s.name for s in allowed[:NAMES])
        worse = " or worse" if len(disallowed) > NAMES else ""
        milder = " or milder" if len(allowed) > NAMES else ""
        guideline = f"Unsafe: {unsafe}{worse}. Allowed: {safe}{milder}."
        return Category(name=self._category.name, guideline=guideline, key=f"{self._category.key}@{disallowed[-1].key}")

    def unsafe(self, row: Row, rewrite: Rewrite) -> bool:
        """See `Backend.unsafe`."""
        return self._of(row) in rewrite.disallowed

    def _of(self, row: Row) -> Subcategory:
        if row.id not in self._nearest:
            vector = self._encoder.encode([conversation_text(row)])[0]
            best = self._bank[nearest(self._vectors, vector, range(len(self._bank)))]
            self._nearest[row.id] = Subcategory(bank_key(best), best.name, best.guideline, float(best.severity))
        return self._nearest[row.id]
