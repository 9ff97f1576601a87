"""Generates `config/config.yaml` (defaults, each with its description) and `config/schema.json` from the settings."""

import argparse
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from csrm.files import write_text
from csrm.settings import Settings

HEADER = """\
# All settings with the demo's defaults, generated from src/csrm/settings by `csrm settings --config-dir config`.
# Change a run with `snakemake --config scale=small seed=1`, or in an overlay: config/scales/<scale>.yaml.
"""


def render_yaml(settings: BaseModel) -> str:
    """All settings as YAML, each preceded by its description."""
    return HEADER + "\n" + "\n".join(_section(settings, "")) + "\n"


def render_schema() -> str:
    """JSON schema of the settings."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def generated(config_dir: Path) -> dict[Path, str]:
    """The generated files and their text."""
    defaults = Settings.model_validate({})
    return {config_dir / "config.yaml": render_yaml(defaults), config_dir / "schema.json": render_schema()}


def drifted(config_dir: Path) -> list[Path]:
    """Generated files that differ from the settings' models."""
    texts = generated(config_dir)
    return [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def _section(settings: BaseModel, indent: str) -> Iterator[str]:
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        comment = _comment(info, value)
        nested = isinstance(value, BaseModel)
        if nested and not indent:
            yield ""
        if comment:
            yield f"{indent}# {comment}"
        if nested:
            yield f"{indent}{name}:"
            yield from _section(value, indent + "  ")
        elif isinstance(value, dict) and value:
            yield f"{indent}{name}:"
            yield from (f"{indent}  {key}: {_flow(item)}" for key, item in value.items())
        else:
            yield f"{indent}{name}: {_flow(value)}"


def _comment(info: FieldInfo, value: Any) -> str:
    if isinstance(value, BaseModel) and not info.description:
        return inspect.cleandoc(type(value).__doc__ or "").splitlines()[0]
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    allowed = f"one of {', '.join(map(str, choices))}" if choices else ""
    return "; ".join(filter(None, (info.description, allowed)))


def _flow(value: Any) -> str:
    """One value on one line of YAML."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def run_settings(options: argparse.Namespace) -> None:
    """`csrm settings`: write the generated files, or with `--check` fail when they differ from the models."""
    config_dir = Path(options.config_dir)
    if options.check:
        stale = drifted(config_dir)
        if stale:
            names = ", ".join(path.as_posix() for path in stale)
            raise ValueError(f"{names} differ from src/csrm/settings; run: csrm settings --config-dir {config_dir}")
        return
    for path, text in generated(config_dir).items():
        write_text(path, text)


def register(subparsers: Any) -> None:
    """Register `csrm settings`."""
    parser = subparsers.add_parser("settings", help="generate config.yaml and schema.json from the settings' models")
    parser.add_argument("--config-dir", metavar="DIR", default="config", help="folder of both files")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is out of date")
    parser.set_defaults(run=run_settings)
