"""How good are a proposer's p+ and p-, set against what people said of the conversations (section 3.2).

The proposers are asked about the same conversations. A proposal's meaning is read off the bank category nearest to it:
p+ should be of a family that people saw violated, p- of one that the response does not touch. The bank's proposer
meets both by construction; for a language model they are the test, as is its judgement of categories that people
rated.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, NamedTuple

import numpy as np

from csrm.augment.catalogue import Catalogue, Facts, as_category, conversation_text
from csrm.augment.encoder import TextEncoder
from csrm.augment.proposers import Case, Proposer
from csrm.bench.bootstrap import bootstrap_mean
from csrm.configs.safety_config import Category
from csrm.rows import Row
from csrm.settings import MetricSettings

Verifier = Callable[[Row, Category], bool | None]


class Proposed(NamedTuple):
    """What one request gave: the conversation, what is known of it, and the two accepted categories."""

    row: Row
    facts: Facts
    positive: Category | None
    negative: Category | None


class Verdict(NamedTuple):
    """A verifier's answer about a category that people rated; None where no answer parses."""

    prompt_id: str
    unsafe: bool
    called: bool | None


def ask(
    rows: Iterable[Row], catalogue: Catalogue, proposer: Proposer, threshold: float, requests: int, rng: Random
) -> Iterator[Proposed]:
    """`requests` proposals for every conversation, under the standard configuration of its taxonomy."""
    for row in rows:
        case = known(row, catalogue, threshold)
        for found in islice(proposer.proposals(case, rng), requests):
            yield Proposed(row, case.facts, found.positive, found.negative)


def known(row: Row, catalogue: Catalogue, threshold: float) -> Case:
    """A conversation with what is known of it, under the standard configuration of its taxonomy."""
    facts = catalogue.facts(row, threshold)
    return Case(row, facts, [c for c in catalogue.standard(row.taxonomy) if c.key not in facts.unknown])


def verify(rows: Iterable[Row], catalogue: Catalogue, verifier: Verifier, threshold: float) -> Iterator[Verdict]:
    """The verifier's answers about the taxonomy categories that people rated each response in."""
    for row in rows:
        for category in catalogue.taxonomy(row.taxonomy):
            if category.key in row.harms and not catalogue.is_held_out(category):
                unsafe = row.harms[category.key] >= threshold
                yield Verdict(row.prompt_id, unsafe, verifier(row, as_category(category)))


def quality(
    proposed: Sequence[Proposed], catalogue: Catalogue, encoder: TextEncoder, settings: MetricSettings, seed: int
) -> dict[str, dict[str, Any]]:
    """Measures of accepted proposals, each with its counts and interval; a measure over nothing has value None.

    - `p+ found`, `p- found`: share of requests with an accepted category of the side, p+ where people saw a violation.
    - `p+ on harmless`: the same where people saw none (lower is better).
    - `p+ of a violated family`, `p- of an untouched family`: agreement with people, by the nearest bank category.
    - `p+ closer than p-`: share of requests with both whose p+ lies nearer to the conversation.
    - `distinct p+`, `distinct p-`: different names among the accepted ones.
    """
    family = _families(proposed, catalogue, encoder)
    similarity = _similarities(proposed, encoder)
    harmful = [p for p in proposed if p.facts.families]
    harmless = [p for p in proposed if not p.facts.families and not p.facts.refusal]
    found: dict[str, list[tuple[str, bool]]] = {
        "p+ found": [(p.row.prompt_id, p.positive is not None) for p in harmful],
        "p- found": [(p.row.prompt_id, p.negative is not None) for p in proposed],
        "p+ on harmless": [(p.row.prompt_id, p.positive is not None) for p in harmless],
        "p+ of a violated family": [
            (p.row.prompt_id, family(p.positive) in p.facts.families) for p in harmful if p.positive
        ],
        "p- of an untouched family": [
            (p.row.prompt_id, family(p.negative) not in p.facts.families | p.facts.near) for p in proposed if p.negative
        ],
        "p+ closer than p-": [
            (p.row.prompt_id, similarity(p, p.positive) > similarity(p, p.negative))
            for p in proposed
            if p.positive and p.negative
        ],
    }
    measures = {name: _share(values, settings, seed) for name, values in found.items()}
    for side, categories in (("p+", [p.positive for p in proposed]), ("p-", [p.negative for p in proposed])):
        names = [c.name.casefold() for c in categories if c is not None]
        measures[f"distinct {side}"] = {"value": len(set(names)) / len(names) if names else None, "n": len(names)}
    return measures


def verification(verdicts: Sequence[Verdict], settings: MetricSettings, seed: int) -> dict[str, dict[str, Any]]:
    """How often the verifier calls a violation what people rated as one, and what they rated as none."""
    parsed = [v for v in verdicts if v.called is not None]
    return {
        "verifier answers that parse": _share([(v.prompt_id, v.called is not None) for v in verdicts], settings, seed),
        "violations called": _share([(v.prompt_id, bool(v.called)) for v in parsed if v.unsafe], settings, seed),
        "harmless called violations": _share(
            [(v.prompt_id, bool(v.called)) for v in parsed if not v.unsafe], settings, seed
        ),
    }


def _share(values: Sequence[tuple[str, bool]], settings: MetricSettings, seed: int) -> dict[str, Any]:
    if not values:
        return {"value": None, "n": 0}
    prompts, held = zip(*values, strict=True)
    rng = np.random.default_rng(seed)
    found = bootstrap_mean(np.array(held, dtype=float), prompts, settings.bootstrap, settings.level, rng, share=True)
    return found._asdict()


def _text(category: Category) -> str:
    return f"{category.name}. {category.guideline}"


def _families(proposed: Sequence[Proposed], catalogue: Catalogue, encoder: TextEncoder) -> Callable[[Category], str]:
    """The family of the bank category (held-out ones included) that means most nearly the same."""
    bank = [*catalogue.bank(), *catalogue.bank(unseen=True)]
    keys = {f"bank:{c.id}": c.family for c in bank}
    texts = sorted({_text(c) for p in proposed for c in (p.positive, p.negative) if c and c.key not in keys})
    if texts:
        vectors = encoder.encode([f"{c.name}. {c.guideline}" for c in bank])
        nearest = np.argmax(encoder.encode(texts) @ vectors.T, axis=1)
        keys |= {text: bank[int(n)].family for text, n in zip(texts, nearest, strict=True)}
    return lambda category: keys[str(category.key)] if category.key in keys else keys[_text(category)]


def _similarities(proposed: Sequence[Proposed], encoder: TextEncoder) -> Callable[[Proposed, Category], float]:
    """Cosine of a conversation and a category."""
    conversations = sorted({conversation_text(p.row) for p in proposed})
    categories = sorted({_text(c) for p in proposed for c in (p.positive, p.negative) if c})
    rows = dict(zip(conversations, encoder.encode(conversations), strict=True))
    texts = dict(zip(categories, encoder.encode(categories), strict=True)) if categories else {}
    return lambda p, category: float(rows[conversation_text(p.row)] @ texts[_text(category)])
