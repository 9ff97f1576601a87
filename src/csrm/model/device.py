"""Where and in which number format models run."""

from pathlib import Path
from typing import Any

import torch

from csrm.settings import DType


def device() -> torch.device:
    """The accelerator when there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_bfloat16() -> bool:
    """Whether bfloat16 matrix products are native here (CUDA, or a processor with AVX512-BF16 or AMX)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    info = Path("/proc/cpuinfo")
    return info.exists() and any(flag in info.read_text(encoding="utf-8") for flag in ("avx512_bf16", "amx_bf16"))


def inference_dtype(dtype: DType) -> torch.dtype:
    """The type to score in: `auto` is bfloat16 where it is fast, else float32."""
    wanted = dtype == "bfloat16" or (dtype == "auto" and fast_bfloat16())
    return torch.bfloat16 if wanted else torch.float32


def check_folder(model: str | Path) -> None:
    """Refuse what looks like a folder and is not there; a hub id, OWNER/NAME, passes.

    Raises:
        FileNotFoundError: for a path that does not exist, or a folder without `config.json`.
    """
    path, name = Path(model), str(model)
    if path.exists() and not (path / "config.json").exists():
        raise FileNotFoundError(f"{name} holds no config.json: expected a Hugging Face model folder")
    local = name.startswith((".", "/", "~")) or name.count("/") > 1 or path.parent.exists()
    if local and not path.exists():
        raise FileNotFoundError(
            f"model folder {name} does not exist in {Path.cwd()}: `make reproduce` leaves the demo's in "
            "results/models/csrm/csrm; a model of the hub is named OWNER/NAME"
        )


def load_model(folder: str | Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Model on the device and tokenizer of a plain Hugging Face folder or a hub id.

    Raises:
        FileNotFoundError: if there is no such folder, or it holds no `config.json`.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.to(device()), tokenizer


def load_tokenizer(folder: str | Path) -> Any:
    """Tokenizer of a plain Hugging Face folder or a hub id.

    Raises:
        FileNotFoundError: if there is no such folder, or it holds no `config.json`.
    """
    from transformers import AutoTokenizer

    check_folder(folder)
    return AutoTokenizer.from_pretrained(folder)
