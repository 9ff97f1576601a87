"""Audit: from any figure, table or metric back to raw bytes, checking every hash on the way again.

The chain is read from the manifests (`csrm.provenance`): each names its artifact and inputs with their sha256. It ends
in declared leaves: raw files under `data/` (also checked against the pin in `data.dvc`), files tracked by git, package
data, settings slices in `OUT/config`, and files outside the repository (a local mirror).
"""

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from csrm import settings_docs
from csrm.data.pin import PINS
from csrm.files import read_json, write_json
from csrm.hashes import Hashes, Pins, pinned_folders
from csrm.overrides import as_option
from csrm.provenance import manifest_path

Kind = Literal["artifact", "raw", "settings", "tracked", "package", "outside", "undeclared"]
Status = Literal["ok", "CHANGED", "MISSING", "no manifest"]

SOURCES = ("config", "rules", "src", "workflow")  # what git would track, where there is no git
SCALES = ("smoke", "small", "paper")


class Entry(BaseModel):
    """A file or folder as a manifest recorded it."""

    role: str
    path: str
    sha256: str


class Manifest(BaseModel):
    """The part of a manifest that an audit reads; see `csrm.provenance.recording` for all of it."""

    model_config = ConfigDict(extra="allow")

    artifact: Entry
    inputs: list[Entry]
    command: list[str] = []
    settings: dict[str, Any] = {}
    seed: int | None = None
    overrides: dict[str, Any] | None = None


@dataclass
class Link:
    """One step of the chain: what its reader recorded, what lies there now, and what it was made from.

    `home` is the file or folder that was made as a whole, which may be a folder around `path`; `made` is its manifest.
    """

    role: str
    path: str
    kind: Kind
    home: str = ""
    made: Manifest | None = None
    status: Status = "ok"
    recorded: str | None = None
    actual: str | None = None
    manifest: Manifest | None = None
    inputs: list["Link"] = field(default_factory=list)
    repeated: bool = False


class Auditor:
    """Walks manifests from the repository's root; hashes each file once and collects all problems.

    Args:
        quick: trust the remembered hashes of large files that did not change since (`csrm.remembered`).
    """

    def __init__(self, quick: bool = False) -> None:
        pinned = pinned_folders(Path(PINS))
        self.hashes = Hashes(quick, pinned)
        self.pins = Pins(pinned, self.hashes.digest, PINS)
        self.problems: list[str] = []
        self._tracked = _tracked()
        self._walked: set[str] = set()

    def walk(self, path: str | Path) -> Link:
        """The chain of one file or folder."""
        return self._link(Entry(role="audited", path=str(path), sha256=""), None)

    def _link(self, entry: Entry, reader: Link | None) -> Link:
        path = _relative(entry.path)
        key = path.as_posix()
        home, made = _origin(path)
        manifest = made if home == path else None
        link = Link(entry.role, key, self._kind(path, bool(made)), home.as_posix(), made, manifest=manifest)
        expected = [(entry.sha256, f"by {reader.path}")] if reader else []
        expected += [(manifest.artifact.sha256, "by its own manifest")] if manifest else []
        link.recorded, link.actual = expected[0][0] if expected else None, self.hashes.sha256(path)
        self._judge(link, expected, reader)
        whole = [Entry(role="part of", path=link.home, sha256=made.artifact.sha256)] if made else []
        inputs = manifest.inputs if manifest else whole
        if key in self._walked:
            link.repeated = bool(inputs)
            return link
        self._walked.add(key)
        link.inputs = [self._link(step, link) for step in inputs]
        return link

    def _kind(self, path: Path, recorded: bool) -> Kind:
        if path.parts[:1] == ("data",):
            return "raw"
        if recorded:
            return "artifact"
        if self._is_tracked(path):
            return "tracked"
        if path.absolute().is_relative_to(Path(__file__).parent):
            return "package"
        if path.is_absolute() or path.parts[:1] == ("..",):
            return "outside"
        slices = {("config", "train"), ("config", "augment")}
        return "settings" if path.parent.name == "config" or path.parts[-3:-1] in slices else "undeclared"

    def _is_tracked(self, path: Path) -> bool:
        if self._tracked is None:
            return bool(path.parts) and path.parts[0] in SOURCES
        return path.as_posix() in self._tracked

    def _judge(self, link: Link, expected: list[tuple[str, str]], reader: Link | None) -> None:
        """Set the link's status and note what is wrong with it."""
        broken = [(recorded, who) for recorded, who in expected if recorded != link.actual]
        found: dict[str, str] = {}
        if link.actual is None:
            link.status, found = "MISSING", {link.path: f"missing; recorded {_who(expected)}"}
        elif broken:
            link.status, found = "CHANGED", {link.path: f"changed: recorded {_who(broken)}; now {link.actual}"}
        elif link.kind == "undeclared" or (link.kind == "outside" and not expected):
            link.status, found = "no manifest", {link.path: "no manifest says what made it, and it is no declared leaf"}
        elif link.kind == "raw":
            found = self.pins.problems(Path(link.path))
            # a file whose own hash holds is not blamed for its neighbours in a pinned folder
            link.status = "CHANGED" if found and (not expected or link.path in found) else "ok"
        for path, text in found.items():
            problem = f"{path}: {text}\n    {_remedy(link, reader)}"
            if problem not in self.problems:
                self.problems.append(problem)


def _who(expected: list[tuple[str, str]]) -> str:
    return ", ".join(f"{recorded} {who}" for recorded, who in expected) or "nowhere"


def _remedy(link: Link, reader: Link | None) -> str:
    """How to make a broken step whole again."""
    parts = Path(link.path).parts
    again, forced = (_rebuild(reader or link, reader, force) for force in ("", "--force "))
    if link.kind == "tracked":
        return f"restore: git restore {link.path}; or, if the change is meant, rebuild: {forced}"
    if link.kind == "package":
        return f"install the package as it was; or, if the change is meant, rebuild: {forced}"
    if link.kind == "raw" and parts[:2] == ("data", "raw"):
        fetched = Link(link.role, link.path, link.kind, home=Path(*parts[:3]).as_posix(), made=link.made)
        fetch = f"rm -r {fetched.home}, then {_rebuild(fetched, reader)}"
        return f"restore: dvc checkout --force data.dvc; or fetch it again: {fetch}"
    if link.kind == "outside" and link.status == "no manifest":
        return "audit it where it was made; a copy is known by nothing"
    if link.kind in ("raw", "outside"):
        return "restore it from where it came, or fetch it again"
    if link.status == "no manifest" and parts[0] not in ("results", "data"):
        return f"if it is yours, let git know it (git add {link.path}), or keep it outside the checkout"
    if "config" in parts[:-1]:
        return f"it holds the settings of another run; this run again writes its own: {again}"
    if link.made is None and Path(link.path).is_dir():
        return "a folder is audited by the manifest in it, and this one holds none: audit a file"
    force = "" if link.status == "MISSING" else "--force "
    return f"rebuild: {_rebuild(link, reader, force)}"


def _rebuild(link: Link, reader: Link | None, force: str = "") -> str:
    """The command that makes a step again, with the overrides of its run, or of the run that read it."""
    if link.made and Path(link.home).is_absolute():
        return shlex.join(link.made.command)
    # a folder is made with the manifest in it; a missing one is told from a file by its name: `csrm-margin-0.5`
    folder = Path(link.home).is_dir() or not re.fullmatch(r"\.[a-z]+", Path(link.home).suffix)
    command = f"snakemake --cores all {force}{shlex.quote(link.home + '/manifest.json' * folder)}"
    made = link.made or (reader.made if reader else None)
    if made and made.overrides is not None:
        return f"{command}{as_option(made.overrides)}"
    parts = Path(link.home).parts
    scale = next((as_option({"scale": s}) for s in SCALES if parts[:2] == ("results", s)), "")
    by = f"; it was made by: {shlex.join(made.command)}" if made and made is link.made else ""
    return f"{command}{scale} (add the --config of its run: no manifest records it{by})"


def _origin(path: Path) -> tuple[Path, Manifest | None]:
    """What was made as a whole, `path` or a folder around it, and its manifest; (`path`, None) where none is."""
    own = _manifest(manifest_path(path))
    if own or path.is_absolute():
        return path, own
    around = ((folder, _manifest(folder / "manifest.json")) for folder in list(path.parents)[:-1])
    return next((found for found in around if found[1]), (path, None))


def _relative(path: str) -> Path:
    """`path` relative to the working directory where it lies below it, so that one file has one name."""
    absolute, here = Path(path).absolute(), Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else absolute


def _manifest(path: Path) -> Manifest | None:
    """The manifest in a file; None where there is none, or where the file is another tool's `manifest.json`."""
    if not path.is_file():
        return None
    try:
        data = read_json(path)
        foreign = path.name == "manifest.json" and not (isinstance(data, dict) and "artifact" in data)
        return None if foreign else Manifest.model_validate(data)
    except ValueError as error:
        raise ValueError(f"{path} is not a readable manifest: {error}") from None


def _tracked() -> frozenset[str] | None:
    """Paths that git tracks below the working directory; None outside a repository."""
    result = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False)
    return frozenset(result.stdout.split("\0")) if result.returncode == 0 else None


def lines(link: Link, depth: int = 0) -> Iterator[str]:
    """The chain as an indented tree: role, path, short hash, status."""
    note = " (see above)" if link.repeated else "" if link.kind == "artifact" else f" ({link.kind})"
    yield f"{'  ' * depth}{link.role}: {link.path}  {(link.actual or '-')[:12]}  {link.status}{note}"
    for step in link.inputs:
        yield from lines(step, depth + 1)


def as_data(link: Link) -> dict[str, Any]:
    """The chain as plain data, for `--json`."""
    return {
        "role": link.role,
        "path": link.path,
        "kind": link.kind,
        "status": link.status,
        "recorded_sha256": link.recorded,
        "sha256": link.actual,
        "command": link.manifest.command if link.manifest else None,
        "see_above": link.repeated,
        "inputs": [as_data(step) for step in link.inputs],
    }


def run_audit(options: argparse.Namespace) -> None:
    """`csrm audit`: print the chain; fail when a file on it is changed, missing or of unknown origin."""
    auditor = Auditor(options.quick)
    chain = auditor.walk(options.file)
    print("\n".join(lines(chain)))
    if options.json:
        report = {"file": chain.path, "ok": not auditor.problems, "problems": auditor.problems}
        write_json(options.json, {**report, "chain": as_data(chain)})
    if auditor.problems:
        count = len(auditor.problems)
        listing = "\n".join(f"  {problem}" for problem in auditor.problems)
        raise ValueError(f"{options.file}: {count} broken step{'s' if count > 1 else ''} on its chain\n{listing}")
    if options.crate:
        from csrm.rocrate import write_crate

        write_crate(Path(options.crate), chain)
    how = "checked, large ones by size, times and inode" if options.quick else "hashed"
    print(f"ok: {len(auditor.hashes.seen)} files {how}, every hash on the chain holds")


def register(subparsers: Any) -> None:
    """Register `csrm audit` and `csrm settings`."""
    parser = subparsers.add_parser("audit", help="check the chain of a result back to raw bytes")
    parser.add_argument("file", metavar="FILE", help="figure, table, metric or any other file or folder of a run")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="large files whose size, times and inode are as when they were hashed last are not read: what programs "
        "changed is found, what a disk changed by itself is not",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the chain as JSON")
    parser.add_argument("--crate", metavar="DIR", help="also write the chain as a Workflow Run RO-Crate")
    parser.set_defaults(run=run_audit)
    settings_docs.register(subparsers)
