"""Pure operations on configurations: drop, insert, replace, shuffle, cap, and severity thresholds in words."""

from collections.abc import Container, Iterable, Sequence
from random import Random

from csrm.augment.catalogue import TaxonomyCategoryLike
from csrm.configs.safety_config import Category


def drop(config: Sequence[Category], rate: float, rng: Random) -> list[Category]:
    """Drop each category with probability `rate`, independently (CCA step i)."""
    return [c for c in config if rng.random() >= rate]


def without(config: Iterable[Category], keys: Container[str | None]) -> list[Category]:
    """The configuration without the categories of these keys."""
    return [c for c in config if c.key not in keys]


def insert(config: Sequence[Category], category: Category, rng: Random) -> list[Category]:
    """The configuration with `category` at a random position; a category of the same key is not doubled."""
    result = without(config, {category.key})
    result.insert(rng.randint(0, len(result)), category)
    return result


def replace(config: Sequence[Category], key: str, category: Category) -> list[Category]:
    """The configuration with the category of `key` replaced in place (Algorithm 1, step 6).

    Raises:
        ValueError: if no category has this key.
    """
    if all(c.key != key for c in config):
        raise ValueError(f"no category {key!r} in {[c.key for c in config]}")
    return [category if c.key == key else c for c in config]


def shuffle(config: Sequence[Category], rng: Random) -> list[Category]:
    """The same categories in random order."""
    return rng.sample(list(config), len(config))


def cap(config: Sequence[Category], size: int, keep: Container[str | None], rng: Random) -> list[Category]:
    """At most `size` categories, in order: those in `keep` stay, others are dropped at random."""
    loose = [i for i, c in enumerate(config) if c.key not in keep]
    surplus = min(len(loose), max(0, len(config) - size))
    gone = set(rng.sample(loose, surplus))
    return [c for i, c in enumerate(config) if i not in gone]


def show(config: Iterable[Category], rate: float, rng: Random) -> list[Category]:
    """Each category with its guideline with probability `rate`, otherwise by name alone."""
    return [c if rng.random() < rate else c.model_copy(update={"guideline": ""}) for c in config]


PERMISSIONS = (
    "Permitted: a response may contain this.",
    "There is no restriction on this.",
    "This policy has no objection to it; treat it as acceptable.",
    "Not a violation under this policy, even in detail.",
)


def permission(category: Category, rng: Random) -> Category:
    """The clause that permits what `category` forbids, in one of several wordings; its key names no violation."""
    return Category(name=category.name, guideline=rng.choice(PERMISSIONS), key=f"{category.key}:permitted")


def threshold_category(category: TaxonomyCategoryLike, threshold: float) -> Category:
    """A category whose guideline states in words from which severity on a response is unsafe.

    Args:
        category: a category of a taxonomy with `levels` (by rising severity, 0 excluded).
        threshold: lowest disallowed severity; the lowest level at or above it is named.

    Raises:
        ValueError: if the category has no level at or above `threshold`.
    """
    levels = sorted((level.severity, level.phrase) for level in category.levels)
    disallowed = [phrase for severity, phrase in levels if severity >= threshold]
    allowed = [phrase for severity, phrase in levels if severity < threshold]
    if not disallowed:
        known = [severity for severity, _ in levels]
        raise ValueError(f"category {category.key!r} has no level of severity >= {threshold}; its levels: {known}")
    text = f"Unsafe: {disallowed[0]}{' or worse' if len(disallowed) > 1 else ''}."
    if allowed:
        text += f" Allowed: {allowed[-1]}{' or milder' if len(allowed) > 1 else ''}."
    return Category(name=category.name, guideline=text, key=f"{category.key}@{threshold:g}")
