"""Backbones as plain Hugging Face folders: conversion from GGUF, and a tiny random model for tests."""

from importlib import resources
from pathlib import Path
from typing import Any

from csrm.files import atomic_folder

# ChatML, the format of the tiny model's chat template.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def convert_gguf(source: Path, target: Path) -> dict[str, Any]:
    """Write a GGUF model as a plain folder: safetensors in bfloat16-free float32, tokenizer, chat template.

    The quantisation entry that `transformers` keeps in the configuration is dropped, so that the folder can be
    saved and loaded like any other. Padding uses the first special token when the file pads with end-of-sequence:
    a collator that masks padding would otherwise mask every end of sequence too.

    Returns:
        Counts for the manifest: parameters and tensors.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    _forget_quantization(model)
    model.config.pad_token_id = tokenizer.pad_token_id
    _save(model, tokenizer, target)
    return {"parameters": model.num_parameters(), "tensors": len(model.state_dict())}


def _forget_quantization(model: Any) -> None:
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("hf_quantizer", "is_quantized", "quantization_method"):
        if hasattr(model, name):
            setattr(model, name, None if name != "is_quantized" else False)


def random_backbone(target: Path, seed: int = 0) -> dict[str, Any]:
    """Write a random two-layer Llama with a byte-level BPE tokenizer trained on the project's own smoke texts."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(_training_texts(), 1200, 2, False, list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trainer._tokenizer, pad_token=SPECIAL[0], bos_token=SPECIAL[1], eos_token=SPECIAL[2]
    )
    tokenizer.chat_template = CHATML
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    _save(model, tokenizer, target)
    return {"parameters": model.num_parameters(), "tensors": len(model.state_dict())}


def _training_texts() -> list[str]:
    """The project's smoke rows, and the answer words often enough to become tokens."""
    rows = resources.files("csrm.data").joinpath("project/smoke.jsonl").read_text(encoding="utf-8")
    return [*rows.splitlines(), *(" safe unsafe\nsafe\nunsafe\nSafe\nUnsafe",) * 50]


def _save(model: Any, tokenizer: Any, target: Path) -> None:
    with atomic_folder(target) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        for file in part.iterdir():
            file.chmod(0o644)
