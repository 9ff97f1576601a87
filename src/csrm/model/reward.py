"""The reward: safe log-odds at the first answer position, from last-position logits only (CSRM section 3.3)."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from csrm.configs.render import OPENING, render
from csrm.configs.safety_config import Category
from csrm.model.tree import TreeBatch
from csrm.model.verbalizer import Verbalizer
from csrm.rows import Message
from csrm.settings import SectionOrder

if TYPE_CHECKING:
    import torch


class Encoded(NamedTuple):
    """A tokenised judging request; `cut` counts the tokens of the conversation that did not fit."""

    tokens: list[int]
    cut: int


def encode_request(
    tokenizer: Any, messages: Sequence[Message], categories: Sequence[Category], order: SectionOrder, max_length: int
) -> Encoded:
    """Render and tokenise a request, ending where the verdict is read.

    A request that is too long loses the end of its longest message, again and again, never a turn or a category.

    Raises:
        ValueError: if the configuration and the turns leave no room for a word of the conversation.
    """
    messages, cut = list(messages), 0
    tokens = _tokens(tokenizer, render(messages, categories, order))
    if len(tokens) <= max_length:
        return Encoded(tokens, 0)
    texts = [tokenizer(m.content, add_special_tokens=False).input_ids for m in messages]
    while (excess := len(tokens) - max_length) > 0:
        before = [len(text) for text in texts]
        while excess > 0:
            longest = max(range(len(texts)), key=lambda i: len(texts[i]))
            taken = max(1, min(excess, len(texts[longest]) // 2))
            if len(texts[longest]) <= taken:
                raise ValueError(
                    f"{len(categories)} categories and {len(messages)} messages leave no room for the conversation in "
                    f"{max_length} tokens: raise max_length, or shorten the configuration or the conversation"
                )
            texts[longest], excess, cut = texts[longest][:-taken], excess - taken, cut + taken
        for i, (message, text) in enumerate(zip(messages, texts, strict=True)):
            if len(text) < before[i]:
                messages[i] = Message(role=message.role, content=tokenizer.decode(text))
                texts[i] = tokenizer(messages[i].content, add_special_tokens=False).input_ids
        tokens = _tokens(tokenizer, render(messages, categories, order))
    return Encoded(tokens, cut)


def _tokens(tokenizer: Any, text: str) -> list[int]:
    turn = [{"role": "user", "content": text}]
    rendered = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    ids: list[int] = tokenizer(rendered + OPENING, add_special_tokens=False).input_ids
    return ids


def answer_logits(model: Any, batch: TreeBatch) -> "torch.Tensor":
    """Logits of the next token after each sequence.

    Args:
        model: a causal language model with the usual `get_decoder()` and output embeddings.
        batch: N sequences laid out as trees.

    Returns:
        Tensor (N, vocabulary), float32. The vocabulary projection is computed at these N positions only.
    """
    hidden = model.get_decoder()(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        attention_mask=_additive(batch.attention_mask, model.dtype),
        use_cache=False,
    ).last_hidden_state
    return project(hidden[batch.rows, batch.columns], model.get_output_embeddings())


def project(hidden: "torch.Tensor", head: Any) -> "torch.Tensor":
    """The vocabulary projection in float32: bfloat16 would round a logit of 16 to a multiple of 1/8."""
    import torch

    with torch.autocast(hidden.device.type, enabled=False):
        bias = None if head.bias is None else head.bias.float()
        return torch.nn.functional.linear(hidden.float(), head.weight.float(), bias)


def verdict_log_odds(hidden: "torch.Tensor", head: Any, verbalizer: Verbalizer) -> list[float]:
    """s of each row from the logits of the answer tokens alone: the normaliser of the softmax cancels (section 3.3).

    Each row is added up by itself, so that it does not depend on the other rows.

    Args:
        hidden: (N, width), the decoder's output where verdicts are read.
        head: the output embeddings.
        verbalizer: answer tokens.
    """
    answers = [*verbalizer.safe, *verbalizer.unsafe]
    logits = (hidden[:, None].double() * head.weight[answers].double()).sum(-1)
    if head.bias is not None:
        logits = logits + head.bias[answers].double()
    rows = (dict(zip(answers, row, strict=True)) for row in logits.tolist())
    return [log_odds_of(row, verbalizer) for row in rows]


def log_odds_of(scores: Mapping[int, float], verbalizer: Verbalizer) -> float:
    """s = log sum_safe exp(x) - log sum_unsafe exp(x), nats, from logits or log-probabilities x by token id."""
    safe, unsafe = ([scores[token] for token in tokens] for tokens in verbalizer)
    return _logsumexp(safe) - _logsumexp(unsafe)


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def _additive(mask: "torch.Tensor", dtype: "torch.dtype") -> "torch.Tensor":
    """On a CPU, the boolean mask as numbers, made once: attention would make and keep one in every layer."""
    import torch

    if mask.device.type != "cpu":
        return mask
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def safe_log_odds(logits: "torch.Tensor", verbalizer: Verbalizer) -> "torch.Tensor":
    """s = log sum_safe pi(t) - log sum_unsafe pi(t), nats (section 3.3); logits (..., vocabulary) -> (...)."""
    safe = logits[..., list(verbalizer.safe)].logsumexp(-1)
    unsafe = logits[..., list(verbalizer.unsafe)].logsumexp(-1)
    return safe - unsafe
