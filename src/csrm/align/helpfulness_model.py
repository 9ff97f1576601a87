"""Reward models with a sequence-classification head: raw scores of responses, trained here or published.

A conversation is rendered by the model's own chat template, whole: nothing is ever cut. The score is read at the last
token that is no padding, where Transformers reads it, so it does not depend on what else is in the batch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csrm.settings import DType

TOKEN_BUDGET = 4096  # padded tokens in one forward pass


def conversation_ids(tokenizer: Any, prompt: str, response: str) -> list[int]:
    """Token ids of one user turn and the response to it, with the end of the assistant's turn."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


class RewardModel:
    """A reward model in memory."""

    def __init__(self, model: Any, tokenizer: Any, token_budget: int = TOKEN_BUDGET) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.token_budget = token_budget

    @classmethod
    def open(cls, folder: str | Path, dtype: DType = "auto", token_budget: int = TOKEN_BUDGET) -> "RewardModel":
        """Load a folder.

        Raises:
            FileNotFoundError: if it holds no `config.json`.
            ValueError: if it has no chat template, or no trained head that gives one score.
        """
        from transformers import AutoModelForSequenceClassification

        from csrm.model.device import device, inference_dtype, load_tokenizer

        tokenizer = load_tokenizer(folder)
        if tokenizer.chat_template is None:
            raise ValueError(f"{folder} has no chat template: a reward model is read through the one it was trained by")
        kind: Any = AutoModelForSequenceClassification
        model, info = kind.from_pretrained(folder, dtype=inference_dtype(dtype), output_loading_info=True)
        if info["missing_keys"] or model.config.num_labels != 1:
            raise ValueError(
                f"{folder} is no reward model: it gives {model.config.num_labels} values and lacks the weights "
                f"{sorted(info['missing_keys'])}; give one with a trained sequence-classification head of one score"
            )
        text = model.config.get_text_config()
        if text.pad_token_id is None:
            text.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        return cls(model.to(device()), tokenizer, token_budget)

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> NDArray[np.float64]:
        """Raw scores, (n,), of n responses to n prompts.

        Raises:
            ValueError: if a conversation is longer than the model's context.
        """
        rows = [conversation_ids(self.tokenizer, x, y) for x, y in zip(prompts, responses, strict=True)]
        longest, context = max(map(len, rows), default=0), self._context()
        if longest > context:
            raise ValueError(
                f"a conversation of {longest} tokens is longer than the reward model's {context}: shorten it"
            )
        values = np.zeros(len(rows))
        for batch in batches([len(row) for row in rows], self.token_budget):
            values[batch] = self._forward([rows[i] for i in batch])
        return values

    def _context(self) -> int:
        return int(self.model.config.get_text_config().max_position_embeddings)

    def _forward(self, rows: list[list[int]]) -> NDArray[np.float64]:
        import torch

        width, pad = max(map(len, rows)), self.model.config.get_text_config().pad_token_id
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=self.model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.model.device)
        with torch.inference_mode():
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        found: NDArray[np.float64] = logits[:, 0].double().cpu().numpy()
        return found


def batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices in batches of similar length, each of at most `token_budget` padded tokens (or of one row)."""
    found: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if found and lengths[found[-1][0]] * (len(found[-1]) + 1) <= token_budget:
            found[-1].append(index)
        else:
            found.append([index])
    return found
