"""Reading YAML that people write: a key given twice is an error, and errors name the file."""

from pathlib import Path
from typing import Any

import yaml


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that a mapping holds twice is an error instead of replacing the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"line {node.start_mark.line + 1}: {twice} given twice in one mapping; keep one of each")
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """Read one YAML (or JSON) document.

    Raises:
        ValueError: for broken YAML, or a key that a mapping holds twice; the message names the file.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeys)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from None
