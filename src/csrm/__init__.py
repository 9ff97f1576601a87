"""Configurable reward models for language-model safety: CSRM and CoSAlign, reproduced."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csrm.configs.safety_config import SafetyConfig
    from csrm.model.scorer import CSRM, Score
    from csrm.rows import Message

__version__ = "0.1.0"
__all__ = ["CSRM", "Message", "SafetyConfig", "Score"]

_HOMES = {
    "CSRM": "csrm.model.scorer",
    "Message": "csrm.rows",
    "SafetyConfig": "csrm.configs.safety_config",
    "Score": "csrm.model.scorer",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `import csrm` does not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'csrm' has no attribute {name!r}; it has {__all__}")
    return getattr(import_module(_HOMES[name]), name)
