"""Reading YAML, by libyaml where PyYAML has it: a key given twice is an error, and errors name the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import SafeLoader as Loader
else:
    Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeys(Loader):
    """YAML in which a key that a mapping holds twice is an error instead of replacing the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line, same = key.start_mark.line + 1, (key.tag, key.value)
            if same in lines:
                raise ValueError(f"key {key.value!r} is given twice, in lines {lines[same]} and {line}: keep one")
            lines[same] = line
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
