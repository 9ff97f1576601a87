"""The `csrm` command line: a thin layer from arguments to functions; heavy imports stay inside the commands."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

GROUPS = (
    "csrm.data.commands",
    "csrm.augment.commands",
    "csrm.augment.agreement_commands",
    "csrm.model.commands",
    "csrm.train.commands",
    "csrm.bench.commands",
    "csrm.bench.clauses_commands",
    "csrm.bench.proposals_commands",
    "csrm.bench.retrieval_commands",
    "csrm.align.helpfulness_commands",
    "csrm.align.commands",
    "csrm.align.evaluation_commands",
    "csrm.cosa.commands",
    "csrm.report.commands",
    "csrm.cost",
    "csrm.audit",
)


DESCRIPTION = (
    "For people: `score` judges your own conversations under your own policy, `audit` traces a result to raw bytes, "
    "`cost` prices a training, `settings` writes the scales' documentation of settings, `strictness-sheet` and "
    "`strictness-agreement` have pairs checked by hand, `cosalign-check` and `cosalign-export` read and write "
    "preference data. The others are steps of the workflow, called by its rules."
)


class Parser(argparse.ArgumentParser):
    """A parser that takes options by their whole names only: `--config` is not short for `--config-dir`."""

    def __init__(self, *names: Any, **options: Any) -> None:
        super().__init__(*names, **{"allow_abbrev": False, **options})


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each group module registers its own with `register(subparsers)`."""
    parser = Parser(prog="csrm", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in GROUPS:
        import_module(group).register(commands)
    for listed in commands._get_subactions():
        commands.choices[listed.dest].description = listed.help
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; user errors are one line on standard error and exit status 1."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"csrm {options.command}: {_in_words(error)}", file=sys.stderr)
        return 1
    return 0


def _in_words(error: Exception) -> str:
    """An error of the system as file, reason and where a relative path was looked for; others as they are."""
    if not isinstance(error, OSError) or not error.strerror or not error.filename:
        return str(error)
    place = "" if Path(error.filename).is_absolute() else f" (in {Path.cwd()})"
    return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}{place}"


if __name__ == "__main__":
    sys.exit(main())
