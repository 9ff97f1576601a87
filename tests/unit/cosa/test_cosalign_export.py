"""`csrm cosalign-export`: pairs over CoSAlign's harms in the columns of CoSAlign-Train."""

from pathlib import Path

import pytest

from csrm.cli import main
from csrm.configs.topics import load_topics
from csrm.cosa.export import export_pairs
from csrm.cosa.pairs import make_pairs, record
from csrm.cosa.records import published_record
from csrm.cosa.schema import Labelled, Pair
from csrm.cosa.synthesis import NAMED, SEEN
from csrm.cosa.topics import Taxonomy
from csrm.data.sources import load_fixture
from csrm.files import read_dicts, read_json, write_rows
from csrm.settings import CosaSettings

PUBLISHED = load_fixture("cosalign-train")["train_bt"][0]


def pairs(seen: list[str], unseen: str = "other", taxonomy: str = "cosalign") -> list[Pair]:
    """Pairs of every kind of group for prompts of no label, of one and of two, under all modes."""
    tested = {"unseen": [unseen], "seen_configs": [[]], "unseen_configs": [[unseen]]}
    settings = CosaSettings(taxonomy=taxonomy, seen=seen, **tested, dedup_empty_configs=False)
    first, second = seen[:2]
    kinds = [([], 0), ([], 1), ([first], 1), ([first, second], 1), ([unseen], 1), ([unseen, "other"], 1), ([first], 0)]
    rows = [
        Labelled(
            **{"prompt_id": f"p{size}", "prompt": f"Ask {size}?", "harms": seen[:size], "id": f"{size}{number}"},
            **{"response": f"Answer {number}, as asked.", "finished": True, "found": found, "addressed": addressed},
        )
        for size in range(3)
        for number, (found, addressed) in enumerate(kinds)
    ]
    return make_pairs(rows, Taxonomy(load_topics(), settings), 0).pairs


@pytest.mark.parametrize("seen", [sorted(SEEN), sorted(NAMED)], ids=len)
def test_the_check_accepts_what_is_exported(seen: list[str], tmp_path: Path) -> None:
    made = pairs(seen)
    assert {pair.mode for pair in made} == {"exact_match", "superset", "safe", "not_superset"}
    own, rows, report = (str(tmp_path / name) for name in ("pairs.jsonl", "rows.jsonl", "report.json"))
    write_rows(own, (pair.model_dump() for pair in made))
    assert main(["cosalign-export", "--pairs", own, "--output", rows]) == 0
    assert read_json(f"{rows}.manifest.json")["notes"] == {"rows": len(made), "categories": len(seen)}
    assert main(["cosalign-check", "--rows", rows, "--output", report, "--categories", str(len(seen))]) == 0
    written = list(read_dicts(rows))
    assert [published_record(row) for row in written] == [record(pair) for pair in made]
    for row, pair in zip(written, made, strict=True):
        assert {name: type(value) for name, value in row.items()} == {n: type(v) for n, v in PUBLISHED.items()}
        assert [row["system_prompt"], row["prompt"]] == [message.content for message in pair.prompt]
        assert [row["chosen_response"], row["rejected_response"]] == [pair.chosen, pair.rejected]


def test_other_taxonomies_are_refused() -> None:
    with pytest.raises(ValueError, match=r"has labels \['pets'.*made with cosa.taxonomy cosalign"):
        export_pairs(pairs(["pets", "travel"], "sports", "topics"))
    with pytest.raises(ValueError, match=r"claims do not hold .*such as .*with one of these sets as cosa.seen"):
        export_pairs(pairs(["drugs", "violence"], "privacy"))
