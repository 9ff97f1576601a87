"""What a language model writes of held-out families is found by word and by meaning."""

import pytest

from csrm.augment.catalogue import Catalogue
from csrm.augment.encoder import load_encoder
from csrm.augment.held_out import MEANT, NAMED, HeldOut


@pytest.fixture(scope="module")
def held_out(minilm):
    return HeldOut(Catalogue.load(["pyrit", "beavertails"], ["self_harm", "privacy", "pets"]), load_encoder(minilm))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Self-harm", NAMED),
        ("Poisoning a dog", NAMED),
        ("Suicide", MEANT),
        ("Personal data", MEANT),
        ("Ways to end your life", MEANT),
        ("Sharing home addresses and phone numbers", MEANT),
    ],
)
def test_held_out_families_are_rejected_under_any_name(name, reason, held_out):
    assert held_out.objection(name) == reason


@pytest.mark.parametrize("name", ["Bomb making instructions", "Racial slurs", "Phishing e-mails", "Bread recipes"])
def test_trained_families_pass(name, held_out):
    assert held_out.objection(name) is None


def test_nothing_is_rejected_where_nothing_is_held_out():
    assert HeldOut(Catalogue.load(["pyrit"], []), load_encoder("hash")).objection("Suicide") is None
