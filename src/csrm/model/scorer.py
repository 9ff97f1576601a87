"""The reward model as users meet it: load a folder, score conversations under configurations."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from csrm.configs.safety_config import Category, SafetyConfig
from csrm.model.attention import use_grouped_attention
from csrm.model.backends import Backend, open_backend
from csrm.model.backends.local import TransformersBackend
from csrm.model.decoder import token_bytes
from csrm.model.device import inference_dtype, load_model, load_tokenizer
from csrm.model.prefixes import LIMIT
from csrm.model.reward import Encoded, encode_request
from csrm.model.verbalizer import Verbalizer, resolve_verbalizer
from csrm.model.walk import common
from csrm.rows import Message
from csrm.settings import DType, ScoreSettings, SectionOrder, TrainSettings, VerbalizerSettings

Conversation = Sequence[Message | dict[str, str]]
# Two conversations that have nothing in common: what their requests share is the configuration's.
PROBES = [[Message(role="user", content=c), Message(role="assistant", content=c)] for c in ("a", "0")]


class Score(NamedTuple):
    """Reward of one response: safe log-odds (nats), its sigmoid, the label at threshold 0, and the input's size."""

    log_odds: float
    p_safe: float
    label: str
    n_tokens: int
    truncated: bool


class Request(NamedTuple):
    """One response to judge: a conversation and the categories to judge it by."""

    messages: Sequence[Message]
    categories: Sequence[Category]


def model_card(settings: TrainSettings, variant: str) -> dict[str, Any]:
    """Content of `csrm.json`: what a scorer must know to use the model as it was trained."""
    return {
        "format": 1,
        "variant": variant,
        "backbone": settings.backbone,
        "section_order": settings.section_order,
        "verbalizer": settings.verbalizer.model_dump(),
        "max_length": settings.max_length,
    }


class CSRM:
    """A configurable reward model; any causal language model can be loaded as a zero-shot one.

    Args:
        backend: what reads the answer; a causal language model is scored in this process.
        tokenizer: the model's.
        order: order of the prompt's sections.
        max_length: longest rendered input, tokens.
        verbalizer: answer tokens.

    Attributes:
        keeps_configs: whether `score_many` keeps what it computes of a configuration (`warm`) for later calls.
    """

    keeps_configs = False

    def __init__(
        self, backend: Any, tokenizer: Any, order: SectionOrder, max_length: int, verbalizer: Verbalizer
    ) -> None:
        if not hasattr(backend, "log_odds"):
            backend = TransformersBackend(backend.eval(), verbalizer, tokenizer.pad_token_id or 0)
        self.backend: Backend = backend
        self.tokenizer = tokenizer
        self.order = order
        self.max_length = max_length
        self.verbalizer = verbalizer

    @property
    def model(self) -> Any:
        """The model in memory, of a scorer in this process.

        Raises:
            AttributeError: if the model runs elsewhere.
        """
        return self.backend.model  # type: ignore[attr-defined]

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        dtype: DType = "float32",
        section_order: SectionOrder = "conversation-first",
        max_length: int = 1024,
        verbalizer: VerbalizerSettings | None = None,
        cache_dir: str | Path | None = None,
        cache_bytes: int = LIMIT,
        token_budget: int = 4096,
    ) -> "CSRM":
        """Load a trained folder or any causal language model.

        Args:
            folder: local folder, or a hub id for a zero-shot model.
            dtype: number format of the matrix products; scores in bfloat16 differ by up to about 0.03.
            section_order: used when the folder holds no `csrm.json`, otherwise the order it was trained with.
            max_length: longest rendered input, tokens.
            verbalizer: used when the folder holds no `csrm.json` (default: the paper's words), like the order.
            cache_dir: see `keep_configs`.
            cache_bytes: `limit` of `keep_configs`.
            token_budget: tokens in one forward pass; bounds memory.
        """
        settings = ScoreSettings(dtype=dtype, max_length=max_length, token_budget=token_budget)
        scorer = cls.open(folder, settings, section_order, verbalizer)
        if cache_dir:
            scorer.keep_configs(cache_dir, cache_bytes)
        return scorer

    @classmethod
    def open(
        cls,
        folder: str | Path,
        settings: ScoreSettings,
        section_order: SectionOrder = "conversation-first",
        verbalizer: VerbalizerSettings | None = None,
        name: str | None = None,
    ) -> "CSRM":
        """A scorer on the backend that the settings name; see `from_pretrained`.

        Args:
            folder: the model; a backend that runs elsewhere takes the tokenizer and `csrm.json` from it.
            settings: backend, number format and limits.
            section_order: used when the folder holds no `csrm.json`.
            verbalizer: used when the folder holds no `csrm.json`.
            name: name under which a server serves the model (None: the folder's path or name).
        """
        section_order, verbalizer = _card(Path(folder), section_order, verbalizer)
        if settings.backend != "transformers":
            tokenizer = load_tokenizer(folder)
            answers = resolve_verbalizer(tokenizer, verbalizer)
            served = open_backend(folder, settings, answers, name)
            return cls(served, tokenizer, section_order, settings.max_length, answers)
        model, tokenizer = load_model(folder, inference_dtype(settings.dtype))
        use_grouped_attention(model)
        answers = resolve_verbalizer(tokenizer, verbalizer)
        limits = (settings.token_budget, settings.tree_length)
        backend = TransformersBackend(model.eval(), answers, tokenizer.pad_token_id or 0, *limits)
        return cls(backend, tokenizer, section_order, settings.max_length, answers)

    def keep_configs(self, folder: str | Path | None = None, limit: int = LIMIT) -> None:
        """From now on, keep what is computed of the configurations of `score_many` (see `warm`).

        Args:
            folder: where to keep it on disk too, for other processes (None: in memory only).
            limit: bytes in memory; the least recently used leave, and one configuration is kept whatever its size.

        Raises:
            ValueError: if nothing of a configuration can be kept.
        """
        backend = self._keeper()
        backend.prefixes.folder, backend.prefixes.limit = Path(folder) if folder else None, limit
        self.keeps_configs = True

    def warm(self, config: SafetyConfig | str | Path) -> None:
        """Compute the keys and values of a configuration, once: later scores under it compute the conversation only.

        Raises:
            ValueError: if nothing of a configuration can be kept.
        """
        self._keeper().warm(self._prefix(_loaded(config)))

    def _prefix(self, config: SafetyConfig) -> Sequence[int]:
        """What all requests under a configuration start with."""
        one, two = (
            encode_request(self.tokenizer, probe, config.categories, self.order, self.max_length).tokens
            for probe in PROBES
        )
        return one[: common(one, two)]

    def _groups(self, configs: Sequence[SafetyConfig]) -> Iterator[list[int]]:
        """Indices of configurations in groups that are kept in memory at once, each warm when it is yielded."""
        backend, prefixes = self._keeper(), [self._prefix(config) for config in configs]
        for group in backend.prefixes.groups(prefixes, token_bytes(backend.model)):
            for index in group:
                backend.warm(prefixes[index])
            yield group

    def _keeper(self) -> TransformersBackend:
        if not isinstance(self.backend, TransformersBackend):
            raise ValueError("configurations are kept by a model in this process; a server keeps them by itself")
        if self.order != "config-first":
            raise ValueError(
                f"the model reads the conversation before the configuration (section_order {self.order}), so that "
                "nothing of it can be kept: train with train.section_order config-first, or score without a cache"
            )
        return self.backend

    def score(self, conversation: Conversation, config: SafetyConfig | str | Path) -> Score:
        """Reward of the last message of `conversation` under `config` (a configuration, or the path of one)."""
        return self.score_many([conversation], [config])[0][0]

    def score_many(
        self,
        conversations: Sequence[Conversation],
        configs: Sequence[SafetyConfig | str | Path],
        progress: bool = False,
    ) -> list[list[Score]]:
        """Rewards of every conversation under every configuration: `result[conversation][config]`.

        Whatever the grid's shape, text that requests share from their beginning is computed once. Configurations that
        are kept (`keep_configs`) are scored in groups that memory holds, those in memory first.

        Args:
            conversations: each ends with the response to judge.
            configs: configurations, or paths of them.
            progress: show a progress bar over requests, one a group.
        """
        loaded = [_loaded(config) for config in configs]
        read = [[m if isinstance(m, Message) else Message.model_validate(m) for m in turns] for turns in conversations]
        everything = list(range(len(loaded)))
        found: list[dict[int, Score]] = [{} for _ in read]
        for group in self._groups(loaded) if self.keeps_configs else [everything]:
            requests = [Request(turns, loaded[i].categories) for turns in read for i in group]
            cells = ((row, i) for row in found for i in group)
            for (row, i), score in zip(cells, self.score_requests(requests, progress), strict=True):
                row[i] = score
        return [[row[i] for i in everything] for row in found]

    def score_requests(self, requests: Sequence[Request], progress: bool = False) -> list[Score]:
        """Score requests in their order.

        Args:
            requests: what to judge.
            progress: show progress bars over requests, of tokenising and of scoring.
        """
        from tqdm import tqdm

        encoded = [self._encoded(r) for r in tqdm(requests, desc="tokens", unit="item", disable=not progress)]
        log_odds = self.backend.log_odds([e.tokens for e in encoded], progress)
        return [_score(s, len(e.tokens), e.cut > 0) for s, e in zip(log_odds, encoded, strict=True)]

    def _encoded(self, request: Request) -> Encoded:
        try:
            return encode_request(self.tokenizer, request.messages, request.categories, self.order, self.max_length)
        except ValueError as error:
            raise ValueError(f"the conversation that begins {request.messages[0].content[:60]!r}: {error}") from None


def _loaded(config: SafetyConfig | str | Path) -> SafetyConfig:
    return config if isinstance(config, SafetyConfig) else SafetyConfig.load(config)


def _score(log_odds: float, n_tokens: int, truncated: bool) -> Score:
    p_safe = 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
    return Score(log_odds, p_safe, "safe" if log_odds > 0 else "unsafe", n_tokens, truncated)


def _card(
    folder: Path, order: SectionOrder, verbalizer: VerbalizerSettings | None
) -> tuple[SectionOrder, VerbalizerSettings | None]:
    """Section order and answer words that the folder's model was trained with, else those given."""
    path = folder / "csrm.json"
    if not path.exists():
        return order, verbalizer
    card = json.loads(path.read_text(encoding="utf-8"))
    return card["section_order"], VerbalizerSettings.model_validate(card.get("verbalizer", {}))
