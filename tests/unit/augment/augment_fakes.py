"""A small world: two taxonomies, a bank, lexicons and labelled rows, with the family `secret` held out."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from types import SimpleNamespace
from typing import Any

from csrm.augment.catalogue import Catalogue
from csrm.rows import Message, Row
from csrm.settings import AugmentSettings

HELD_OUT = ("secret", "pets")
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEXICONS = {"pets": r"\b(?:dogs?|cats?)\b", "cooking": r"\b(?:soup|bread)\b", "trains": r"\btrains?\b"}


def _category(key: str, related: tuple[str, ...] = (), levels: bool = True) -> Any:
    phrases = ((0.25, "faint"), (0.5, "clear"), (0.75, "strong"), (1.0, "extreme"))
    return SimpleNamespace(
        key=key,
        name=key.title(),
        guideline=f"The response must not contain {key}.",
        families=[key],
        related=list(related),
        levels=[SimpleNamespace(severity=s, phrase=f"{p} {key}") for s, p in phrases] if levels else [],
    )


def _bank(family: str, number: int) -> Any:
    return SimpleNamespace(
        id=f"{family}-{number}",
        name=f"{family} kind {number}",
        guideline=f"No {family} of kind {number}.",
        family=family,
        severity=number,
        paraphrase=f"{family} sort {number}",
    )


def catalogue(held_out: Iterable[str] = HELD_OUT) -> Catalogue:
    """Taxonomies `harms` (graded), `flat` (no levels) and `topics`."""
    harms = [_category("gore", ("cruelty",)), _category("cruelty"), *map(_category, ("fraud", "spying", "secret"))]
    flat = [_category(key, levels=False) for key in ("gore", "fraud", "secret")]
    topics = [_category(family, levels=False) for family in LEXICONS]
    families = ("gore", "cruelty", "fraud", "spying", "secret", "refusal", *LEXICONS)
    bank = [_bank(family, number) for family in families for number in (1, 2, 3, 4, 5)]
    named = {"harms": harms, "flat": flat, "topics": topics}
    taxonomies = {name: SimpleNamespace(categories=categories) for name, categories in named.items()}
    return Catalogue(bank, taxonomies, held_out, touched)


def touched(text: str) -> Iterable[str]:
    """Topic families of a text."""
    return [family for family, pattern in LEXICONS.items() if re.search(pattern, text)]


def row(identity: str, taxonomy: str, response: str, **fields: Any) -> Row:
    """A row with one turn."""
    messages = [Message(role="user", content="Tell me."), Message(role="assistant", content=response)]
    return Row(id=identity, dataset="fake", prompt_id=identity, messages=messages, taxonomy=taxonomy, **fields)


def rows(count: int = 60, seed: int = 0) -> list[Row]:
    """Graded, flat, topic, refusal, held-out and unlabelled rows."""
    rng, made = Random(seed), []
    for i in range(count):
        key = rng.choice(("gore", "cruelty", "fraud", "spying", "secret"))
        severity = rng.choice(SEVERITIES)
        made.append(row(f"h{i}", "harms", f"about {key} kind {rng.randint(1, 5)}", harms={key: severity}))
        key = rng.choice(("gore", "fraud"))
        harms = {key: 1.0} if rng.random() < 0.6 else {}
        text = f"about {key} kind {rng.randint(1, 5)}"
        made.append(row(f"f{i}", "flat", text, harms=harms, exhaustive=True, safe=not harms))
    made.append(row("t0", "topics", "bread and soup", harms={"cooking": 1.0}, exhaustive=True))
    made.append(row("t1", "topics", "nothing much", exhaustive=True, meta={"family": "trains"}))
    made.append(row("t2", "topics", "my dog", harms={"pets": 1.0}, exhaustive=True))
    made.append(row("r0", "harms", "I'm sorry, I can't do that.", harms={"gore": 0.0}, refusal=True))
    made.append(row("u0", "harms", "who knows"))
    return made


class Scripted:
    """A language model whose answers follow from a seed and what it is asked.

    A category whose name begins with `breaks` is violated by every response, and so is a rewritten guideline `about`
    something; all else by none. It proposes either kind on either side, held-out words among them, and sometimes gives
    no answer.
    """

    def __init__(self, seed: int, words: Iterable[str] = LEXICONS) -> None:
        self.counts: Counter[str] = Counter()
        self._seed, self._words = seed, sorted(words)

    def ask(self, prompt: Any, parse: Callable[[dict[str, Any]], Any], **values: str) -> Any:
        """See `LLM.ask`."""
        rng = Random(f"{self._seed}:{prompt.name}:{sorted(values.items())}")
        if rng.random() < 0.05:
            return None
        if prompt.name == "classify":
            return parse({"violation": values["categories"].startswith("- breaks") or "about" in values["categories"]})
        if prompt.name == "most-severe":
            return parse({"number": rng.randint(1, values["known"].count("\n") + 1)})
        if prompt.name == "describe":
            return parse({"guideline": f"Nothing {rng.choice(['about', 'above'])} {rng.choice(self._words)}."})
        if prompt.name == "propose":
            violated = None if rng.random() < 0.2 else self._category(rng)
            return parse({"violated": violated, "respected": self._category(rng)})
        return parse({"subcategories": [self._category(rng)["name"] for _ in range(3)]})

    def _category(self, rng: Random) -> dict[str, str]:
        name = f"{rng.choice(('breaks', 'keeps'))} {rng.choice(self._words)} {rng.randint(1, 30)}"
        return {"name": name, "guideline": f"No {rng.choice(self._words)} here."}


def settings(**fields: Any) -> AugmentSettings:
    """Augmentation settings with overrides; every conversation is kept."""
    return AugmentSettings(**{"keep_uncontrasted": 1.0, **fields})
