"""Loading a policy and rendering its input: a ChatML system message with the configuration, then the user's prompt."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from csrm.align import attention
from csrm.configs.safety_config import Category
from csrm.rows import Message

OPENING = "You are a helpful assistant. Follow this content policy in every answer. It forbids:"
CLOSING = "When a request touches the policy, be as helpful as you can without the forbidden content."

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
END = "<|im_end|>"

Dtype = Literal["auto", "float32", "bfloat16"]


class Policy(NamedTuple):
    """A causal language model with its tokenizer and the ids that end a response."""

    model: Any
    tokenizer: Any
    stop_ids: frozenset[int]
    pad_id: int


def system_message(categories: Sequence[Category]) -> str:
    """A configuration in plain words, one line a category; at deployment it is the policy's system message."""
    lines = [f"- {c.name}. {c.guideline}".strip() if c.guideline else f"- {c.name}" for c in categories]
    return "\n".join([OPENING, *lines, CLOSING])


def chat(prompt: str, categories: Sequence[Category] | None) -> list[Message]:
    """The messages that the policy sees; without categories there is no system message."""
    system = [Message(role="system", content=system_message(categories))] if categories else []
    return [*system, Message(role="user", content=prompt)]


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of the rendered conversation, ending where the assistant's words begin.

    Where the chat template takes no system message (Mistral-7B-Instruct-v0.1's), it opens the user's first turn.
    """
    from jinja2 import TemplateError

    turns = [m.model_dump() for m in messages]
    render = partial(tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
    try:
        text = render(turns)
    except TemplateError:
        if len(turns) < 2 or turns[0]["role"] != "system":
            raise
        text = render(
            [{"role": turns[1]["role"], "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}, *turns[2:]]
        )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def response_ids(tokenizer: Any, response: str, finished: bool) -> list[int]:
    """Token ids of a response; only a finished one ends with the end-of-turn token."""
    ids: list[int] = tokenizer(response, add_special_tokens=False)["input_ids"]
    return [*ids, end_id(tokenizer)] if finished else ids


def end_id(tokenizer: Any) -> int:
    """The end-of-turn token: `<|im_end|>` where the vocabulary has it, else the end of the sequence."""
    known: int | None = tokenizer.get_vocab().get(END)
    return int(tokenizer.eos_token_id) if known is None else known


def fast_dtype(dtype: Dtype = "auto") -> Any:
    """The floating-point type to run in; `auto` is bfloat16 on a GPU and on processors with bfloat16 products.

    SmolLM2-135M decodes several times faster in bfloat16 than in float32 with avx512_bf16, and slower without it.
    """
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    fast = torch.cuda.is_available() or _cpu_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def load_tokenizer(folder: str | Path) -> Any:
    """The policy's tokenizer, with ChatML where the folder brings no template and padding apart from the end token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = CHATML
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = "<|endoftext|>" if "<|endoftext|>" in tokenizer.get_vocab() else tokenizer.eos_token
    return tokenizer


def load_policy(folder: str | Path, *adapters: str | Path, dtype: Dtype = "auto") -> Policy:
    """Load a plain Hugging Face folder for generation; LoRA adapters are merged into the weights in their order.

    Raises:
        FileNotFoundError: if the folder holds no `config.json`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if not (Path(folder) / "config.json").is_file():
        raise FileNotFoundError(f"policy folder {folder} has no config.json; give a plain Hugging Face model folder")
    precision = fast_dtype(dtype)
    wide = torch.float32 if adapters else precision
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=wide, attn_implementation="sdpa")
    model = merged(model, adapters).to(precision)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    if model.device.type == "cpu":
        model.set_attn_implementation(attention.register())
    tokenizer = load_tokenizer(folder)
    stop = frozenset({end_id(tokenizer), int(tokenizer.eos_token_id)})
    return Policy(model, tokenizer, stop, int(tokenizer.pad_token_id))


def merged(model: Any, adapters: Sequence[str | Path]) -> Any:
    """The model with LoRA adapters merged into its weights; each was trained on top of those before it."""
    from peft import PeftModel

    for adapter in adapters:
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model


def _cpu_bfloat16() -> bool:
    import torch

    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "amx", "amx_tile", "bf16"))
