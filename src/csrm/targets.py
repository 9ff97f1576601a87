"""Files named on Snakemake's command line that no rule makes with the run's settings: which value is missing where."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from os.path import normpath
from typing import NamedTuple

_PART = re.compile(r"\{(\w+)(?:,([^{}]*))?\}")
_MODEL = ("model", "train.variants (a name of config/variants.yaml; further seeds: train.seeds) or score.models")
# wildcard -> what it is, and the setting that adds one
SETTINGS = {
    "variant": ("variant", "train.variants (a name of config/variants.yaml; further seeds: train.seeds)"),
    "draw": ("draw", "train.variants (a name of config/variants.yaml that overrides settings of `augment`)"),
    **dict.fromkeys(("model", "other", "lm", "baseline", "guard"), _MODEL),
    "benchmark": ("benchmark", "score.benchmarks (an id of config/benchmarks.tsv)"),
    "config_id": ("configuration", "align.configs (a file of config/safety_configs; further seeds: align.seeds)"),
    "algorithm": ("algorithm", "align.algorithms"),
    "reward": ("reward", "align.rewards or align.swept (zero-shot, a baseline or one of train.variants)"),
    "dataset": ("data set", "config/datasets.tsv"),
    "raw": ("raw data", "config/datasets.tsv or config/models.tsv"),
    "made": ("backbone", "config/models.tsv"),
    "table": ("table", ""),
}
TABLES = {
    "seeds": "train.seeds",
    "proposers": "augment.compared",
    "calibration": "score.calibrated",
    "helpfulness": "helpfulness.reward (trained, or a reward model of config/models.tsv)",
    "severity": "score.benchmarks (one of human severities, such as pyrit-severity)",
    "judge": "align.judge_data",
    "retrieval": "score.retrieval",
    "table4": "score.benchmarks (one on over-refusal, such as xstest)",
    "table6": "train.variants (one of another backbone or margin, such as csrm-margin-1)",
    "table7": "score.clauses",
    "literature": "score.benchmarks (one that another paper prints numbers for, such as xstest-response)",
}


class Unknown(NamedTuple):
    """A part of a file's name that the run does not have: what it is, its value, and the settings that add it."""

    kind: str
    value: str
    setting: str


def check_targets(words: Iterable[str], patterns: Iterable[str]) -> None:
    """Refuse a file that has the form of an output, with a part that the run's settings do not name.

    Args:
        words: of the command line; those that have no output's form, a path, are left to Snakemake.
        patterns: outputs of all rules, as `results/scores/{lm,csrm|zero\\-shot}/{benchmark,pyrit\\-seen}.jsonl`.

    Raises:
        ValueError: the message names the value, the known ones and the setting that adds it.
    """
    forms = [*patterns]
    paths = [normpath(word) for word in words if "/" in word and not word.startswith("-")]
    if lines := [line for path in paths for line in _complaints(path, forms)]:
        head = "no rule makes this with the run's settings (give `a.b` as --config 'a={b: ...}'):"
        raise ValueError("\n".join([head, *lines]))


def _complaints(target: str, patterns: Iterable[str]) -> list[str]:
    """A line for each unknown part, read by the patterns that know most of the parts; none if a rule makes it."""
    readings = [found for pattern in patterns if (found := _read(target, pattern)) is not None]
    fewest = min(map(len, readings), default=0)
    known: dict[Unknown, list[str]] = {}
    for reading in readings:
        for part, values in reading.items() if len(reading) == fewest else ():
            known.setdefault(part, []).extend(value for value in values if value not in known[part])
    return [_line(target, part, values) for part, values in known.items()] if fewest else []


def _read(target: str, pattern: str) -> dict[Unknown, list[str]] | None:
    """The target's parts that a pattern's constraints refuse, with the known values; None if it is of another form."""
    constraints = dict(_PART.findall(pattern))
    pieces = _PART.split(pattern)
    form = re.escape(pieces[0])
    for name, constraint, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        form += f"(?P<{name}>{'[^/]+' if name in SETTINGS else constraint or '.+'}){re.escape(text)}"
    match = re.fullmatch(form, target)
    if not match:
        return None
    read = {name: value for name, value in match.groupdict().items() if name in SETTINGS and constraints[name]}
    refused = {name: value for name, value in read.items() if not re.fullmatch(constraints[name], value)}
    return {_unknown(name, value): _names(constraints[name]) for name, value in refused.items()}


def _unknown(wildcard: str, value: str) -> Unknown:
    kind, setting = SETTINGS[wildcard]
    return Unknown(kind, value, TABLES.get(value, setting) if wildcard == "table" else setting)


def _names(constraint: str) -> list[str]:
    """The alternatives of a constraint, `a\\-b|c`, as they are written."""
    return [] if constraint == "(?!)" else re.sub(r"\\(.)", r"\1", constraint).split("|")


def _line(target: str, part: Unknown, known: list[str]) -> str:
    near = get_close_matches(part.value, known, n=1)
    hint = f", perhaps {near[0]!r}" if near else ""
    source = f"; it comes with {part.setting}" if part.setting else ""
    return f"{target}: {part.kind} {part.value!r} is not in this run{hint}; known: {', '.join(known) or 'none'}{source}"
