"""Licences and sources of everything that a run uses: training data, benchmarks, models and guards."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from csrm.bench.guards.table import load_guards
from csrm.data.tables import Remote, load_datasets, load_models
from csrm.report.cells import markdown_head, markdown_line, to_csv

DATA = (
    "training data",
    "benchmark",
    "helpfulness data",
    "judge data",
    "retrieval data",
    "cosalign data",
    "prompt data",
)
MODELS = ("backbone", "policy", "helpfulness model", "encoder")
GUARD, BY_NAME = "guard", "language model"
"""A guard of `config/guards.tsv`; a model that settings name without a line in a table."""
ROLES = (*DATA, *MODELS, GUARD, BY_NAME)
NOTE = (
    "Licences are those of the data sets and models, as `config/datasets.tsv`, `config/models.tsv` and "
    "`config/guards.tsv` name them; the project ships none of their bytes but what its own packages hold. `pin` is the "
    "revision or sha256 that is asked for (a revision that moves, such as `main`, is resolved by the first fetch). "
    "`NC` licences forbid commercial use of what is derived from them."
)


class Line(NamedTuple):
    """One data set or model and its licence."""

    used_as: str
    id: str
    licence: str
    source: str
    locator: str
    pin: str
    gated: str
    page: str


def parse_used(words: Iterable[str]) -> list[tuple[str, str]]:
    """(role, id) of each `ROLE=ID`; a role's blanks are written as `-`.

    Raises:
        ValueError: for a word of another form or an unknown role.
    """
    found = []
    for word in words:
        role, mark, identity = word.partition("=")
        role = role.replace("-", " ")
        if not mark or role not in ROLES:
            allowed = ", ".join(name.replace(" ", "-") for name in ROLES)
            raise ValueError(f"--used {word!r}: write ROLE=ID with ROLE one of {allowed}")
        found.append((role, identity))
    return found


def licence_table(used: Iterable[tuple[str, str]], config_dir: Path) -> tuple[str, str]:
    """The licences as (CSV, Markdown), one line for each data set or model and all that it is used as.

    Raises:
        ValueError: if an id is in none of the tables of its role.
    """
    roles: dict[tuple[str, str], list[str]] = {}
    for role, identity in used:
        kind = role if role in (GUARD, BY_NAME) else "data" if role in DATA else "model"
        roles.setdefault((kind, identity), []).append(role)
    data, models, guards = load_datasets(config_dir), load_models(config_dir), load_guards(config_dir)
    tables: dict[str, Mapping[str, Any]] = {"data": data, "model": models, GUARD: guards}
    lines = [
        _line(kind, identity, sorted({*names}, key=ROLES.index), tables) for (kind, identity), names in roles.items()
    ]
    lines.sort(key=lambda line: (ROLES.index(line.used_as.split(", ")[0]), line.id))
    head = [name.replace("_", " ") for name in Line._fields]
    text = ["## Licences", "", NOTE, "", *markdown_head(head), *map(markdown_line, lines)]
    return to_csv(lines, Line._fields), "\n".join(text) + "\n"


def _line(kind: str, identity: str, roles: list[str], tables: Mapping[str, Mapping[str, Any]]) -> Line:
    used_as = ", ".join(roles)
    if kind == BY_NAME:
        return Line(used_as, identity, "not recorded", "named in the settings", identity, "", "", "")
    if identity not in tables[kind]:
        raise ValueError(f"{used_as} {identity!r} is in none of the tables; known: {', '.join(sorted(tables[kind]))}")
    if kind == GUARD:
        guard = tables[kind][identity]
        return Line(used_as, identity, guard.licence, "folder", guard.model, "", "", guard.model)
    entry: Remote = tables[kind][identity]
    pin = entry.sha256 or entry.revision or ""
    gated = "yes" if entry.gated else "no"
    return Line(used_as, identity, entry.licence, entry.source, entry.locator or "", pin, gated, entry.page or "")
