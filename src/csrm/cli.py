"""The `csrm` command line: a thin layer from arguments to functions; heavy imports stay inside the commands."""

import argparse
import sys
from importlib import import_module

GROUPS = (
    "csrm.data.commands",
    "csrm.augment.commands",
    "csrm.augment.agreement_commands",
    "csrm.model.commands",
    "csrm.train.commands",
    "csrm.bench.commands",
    "csrm.bench.clauses_commands",
    "csrm.bench.proposals_commands",
    "csrm.align.helpfulness_commands",
    "csrm.align.commands",
    "csrm.report.commands",
    "csrm.cost",
    "csrm.audit",
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each group module registers its own with `register(subparsers)`."""
    parser = argparse.ArgumentParser(prog="csrm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in GROUPS:
        import_module(group).register(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; user errors are one line on standard error and exit status 1."""
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        print(f"csrm {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
