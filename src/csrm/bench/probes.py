"""Trained baselines: logistic regression on text features, fitted on the run's augmented training groups.

They see what the reward model is trained on, so they show how much of a benchmark words and frozen embeddings
solve, with the configuration and without it.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from csrm.bench.baselines import category_text, conversation_text
from csrm.configs.safety_config import Category
from csrm.rows import Group, Message

if TYPE_CHECKING:
    from csrm.augment.encoder import TextEncoder

INVERSE_PENALTIES = (1.0, 10.0, 100.0)
FOLDS = 3


class Judged(Protocol):
    """What features are made of; an `Item` and an `Example` are both of this kind."""

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation; its last message is judged."""
        ...

    @property
    def config(self) -> Sequence[Category]:
        """The configuration."""
        ...


class Example(NamedTuple):
    """A labelled branch of a training group; `weight` makes each group weigh the same."""

    messages: Sequence[Message]
    config: Sequence[Category]
    safe: bool
    prompt_id: str
    weight: float


class Probe(NamedTuple):
    """What a trained baseline sees: words or embeddings, and the configuration or not."""

    features: str
    config: bool


PROBES: Mapping[str, Probe] = {
    "tfidf-lr": Probe("tfidf", True),
    "tfidf-lr-no-config": Probe("tfidf", False),
    "minilm-lr": Probe("minilm", True),
    "minilm-lr-no-config": Probe("minilm", False),
}


def examples_of(groups: Sequence[Group]) -> tuple[list[Example], int]:
    """The labelled branches of training groups, and how many branches have no label."""
    found, unlabelled = [], 0
    for group in groups:
        labelled = [branch for branch in group.branches if branch.label is not None]
        unlabelled += len(group.branches) - len(labelled)
        for branch in labelled:
            messages = branch.messages or group.messages
            safe = branch.label == "safe"
            found.append(Example(messages, branch.config, safe, group.prompt_id, 1 / len(labelled)))
    return found, unlabelled


def tfidf_features(judged: Sequence[Judged], vectorizer: Any, config: bool) -> Any:
    """Sparse (n, width): words of the conversation; with a configuration also its words, and the shared ones."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.preprocessing import normalize

    conversation = csr_matrix(vectorizer.transform([conversation_text(one.messages) for one in judged]))
    if not config:
        return conversation
    policy = csr_matrix(vectorizer.transform([" ".join(map(category_text, one.config)) for one in judged]))
    return hstack([conversation, policy, normalize(conversation.multiply(policy))], format="csr")


def minilm_features(judged: Sequence[Judged], encoder: "TextEncoder", config: bool) -> Any:
    """Dense (n, width): the conversation u; with a configuration also its closest category v, u * v and u . v.

    An item without categories has v = 0.
    """
    u = encoder.encode([conversation_text(one.messages) for one in judged])
    if not config:
        return u
    texts = sorted({category_text(c) for one in judged for c in one.config})
    index = {text: row for row, text in enumerate(texts)}
    vectors = encoder.encode(texts)
    v = np.zeros_like(u)
    for row, one in enumerate(judged):
        if one.config:
            own = vectors[[index[category_text(c)] for c in one.config]]
            v[row] = own[int(np.argmax(own @ u[row]))]
    return np.hstack([u, v, u * v, (u * v).sum(axis=1, keepdims=True)])


class FittedProbe(NamedTuple):
    """A fitted baseline; `vectorizer` is None where an encoder makes the features."""

    name: str
    vectorizer: Any
    classifier: Any

    def log_odds(self, judged: Sequence[Judged], encoder: "TextEncoder | None" = None) -> list[float]:
        """Safe log-odds (nats) of each item.

        Raises:
            ValueError: if the features need an encoder and there is none.
        """
        features = _features(PROBES[self.name], judged, self.vectorizer, encoder)
        values: list[float] = self.classifier.decision_function(features).tolist()
        return values


def _features(probe: Probe, judged: Sequence[Judged], vectorizer: Any, encoder: "TextEncoder | None") -> Any:
    if probe.features == "tfidf":
        return tfidf_features(judged, vectorizer, probe.config)
    if encoder is None:
        raise ValueError("a MiniLM baseline needs --encoder, a model folder or `hash`")
    return minilm_features(judged, encoder, probe.config)


def fit(name: str, groups: Sequence[Group], encoder: "TextEncoder | None" = None) -> tuple[FittedProbe, dict[str, Any]]:
    """Fit a trained baseline; the penalty is chosen by cross-validation over prompts (log loss).

    Returns:
        The probe, and counts for the manifest.

    Raises:
        ValueError: for an unknown name, a missing encoder, or groups with one class or fewer prompts than folds.
    """
    if name not in PROBES:
        raise ValueError(f"baseline {name!r} is not trained; choose one of {sorted(PROBES)}")
    examples, unlabelled = examples_of(groups)
    safe = np.array([example.safe for example in examples], dtype=int)
    prompts = [example.prompt_id for example in examples]
    if len(set(safe.tolist())) < 2 or len(set(prompts)) < FOLDS:
        raise ValueError(
            f"baseline {name!r} needs labelled branches of both classes from at least {FOLDS} prompts; got "
            f"{int(safe.sum())} safe and {int((1 - safe).sum())} unsafe branches from {len(set(prompts))} prompts"
        )
    vectorizer = _vectorizer(examples) if PROBES[name].features == "tfidf" else None
    features = _features(PROBES[name], examples, vectorizer, encoder)
    search = _search(features, safe, prompts, np.array([example.weight for example in examples]))
    notes = {
        "examples": len(examples),
        "safe": int(safe.sum()),
        "unlabelled_branches_left_out": unlabelled,
        "prompts": len(set(prompts)),
        "features": int(features.shape[1]),
        "inverse_penalty": search.best_params_["C"],
        "cross_validated_log_loss": round(-float(search.best_score_), 6),
    }
    return FittedProbe(name, vectorizer, search.best_estimator_), notes


def _vectorizer(examples: Sequence[Example]) -> Any:
    """TF-IDF over the distinct conversations and categories of the training groups."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    conversations = (conversation_text(example.messages) for example in examples)
    categories = (category_text(c) for example in examples for c in example.config)
    texts = list(dict.fromkeys(chain(conversations, categories)))
    return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, dtype=np.float64).fit(texts)


def _search(features: Any, safe: Any, prompts: Sequence[str], weights: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, make_scorer
    from sklearn.model_selection import GridSearchCV, GroupKFold

    loss = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=[0, 1])
    search = GridSearchCV(
        LogisticRegression(max_iter=2000),
        {"C": list(INVERSE_PENALTIES)},
        cv=GroupKFold(FOLDS),
        scoring=loss,
        error_score="raise",
    )
    return search.fit(features, safe, groups=prompts, sample_weight=weights)


def save(probe: FittedProbe, path: str | Path) -> None:
    """Write a fitted baseline (joblib)."""
    import joblib

    from csrm.files import atomic

    with atomic(path) as temporary:
        joblib.dump(tuple(probe), temporary)


def load(path: str | Path) -> FittedProbe:
    """Read a fitted baseline; like every pickle, only from a source that you trust."""
    import joblib

    return FittedProbe(*joblib.load(path))
