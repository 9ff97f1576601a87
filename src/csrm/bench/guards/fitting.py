"""Items as prompts of a guard that are short enough: the longest message loses its end, never a category or a turn."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from csrm.bench.guards.prompts import ADAPTERS, LAST_EXCHANGE_ONLY
from csrm.bench.guards.table import Guard
from csrm.bench.guards.tasks import Task, without_response
from csrm.bench.guards.verdicts import OWN_LINES
from csrm.configs.safety_config import Category
from csrm.rows import Item, Message

BLANK = (Message(role="user", content=""), Message(role="assistant", content=""))


class Fitted(NamedTuple):
    """The rendered prompts of an item, their token ids, and whether the conversation was cut."""

    prompts: list[str]
    tokens: list[list[int]]
    cut: bool


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text that holds its control tokens."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return ids


class Fitter:
    """Renders items for a guard in at most `room` tokens.

    Args:
        guard: its format, and its context in which the answer must fit too.
        tokenizer: the guard's.
        max_length: `score.max_length`, the longest prompt in tokens.
        system: a system prompt in the place of ours.
        task: what the labels judge.

    Raises:
        ValueError: if the format alone leaves no room for a conversation.
    """

    def __init__(
        self, guard: Guard, tokenizer: Any, max_length: int, system: str | None = None, task: Task = "response"
    ) -> None:
        self.guard, self.tokenizer, self.system, self.task = guard, tokenizer, system, task
        own = guard.max_length - guard.max_new_tokens
        self.room = min(max_length, own)
        setting, answer = ("score.max_length", 0) if max_length <= own else ("max_length", guard.max_new_tokens)
        self.limit = f"{setting} {self.room + answer}" + (
            f" with {answer} for the answer, guards.tsv" if answer else ""
        )
        alone = max(map(len, self._rendered(BLANK, ())[1]))
        if alone >= self.room:
            raise ValueError(
                f"guard {guard.id!r}: its prompt has {alone} tokens without conversation and categories, too many for "
                f"{self.limit}: raise {setting} above {alone + answer}"
            )

    def fit(self, item: Item) -> Fitted:
        """An item's prompts, none longer than the room.

        Raises:
            ValueError: if the configuration alone leaves no room.
        """
        last_only = self.guard.adapter in LAST_EXCHANGE_ONLY
        messages = list(item.messages)
        if self.task == "prompt" and (self.guard.adapter, self.task) in OWN_LINES:
            messages = without_response(messages)
        cut = last_only and len(messages) > 2
        prompts, tokens = self._rendered(messages, item.config)
        while (excess := max(map(len, tokens)) - self.room) > 0:
            shown = messages[-2:] if last_only else messages
            longest = max(shown, key=lambda message: len(message.content))
            if len(longest.content) < 2:
                raise ValueError(
                    f"item {item.id!r}: the configuration leaves no room for the conversation in {self.room} tokens "
                    f"of guard {self.guard.id!r} ({self.limit}); raise score.max_length, or shorten the configuration"
                )
            keep = len(longest.content) - max(1, min(excess, len(longest.content) // 2))
            place = next(i for i, message in enumerate(messages) if message is longest)
            messages[place] = Message(role=longest.role, content=longest.content[:keep])
            (prompts, tokens), cut = self._rendered(messages, item.config), True
        return Fitted(prompts, tokens, cut)

    def _rendered(
        self, messages: Sequence[Message], categories: Sequence[Category]
    ) -> tuple[list[str], list[list[int]]]:
        built = ADAPTERS[self.guard.adapter](messages, categories, self.system)
        texts = [prompt.rendered(self.tokenizer) for prompt in built]
        return texts, [token_ids(self.tokenizer, text) for text in texts]
