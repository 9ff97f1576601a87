"""Recall of a policy's relevant entries among the k that BM25 finds closest to a conversation (CSRM Figure 8).

The paper shortens DynaBench's policies in this way (section 4.1) and prints the recall, but neither the paper nor the
data set says which entries are relevant. Rows that name theirs (`meta["relevant_rules"]`) are measured as they are.
Rows that are labelled with categories of harm give a proxy: the policy is their whole taxonomy, and relevant are the
categories that the response was labelled with.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from csrm.bench.bootstrap import bootstrap_mean
from csrm.bench.dynabench import K1, TOP, B, closest
from csrm.bench.metrics import Array
from csrm.configs.taxonomy import load_taxonomy
from csrm.rows import Row

FIELD = "relevant_rules"
BROUGHT = "relevant rules named"
PROXY = "proxy: labelled categories of the taxonomy"
RETRIEVER = f"BM25 (Lucene, k1 {K1}, b {B}), the whole conversation as the query"


class Query(NamedTuple):
    """One conversation: positions of its policy's entries, closest first, and which of them are relevant."""

    prompt: str
    ranking: list[int]
    relevant: frozenset[int]


def recall_at_k(queries: Sequence[Query], top: int) -> Array:
    """Share of each conversation's relevant entries among its first k.

    Returns:
        (conversations, top) values in [0, 1]; column j is k = j + 1.

    Raises:
        ValueError: if a conversation has no relevant entry: its recall is not defined.
    """
    if empty := sum(not query.relevant for query in queries):
        raise ValueError(f"{empty} conversations have no relevant entry: recall is not defined, leave them out")
    hits = np.zeros((len(queries), top))
    for i, query in enumerate(queries):
        found = [position in query.relevant for position in query.ranking[:top]]
        hits[i, : len(found)] = found
    sizes = np.array([len(query.relevant) for query in queries], dtype=float)
    share: Array = hits.cumsum(axis=1) / sizes[:, None]
    return share


def evaluate_retrieval(
    rows: Sequence[Row], standard: float, resamples: int, level: float, seed: int, top: int = TOP
) -> dict[str, Any]:
    """Recall at k = 1 ... `top` with prompt-clustered intervals, and what a random order would find (`chance`).

    Where no policy has more than k entries (`n_longer` 0), recall is 1 by construction and has no interval.

    Args:
        rows: conversations of one data set.
        standard: severity from which a labelled category counts as relevant (proxy).
        resamples: bootstrap resamples.
        level: level of the intervals.
        seed: seed of the resampling.
        top: largest k.

    Raises:
        ValueError: if a row has a policy without its relevant rules, or neither a policy nor labels of a taxonomy;
            or if no row has a relevant entry.
    """
    brought = any(row.meta.get("policy") for row in rows)
    queries, dropped = [], Counter[str]()
    for row in rows:
        policy, relevant = _named(row) if brought else _labelled(row, standard)
        if relevant:
            queries.append(Query(row.prompt_id, closest(row.messages, policy), relevant))
        else:
            dropped["nothing relevant"] += 1
    if not queries:
        raise ValueError(f"none of {len(rows)} conversations has a relevant entry: there is no recall")
    sizes = np.array([len(query.ranking) for query in queries])
    return {
        "relevance": BROUGHT if brought else PROXY,
        "sources": sorted({str(row.meta.get("relevance_source") or row.label_source) for row in rows}),
        "retriever": RETRIEVER,
        "counts": {"rows": len(rows), "n": len(queries), "dropped": dict(dropped)},
        "entries": {"median": float(np.median(sizes)), "max": int(sizes.max())},
        "recall": [
            _at(k, queries, values, resamples, level, seed) for k, values in enumerate(recall_at_k(queries, top).T, 1)
        ],
    }


def _at(k: int, queries: Sequence[Query], values: Array, resamples: int, level: float, seed: int) -> dict[str, Any]:
    sizes = np.array([len(query.ranking) for query in queries])
    prompts = [query.prompt for query in queries]
    found = bootstrap_mean(values, prompts, resamples, level, np.random.default_rng(seed))
    longer = int((sizes > k).sum())
    if not longer:
        found = found._replace(low=None, high=None)
    return {"k": k, **found._asdict(), "chance": float(np.minimum(1, k / sizes).mean()), "n_longer": longer}


def _named(row: Row) -> tuple[list[str], frozenset[int]]:
    """A policy's rules, and the positions of those that the row names as relevant."""
    policy, found = row.meta.get("policy"), row.meta.get(FIELD)
    if not policy or found is None:
        lacks = f"a policy and no {FIELD}" if policy else "no policy"
        raise ValueError(
            f"row {row.id!r} of data set {row.dataset!r} has {lacks}: recall needs the relevant rules' numbers in "
            f"{FIELD}, which DynaBench does not publish; name them in rows of your own (data set dynabench-relevant, "
            "docs/contracts.md, 'Rows that you bring')"
        )
    return list(policy), frozenset(number - 1 for number in found)


def _labelled(row: Row, standard: float) -> tuple[list[str], frozenset[int]]:
    """The taxonomy's categories as a policy, and the positions of those that the row is labelled with."""
    if row.taxonomy == "none":
        raise ValueError(
            f"row {row.id!r} of data set {row.dataset!r} has neither a policy with {FIELD} nor labelled categories of "
            "a taxonomy: score.retrieval takes data sets with one of them"
        )
    categories = load_taxonomy(row.taxonomy).categories
    harms = {key for key, severity in row.harms.items() if severity >= standard}
    texts = [f"{category.name}. {category.guideline}" for category in categories]
    return texts, frozenset(i for i, category in enumerate(categories) if category.key in harms)
