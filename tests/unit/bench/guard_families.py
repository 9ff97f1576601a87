"""Tiny tokenizers and random models of the guards' families: control tokens and templates as published."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from csrm.bench.guards import prompts
from csrm.configs.render import PREAMBLE, QUESTION

# Words with the sign before them, numbers, signs with the line breaks after them, white space (GPT-4, Llama 3, Qwen).
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LABELS = "safe unsafe\nsafe\nunsafe\n\nsafe\n\nunsafe PASS FAIL\nPASS\nFAIL Yes No\n\nYes\n\nNo: yes: no"
TEXTS = [PREAMBLE, QUESTION, prompts.COT, prompts.DYNAGUARD_SYSTEM, *[f"{LABELS} <answer>safe</answer>"] * 20]
LLAMA3 = """{{ bos_token }}<|start_header_id|>system<|end_header_id|>

Cutting Knowledge Date: December 2023
Today Date: 26 Jul 2024

<|eot_id|>{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = QWEN3.replace("assistant\n", "assistant\n<think>\n")
HARMONY = """<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.
Knowledge cutoff: 2024-06
Current date: {{ strftime_now("%Y-%m-%d") }}

Reasoning: {{ reasoning_effort }}

# Valid channels: analysis, commentary, final. Channel must be included for every message.<|end|>\
{% for m in messages %}{% if m.role == "system" %}<|start|>developer<|message|># Instructions

{{ m.content }}<|end|>{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}\
{% if add_generation_prompt %}<|start|>assistant{% endif %}"""


class Family(NamedTuple):
    """A tokenizer's kind, its control tokens (padding and the answer's end first), template and architecture."""

    kind: str
    controls: tuple[str, ...]
    template: str | None
    model: Callable[..., Any]
    config: Callable[..., Any]


FAMILIES = {
    "llama3": Family(
        "bytes",
        ("<|finetune_right_pad_id|>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
        LLAMA3,
        LlamaForCausalLM,
        LlamaConfig,
    ),
    "gemma": Family(
        "spaces", ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), None, Gemma2ForCausalLM, Gemma2Config
    ),
    "mistral": Family("dummy", ("<unk>", "</s>", "<s>", "[INST]", "[/INST]"), None, MistralForCausalLM, MistralConfig),
    "qwen3": Family(
        "bytes",
        ("<|endoftext|>", "<|im_end|>", "<|im_start|>", "<think>", "</think>"),
        QWEN3,
        Qwen3ForCausalLM,
        Qwen3Config,
    ),
    "harmony": Family(
        "bytes",
        ("<|endoftext|>", "<|return|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>"),
        HARMONY,
        GptOssForCausalLM,
        GptOssConfig,
    ),
}
FAMILIES["thinking"] = FAMILIES["qwen3"]._replace(template=THINKING)
FAMILY_OF = {
    "llamaguard-3-8b": "llama3",
    "shieldgemma-9b": "gemma",
    "wildguard": "mistral",
    "dynaguard-8b": "qwen3",
    "dynaguard-8b-cot": "qwen3",
    "llama-3.1-8b-instruct": "llama3",
    "llama-3.1-70b-instruct-cot": "llama3",
    "qwen3-30b-thinking": "thinking",
    "gpt-oss-safeguard-20b": "harmony",
}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "initializer_range": 0.3,
}
OWN_SIZES = {"gemma": {"sliding_window": 64}, "harmony": {"sliding_window": 32, "num_local_experts": 4}}


@cache
def family_tokenizer(name: str) -> Any:
    """The tokenizer of a family: byte-level, or of pieces with visible spaces (`dummy`: one before the text too)."""
    kind, controls, template, *_ = FAMILIES[name]
    core = Tokenizer(models.BPE(unk_token=None if kind == "bytes" else "<unk>"))
    if kind == "bytes":
        split = pre_tokenizers.Split(Regex(WORDS), "isolated")
        core.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        spaces = normalizers.Replace(" ", "\u2581")
        core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), spaces]) if kind == "dummy" else spaces
        lines = pre_tokenizers.Split(Regex("\n+"), "isolated")
        core.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.Split("\u2581", "merged_with_next")])
        core.decoder = decoders.Replace("\u2581", " ")
        alphabet = ["\u2581", "\n", *map(chr, range(33, 127))]
    special = [AddedToken(text, special=True, normalized=False) for text in dict.fromkeys([*controls, "<unk>"])]
    trainer = trainers.BpeTrainer(
        vocab_size=800, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    core.train_from_iterator(TEXTS, trainer)
    bos = next((c for c in controls if c in ("<|begin_of_text|>", "<bos>", "<s>")), None)
    made = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=controls[0], eos_token=controls[1], bos_token=bos)
    made.chat_template = template
    return made


@cache
def family_model(name: str) -> Any:
    """A random two-layer model of a family's architecture, with log-odds that differ from text to text."""
    family, tokenizer = FAMILIES[name], family_tokenizer(name)
    torch.manual_seed(0)
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = family.config(vocab_size=len(tokenizer), **SIZES, **OWN_SIZES.get(name, {}), **ends, bos_token_id=None)
    model = family.model(config)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.5)
    torch.nn.init.normal_(model.get_output_embeddings().weight, std=0.5)
    return model.eval()
