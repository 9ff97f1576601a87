"""Write the rule graphs that `test_dry_run.py` compares with: `python tests/workflow/make_rulegraphs.py`."""

import tempfile
from pathlib import Path

from workflow_tools import SNAPSHOTS, copy_repository, rule_graph

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_repository(Path(folder))
        for scale in ("smoke", "demo"):
            (SNAPSHOTS / f"rulegraph.{scale}.txt").write_text(rule_graph(copy, scale), encoding="utf-8")
