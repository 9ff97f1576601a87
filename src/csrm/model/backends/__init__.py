"""Where the answer tokens' probabilities come from: this process, a vLLM engine, or an OpenAI-compatible server.

All backends read the same token ids, rendered and tokenised by `csrm.model.reward.encode_request`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from csrm.model.reward import log_odds_of
from csrm.model.verbalizer import Verbalizer
from csrm.settings import ScoreSettings

TokenIds = Sequence[int]
FLOOR = -9999.0  # nats; what vLLM writes for a probability of zero


class Backend(Protocol):
    """Reads the reward of tokenised requests."""

    def log_odds(self, prompts: Sequence[TokenIds], progress: bool = False) -> list[float]:
        """Safe log-odds (nats) of the token that follows each prompt, in their order.

        Args:
            prompts: N sequences of token ids, each ending where the verdict is read.
            progress: show a progress bar over prompts.
        """

    def describe(self) -> dict[str, Any]:
        """What a manifest says of the backend."""


class WritingBackend(Backend, Protocol):
    """A backend that writes answers too, and reads whatever answer tokens are asked for (guards)."""

    def generate(self, prompts: Sequence[TokenIds], max_new_tokens: int, progress: bool = False) -> list[list[int]]:
        """Token ids of the greedy answer to each prompt, in their order, up to its end token.

        Args:
            prompts: N sequences of token ids.
            max_new_tokens: longest answer.
            progress: show a progress bar over prompts.
        """

    def reading(self, verbalizer: Verbalizer) -> "WritingBackend":
        """The same model, with other answer tokens for `log_odds`."""


def open_backend(
    folder: str | Path, settings: ScoreSettings, verbalizer: Verbalizer, name: str | None = None
) -> WritingBackend:
    """The backend that the settings name, other than this process's transformers.

    Args:
        folder: the model; a server must serve these weights.
        settings: `backend` and what belongs to it.
        verbalizer: answer tokens.
        name: name under which a server serves the model (None: the folder's path or name).
    """
    if settings.backend == "vllm":
        from csrm.model.backends.engine import EngineBackend

        return EngineBackend(folder, settings, verbalizer)
    from csrm.model.backends.server import ServerBackend

    return ServerBackend(settings, verbalizer, [name] if name else [str(folder), Path(folder).name])


def safe_log_odds(log_probs: Mapping[int, float], verbalizer: Verbalizer) -> float:
    """s = log sum_safe pi(t) - log sum_unsafe pi(t), nats (section 3.3), from log-probabilities by token id.

    Servers write a floor of their own for a probability of zero; it is the same here whoever writes it.

    Raises:
        ValueError: if no answer token has any probability.
    """
    floored = {token: max(value, FLOOR) for token, value in log_probs.items()}
    if max(floored[token] for tokens in verbalizer for token in tokens) <= FLOOR:
        raise ValueError(f"the answer tokens {sorted(log_probs)} all have probability 0: are they forbidden there?")
    return log_odds_of(floored, verbalizer)
