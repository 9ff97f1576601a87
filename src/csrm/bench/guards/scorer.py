"""Scores of guard models: log-odds of the two label words where the verdict stands."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from csrm.bench.guards import verdicts
from csrm.bench.guards.fitting import Fitted, Fitter
from csrm.bench.guards.labels import place_of
from csrm.bench.guards.table import Guard
from csrm.bench.guards.tasks import Task
from csrm.model.backends import WritingBackend, open_backend
from csrm.model.verbalizer import Verbalizer
from csrm.rows import Item, ScoreRow
from csrm.settings import ScoreSettings


class GuardScorer:
    """A guard model with the adapter of its format.

    An item's score is the log-odds of the safe against the unsafe label word (their first tokens) after the prompt,
    or, for guards that reason first, after their own greedy answer up to the verdict. Of several prompts for one item
    the least safe counts.

    Args:
        backend: what reads the label words, and writes answers.
        fitter: the guard's prompts.
    """

    def __init__(self, backend: WritingBackend, fitter: Fitter) -> None:
        self.backend, self.fitter = backend, fitter
        self.guard, self.tokenizer = fitter.guard, fitter.tokenizer
        self._told: dict[str, Any] = {}

    @classmethod
    def open(
        cls, guard: Guard, folder: str | Path, settings: ScoreSettings, task: Task = "response", name: str | None = None
    ) -> "GuardScorer":
        """A guard on the backend that the settings name.

        Args:
            guard: its line of the table.
            folder: the model; `system_prompt.txt` there replaces our wording of a system prompt. A server's guard
                needs the tokenizer and `config.json` here.
            settings: backend, number format and limits.
            task: what the labels judge.
            name: name under which a server serves the guard (None: the folder's path or name).

        Raises:
            ValueError: if the settings leave no room for a conversation.
        """
        from csrm.model.device import load_tokenizer

        tokenizer = load_tokenizer(folder)
        own = Path(folder) / "system_prompt.txt"
        system = own.read_text(encoding="utf-8").strip() if own.is_file() else None
        fitter = Fitter(guard, tokenizer, settings.max_length, system, task)
        longest = fitter.room + guard.max_new_tokens
        place = settings.model_copy(update={"max_length": longest})
        return cls(_backend(folder, place, place_of(guard, tokenizer, "").pair, tokenizer, name), fitter)

    def score(self, items: Iterable[Item], progress: bool = False) -> list[ScoreRow]:
        """One row an item; an item whose verdict cannot be parsed has log-odds 0 and `parsed` false.

        Args:
            items: what to judge.
            progress: show progress bars over items and prompts.
        """
        from tqdm import tqdm

        items = list(items)
        bar = tqdm(items, desc="prompts", unit="item", disable=not progress)
        fitted = [self.fitter.fit(item) for item in bar]
        values = iter(self.log_odds([f for one in fitted for f in zip(one.prompts, one.tokens, strict=True)], progress))
        return [_row(item, one, [next(values) for _ in one.prompts]) for item, one in zip(items, fitted, strict=True)]

    def log_odds(self, prompts: Sequence[tuple[str, list[int]]], progress: bool = False) -> list[float | None]:
        """Safe log-odds (nats) of rendered prompts with their token ids; None where the answer holds no verdict."""
        contexts: list[str | None] = [text for text, _ in prompts]
        if self.guard.max_new_tokens:
            answers = self.answers([tokens for _, tokens in prompts], progress)
            contexts = [self._before_verdict(text, said) for (text, _), said in zip(prompts, answers, strict=True)]
        places = {i: place_of(self.guard, self.tokenizer, text) for i, text in enumerate(contexts) if text is not None}
        values: list[float | None] = [None] * len(prompts)
        for pair in sorted({place.pair for place in places.values()}):
            asked = [i for i, place in places.items() if place.pair == pair]
            for index, value in zip(asked, self._read(pair, [places[i].tokens for i in asked], progress), strict=True):
                values[index] = value
        return values

    def answers(self, prompts: Sequence[list[int]], progress: bool = False) -> list[str]:
        """The greedy answers, control tokens included."""
        made = self.backend.generate(prompts, self.guard.max_new_tokens, progress)
        self._told = self.backend.describe()
        return [
            self._text([*prompt, *ids])[len(self._text(prompt)) :] for prompt, ids in zip(prompts, made, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """What a manifest says of the backend, after scoring."""
        return self._told or self.backend.describe()

    def _text(self, tokens: list[int]) -> str:
        """Decoded as a whole: tokenizers of pieces drop the space that begins a text."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _before_verdict(self, prompt: str, answer: str) -> str | None:
        verdict = verdicts.parse(self.guard.adapter, answer, self.fitter.task)
        return None if verdict is None else prompt + answer[: verdict.start]

    def _read(self, pair: Verbalizer, contexts: Sequence[list[int]], progress: bool) -> list[float]:
        reader = self.backend.reading(pair)
        values = reader.log_odds(contexts, progress)
        self._told = reader.describe()
        return values


def _row(item: Item, fitted: Fitted, values: Sequence[float | None]) -> ScoreRow:
    known = [value for value in values if value is not None]
    failed = len(known) < len(values)
    return ScoreRow(
        id=item.id,
        log_odds=0.0 if failed else min(known),
        n_tokens=sum(map(len, fitted.tokens)),
        truncated=fitted.cut,
        parsed=not failed,
    )


def _backend(
    folder: str | Path, settings: ScoreSettings, pair: Verbalizer, tokenizer: Any, name: str | None
) -> WritingBackend:
    if settings.backend != "transformers":
        return open_backend(folder, settings, pair, name)
    from csrm.bench.guards.batched import BatchedModel
    from csrm.model.device import inference_dtype, load_model

    model, _ = load_model(folder, inference_dtype(settings.dtype))
    return BatchedModel(model.eval(), pair, tokenizer.pad_token_id or 0, settings.token_budget)
