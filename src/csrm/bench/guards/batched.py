"""Guards in this process: any causal language model as its own code runs it, prompts in padded batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from csrm.model.reward import project, safe_log_odds
from csrm.model.verbalizer import Verbalizer

Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True)
class BatchedModel:
    """A model in memory, behind the interface of `csrm.model.backends`.

    The model's own forward pass is used whole, since guards have what a CSRM's backbone has not: capped logits,
    sliding windows, attention sinks. Prompts of similar length are padded on the left.

    Attributes:
        model: causal language model in evaluation mode.
        verbalizer: answer tokens.
        pad_token: id that fills batches.
        token_budget: padded tokens of a batch, those to be generated included; bounds memory.
    """

    model: Any
    verbalizer: Verbalizer
    pad_token: int = 0
    token_budget: int = 4096

    def reading(self, verbalizer: Verbalizer) -> "BatchedModel":
        """See `WritingBackend.reading`."""
        return replace(self, verbalizer=verbalizer)

    def log_odds(self, prompts: Prompts, progress: bool = False) -> list[float]:
        """See `Backend.log_odds`."""
        values = [float("nan")] * len(prompts)
        for batch in self._batches(prompts, 0, progress):
            for index, value in zip(batch, self._forward([prompts[i] for i in batch]), strict=True):
                values[index] = value
        return values

    def generate(self, prompts: Prompts, max_new_tokens: int, progress: bool = False) -> list[list[int]]:
        """See `WritingBackend.generate`."""
        answers: list[list[int]] = [[] for _ in prompts]
        for batch in self._batches(prompts, max_new_tokens, progress):
            for index, answer in zip(batch, self._write([prompts[i] for i in batch], max_new_tokens), strict=True):
                answers[index] = answer
        return answers

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        return {"backend": "transformers", "dtype": str(self.model.dtype)}

    def _batches(self, prompts: Prompts, more: int, progress: bool) -> Iterator[list[int]]:
        """Indices by falling length, as many a batch as the padded budget allows."""
        from tqdm import tqdm

        batch: list[int] = []
        with tqdm(total=len(prompts), unit="prompt", disable=not progress) as bar:
            for index in sorted(range(len(prompts)), key=lambda i: -len(prompts[i])):
                if batch and (len(batch) + 1) * (len(prompts[batch[0]]) + more) > self.token_budget:
                    yield batch
                    bar.update(len(batch))
                    batch = []
                batch.append(index)
            if batch:
                yield batch
                bar.update(len(batch))

    @torch.inference_mode()
    def _forward(self, prompts: Prompts) -> list[float]:
        ids, mask = self._padded(prompts)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        with _float32_head(self.model):
            made = self.model(ids, attention_mask=mask, position_ids=places, logits_to_keep=1, use_cache=False)
        values: list[float] = safe_log_odds(made.logits[:, -1].float(), self.verbalizer).tolist()
        return values

    @torch.inference_mode()
    def _write(self, prompts: Prompts, max_new_tokens: int) -> list[list[int]]:
        from transformers import GenerationConfig

        ids, mask = self._padded(prompts)
        ends = self.model.generation_config.eos_token_id
        greedy = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            repetition_penalty=1.0,
            eos_token_id=ends,
            pad_token_id=self.pad_token,
        )
        made = self.model.generate(ids, attention_mask=mask, generation_config=greedy)[:, ids.shape[1] :].tolist()
        return [_until(row, ends) for row in made]

    def _padded(self, prompts: Prompts) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, each (N, longest), padded on the left."""
        width = max(map(len, prompts))
        rows = [[self.pad_token] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        masks = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        device = self.model.device
        return torch.tensor(rows, device=device), torch.tensor(masks, device=device)


@contextmanager
def _float32_head(model: Any) -> Iterator[None]:
    """The vocabulary projection in float32 within a block: bfloat16 would round a logit of 16 to a multiple of 1/8."""
    hook = model.get_output_embeddings().register_forward_hook(lambda head, given, _: project(given[0], head))
    try:
        yield
    finally:
        hook.remove()


def _until(tokens: list[int], ends: int | Sequence[int] | None) -> list[int]:
    """An answer up to its first end token, which it keeps; a shorter answer of a batch is padded after it."""
    known = {ends} if isinstance(ends, int) else set(ends or ())
    stop = next((i for i, token in enumerate(tokens) if token in known), len(tokens))
    return tokens[: stop + 1]
