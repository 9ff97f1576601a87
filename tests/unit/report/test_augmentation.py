"""CCA's statistics as a table: counts with what they are a share of."""

import csv
from collections import Counter

from csrm.augment.cca_statistics import statistics
from csrm.cli import main
from csrm.files import write_json

COUNTS = Counter(
    {
        "groups": 8,
        "pairs": 20,
        "dropped: every configuration gives one label": 2,
        "branches labelled safe": 10,
        "branches labelled unsafe": 6,
        "branches of safe conversations": 4,
        "branches of unsafe conversations": 12,
        "flips safe to unsafe": 1,
        "flips unsafe to safe": 6,
        "proposer: p+ proposed": 5,
        "proposer: p+ none": 3,
        "proposer: p+ accepted": 2,
        "proposer: p+ rejected: not verified": 2,
        "proposer: p+ rejected: means a held-out family": 1,
    }
)


def test_flips_and_rejections_have_their_denominators(tmp_path):
    for draw in ("train", "csrm-llm"):
        write_json(tmp_path / draw / "cca_statistics.json", {"backend": "llm", **statistics(COUNTS)})
    paths = [str(tmp_path / draw / "cca_statistics.json") for draw in ("train", "csrm-llm")]
    prefix = tmp_path / "augmentation"
    options = ["--table", "augmentation", "--metrics", *paths, "--scale", "demo", "--output-prefix", str(prefix)]
    assert main(["table", *options]) == 0
    with prefix.with_suffix(".csv").open() as text:
        lines = {(r["draw"], r["what"]): r for r in csv.DictReader(text)}
    own = {what: (r["number"], r["of"], r["rate"]) for (draw, what), r in lines.items() if draw == "csrm-llm"}
    assert own["flips safe to unsafe"] == ("1", "4", "0.25") and own["flips unsafe to safe"] == ("6", "12", "0.5")
    assert own["p+ rejected"] == ("3", "5", "0.6") and own["p+ accepted"] == ("2", "5", "0.4")
    assert own["p+ rejected: means a held-out family"] == ("1", "5", "0.2")
    assert own["conversations dropped: every configuration gives one label"] == ("2", "10", "0.2")
    assert own["p- rejected"] == ("0", "0", "") and len(lines) == 2 * len(own)
    assert lines["train", "ranking pairs"]["source"] == "measured@demo"
    markdown = (tmp_path / "augmentation.md").read_text()
    assert "| csrm-llm | llm | flips safe to unsafe | measured@demo | 1 | 4 | 0.250 |" in markdown
