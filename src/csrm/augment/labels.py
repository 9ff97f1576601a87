"""The label of a conversation under an augmented configuration (CSRM section 3.2, Eq. 1)."""

from collections.abc import Iterable, Set

from csrm.configs.safety_config import Category
from csrm.rows import Label


def keys(config: Iterable[Category]) -> frozenset[str]:
    """The keys of a configuration's categories.

    Raises:
        ValueError: if a category has no key: Eq. 1 is a statement about identities, not about names.
    """
    config = list(config)
    unnamed = [c.name for c in config if c.key is None]
    if unnamed:
        raise ValueError(f"categories {unnamed} have no key, so Eq. 1 cannot label a configuration with them")
    return frozenset(str(c.key) for c in config)


def eq1(config: Iterable[Category], violated: Set[str], positive: str | None = None) -> Label:
    """Eq. 1: y' = unsafe iff (p_rel ∪ {p+}) ∩ p' is not empty.

    Args:
        config: the augmented configuration p'.
        violated: p_rel, the keys of the standard categories that the conversation violates.
        positive: key of p+, if one was proposed.
    """
    relevant = violated if positive is None else violated | {positive}
    return "unsafe" if relevant & keys(config) else "safe"
