"""Numbers are what they were: 20 training steps, and scores of a fixed set of requests."""

from pathlib import Path
from typing import get_args

import pytest
from regression_cases import header, references, scores, trajectory

from csrm.settings import SectionOrder

pytestmark = pytest.mark.regression


@pytest.fixture(scope="module")
def hint(tiny_backbone: Path) -> str:
    """What to look at when numbers differ."""
    made_with, here = references()["header"], header(tiny_backbone)
    changed = {name: (old, here.get(name)) for name, old in made_with.items() if here.get(name) != old}
    return f"(reference, here): {changed or 'same versions'}; if meant: python tests/regression/make_references.py"


def test_loss_trajectory(tiny_backbone: Path, hint: str) -> None:
    expected, found = references()["trajectory"], trajectory(tiny_backbone)
    assert len(found) == len(expected) == 20
    for name in expected[0]:
        assert [row[name] for row in found] == pytest.approx([row[name] for row in expected], abs=1e-3), (name, hint)


@pytest.mark.parametrize("order", get_args(SectionOrder))
def test_scores(order: str, tiny_backbone: Path, hint: str) -> None:
    expected, found = references()["scores"][order], scores(tiny_backbone)[order]
    assert [row["n_tokens"] for row in found] == [row["n_tokens"] for row in expected], hint
    assert [row["log_odds"] for row in found] == pytest.approx([row["log_odds"] for row in expected], abs=1e-4), hint
