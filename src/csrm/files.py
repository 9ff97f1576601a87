"""Reading and writing: JSON lines, hashes, and writes that never leave a half-written file."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

BLOCK = 1 << 18  # bytes read at once for a hash; more of them take no less time
SIDECARS = ("manifest.json", ".snakemake_timestamp")
Model = TypeVar("Model", bound=BaseModel)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place only when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces `path` only when the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON with sorted keys, so that equal data give equal bytes."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON document."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_rows(path: str | Path, rows: Iterable[BaseModel | dict[str, Any]]) -> int:
    """Write one JSON object a line (sorted keys, defaults left out of models); returns the number of rows."""
    count = 0
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        for row in rows:
            data = row.model_dump(exclude_defaults=True) if isinstance(row, BaseModel) else row
            out.write(json.dumps(data, sort_keys=True, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_dicts(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of each non-empty line; a broken line is named by number."""
    return (row for _, row in numbered_dicts(path))


def numbered_dicts(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """`read_dicts` with the number of each line; a byte order mark is skipped.

    Raises:
        ValueError: for a line that is not JSON, or bytes that are not UTF-8.
    """
    with Path(path).open(encoding="utf-8-sig") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, json.loads(line)
        except UnicodeDecodeError as error:
            raise not_utf8(path, error) from None
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not valid JSON ({error}); each line holds one whole JSON object"
            ) from None


def read_text(path: str | Path) -> str:
    """A text file in UTF-8, without a byte order mark.

    Raises:
        ValueError: for bytes that are not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from None


def not_utf8(path: str | Path, error: UnicodeDecodeError) -> ValueError:
    """The error for a text file in another encoding."""
    return ValueError(f"{path} is not in UTF-8 (byte {error.object[error.start]:#x}): save it in that encoding")


def read_rows(path: str | Path, model: type[Model]) -> list[Model]:
    """Read and validate a JSON-lines file as `model` rows; errors name the file, the row and the field."""
    rows = []
    for number, data in enumerate(read_dicts(path), 1):
        try:
            rows.append(model.model_validate(data))
        except ValidationError as error:
            raise ValueError(f"{path}, row {number} is not a valid {model.__name__}: {error}") from None
    return rows


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Digest of a file, all of it read."""
    return file_digests(path, [algorithm])[algorithm]


def file_digests(path: Path, algorithms: Sequence[str]) -> dict[str, str]:
    """Digests of a file by algorithm, all of it read once."""
    found = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    block = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as data:
        while size := data.readinto(block):
            for each in found.values():
                each.update(block[:size])
    return {name: each.hexdigest() for name, each in found.items()}


def sha256(path: str | Path, of_file: Callable[[Path], str] = file_digest) -> str:
    """sha256 of a file, or of a folder as the digest of its sorted (relative path, sha256) lines.

    Inside folders manifests are left out, because they describe the artifact, and so is Snakemake's time stamp.

    Args:
        path: the file or folder.
        of_file: how the sha256 of a file is found.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.endswith(SIDECARS))
        lines = "".join(f"{p.relative_to(path).as_posix()} {of_file(p)}\n" for p in files)
        return hashlib.sha256(lines.encode()).hexdigest()
    return of_file(path)


def text_id(text: str, length: int = 16) -> str:
    """Identifier of a text: the sha256 of its normal form (case-folded, whitespace collapsed)."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()[:length]
