"""The base of all settings, and the slices of them that stages read."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from csrm.yaml_reader import read_yaml

EMITTER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Share = Annotated[float, Field(ge=0, le=1)]
DType = Literal["auto", "float32", "bfloat16"]
SectionOrder = Literal["conversation-first", "config-first", "config-last"]


class Section(BaseModel):
    """Base of all settings: unknown keys are errors; `selection` names the fields that say what is made, not how."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    selection: ClassVar[frozenset[str]] = frozenset()


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`base` overlaid: mappings merge key by key, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def write_slice(path: Path, section: Section) -> None:
    """Write one section as YAML without its selection, untouched where nothing changed."""
    text = _text(section.model_dump(mode="json", exclude=set(section.selection)))
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _text(data: dict[str, Any]) -> str:
    """YAML as PyYAML writes it, by libyaml where it is there and does the same: it folds quoted text elsewhere."""
    text: str = yaml.dump(data, Dumper=EMITTER, sort_keys=True)
    return yaml.safe_dump(data, sort_keys=True) if '"' in text else text


def read_slice(path: str | Path, model: type[Section]) -> Any:
    """Read one stage's slice as `model`, with the run's `seed` left out."""
    return model.model_validate(read_yaml(path))
