"""Export of an audited chain as a Workflow Run RO-Crate (RO-Crate 1.1, profiles process and workflow 0.5).

Files below the crate's folder are named by their relative path, all others by their hash (RFC 6920 `ni:` names): a
crate in the repository's root therefore describes the files in place, one elsewhere is a description only.
"""

import base64
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from csrm.data.tables import folder_licences
from csrm.files import sha256, write_json

if TYPE_CHECKING:
    from csrm.audit import Link

CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
WORKFLOW = Path("workflow/Snakefile")

Entity = dict[str, Any]


def write_crate(folder: Path, chain: "Link") -> None:
    """Write `ro-crate-metadata.json` of an audited chain into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "ro-crate-metadata.json", {"@context": CONTEXT, "@graph": crate_graph(folder, chain)})


def crate_graph(folder: Path, chain: "Link") -> list[Entity]:
    """All entities of the crate: metadata, root, workflow, files, and one CreateAction a command."""
    links = {link.path: link for link in _walk(chain) if not link.repeated}
    ids = {path: _identifier(folder, Path(path), link.actual) for path, link in links.items()}
    workflow = _identifier(folder, WORKFLOW, sha256(WORKFLOW)) if WORKFLOW.is_file() else "#workflow"
    terms = folder_licences("config") if Path("config/datasets.tsv").is_file() else {}
    licences = {path: found for path in links if (found := _licence(path, terms))}
    data = [_file(ids[path], link, licences.get(path)) for path, link in links.items()]
    actions = [_action(ids, link) for link in links.values() if link.manifest]
    commands = sorted({action["instrument"]["@id"] for action in actions})
    tools = [{"@id": c, "@type": "SoftwareApplication", "name": f"csrm {c.removeprefix('#csrm-')}"} for c in commands]
    leaves = [ids[path] for path, link in links.items() if not link.inputs]
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"Workflow run that made {chain.path}",
        "instrument": {"@id": workflow},
        "object": _references(leaves),
        "result": {"@id": ids[chain.path]},
    }
    root = _root(chain, workflow, data, [run, *actions])
    named = [{"@id": _licence_id(name), "@type": "CreativeWork", "name": name} for name in sorted({*licences.values()})]
    return [_metadata(), root, *_workflow(workflow, commands), *data, *tools, run, *actions, *named]


def _walk(link: "Link") -> Iterator["Link"]:
    yield link
    for step in link.inputs:
        yield from _walk(step)


def _references(ids: list[str]) -> list[Entity]:
    return [{"@id": i} for i in ids]


def _identifier(folder: Path, path: Path, digest: str | None) -> str:
    relative = Path(os.path.relpath(path.absolute(), folder.absolute()))
    if ".." not in relative.parts:
        return quote(relative.as_posix() + ("/" if path.is_dir() else ""))
    name = base64.urlsafe_b64encode(bytes.fromhex(digest or "")).decode().rstrip("=")
    return f"ni:///sha-256;{name}?path={quote(path.as_posix())}"


def _file(identifier: str, link: "Link", licence: str | None) -> Entity:
    kind = "Dataset" if Path(link.path).is_dir() else "File"
    entity = {"@id": identifier, "@type": kind, "name": link.path, "sha256": link.actual, "additionalType": link.kind}
    return {**entity, "license": {"@id": _licence_id(licence)}} if licence else entity


def _licence(path: str, terms: Mapping[str, str]) -> str | None:
    """Licence of raw data or a raw model: of the folder that the path lies in."""
    return next((licence for folder, licence in terms.items() if f"/{folder}/" in f"/{path}/"), None)


def _licence_id(name: str) -> str:
    return f"#licence-{quote(name.replace(' ', '-'))}"


def _action(ids: dict[str, str], link: "Link") -> Entity:
    """One command: what it read, with which settings and seed, and the file that it wrote."""
    manifest = link.manifest
    assert manifest is not None
    command = manifest.command[1] if len(manifest.command) > 1 else "command"
    settings = {**manifest.settings, **({} if manifest.seed is None else {"seed": manifest.seed})}
    return {
        "@id": f"#make-{quote(link.path)}",
        "@type": "CreateAction",
        "name": f"csrm {command}",
        "description": " ".join(manifest.command),
        "instrument": {"@id": f"#csrm-{command}"},
        "object": _references([ids[step.path] for step in link.inputs]),
        "result": {"@id": ids[link.path]},
        "identifier": [f"{key}={value}" for key, value in sorted(settings.items())],
    }


def _metadata() -> Entity:
    return {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _references(
            ["https://w3id.org/ro/crate/1.1", "https://w3id.org/workflowhub/workflow-ro-crate/1.0"]
        ),
    }


def _root(chain: "Link", workflow: str, data: list[Entity], actions: list[Entity]) -> Entity:
    made = datetime.fromtimestamp(Path(chain.path).stat().st_mtime, UTC).isoformat(timespec="seconds")
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Provenance of {chain.path}",
        "description": f"Every step from raw data to {chain.path}, with the sha256 of every file.",
        "datePublished": made,
        "license": {"@id": "https://spdx.org/licenses/Apache-2.0"},
        "conformsTo": _references(list(PROFILES)),
        "mainEntity": {"@id": workflow},
        "hasPart": _references([workflow, *(entity["@id"] for entity in data if entity["@id"] != workflow)]),
        "mentions": _references([action["@id"] for action in actions]),
    }


def _workflow(identifier: str, commands: list[str]) -> list[Entity]:
    """The workflow, its language, its licence and the profiles that the crate follows."""
    profiles = [
        {"@id": i, "@type": "CreativeWork", "name": name, "version": i.rsplit("/", 1)[-1]}
        for i, name in PROFILES.items()
    ]
    workflow = {
        "@id": identifier,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "csrm workflow",
        "programmingLanguage": {"@id": SNAKEMAKE},
        "hasPart": _references(commands),
    }
    language = {
        "@id": SNAKEMAKE,
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "url": {"@id": "https://snakemake.readthedocs.io"},
    }
    licence = {"@id": "https://spdx.org/licenses/Apache-2.0", "@type": "CreativeWork", "name": "Apache-2.0"}
    return [workflow, language, licence, *profiles]
