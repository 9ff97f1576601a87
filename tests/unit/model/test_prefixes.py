"""Configurations kept across calls: the same scores, less computed, bounded memory, and no trust in files."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from csrm.cli import main
from csrm.configs.safety_config import SafetyConfig
from csrm.model.path import Prefix
from csrm.model.prefixes import PrefixCache, identity
from csrm.model.scorer import CSRM
from csrm.settings import ScoreSettings

CONFIGS = [SafetyConfig.from_data([{"name": n, "guideline": f"No {n} at all."}]) for n in ("Pets", "Alcohol", "Locks")]
TURNS = [
    [{"role": "user", "content": "well?"}, {"role": "assistant", "content": "a gin and tonic"}],
    [{"role": "system", "content": "be brief"}, {"role": "assistant", "content": "under the mat"}],
]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Tokens of every pass."""
    from csrm.model.decoder import Decoder

    sizes: list[int] = []
    run = Decoder.run

    def counted(self: Decoder, pieces: Any) -> Any:
        sizes.append(sum(len(piece.tokens) for piece in pieces))
        return run(self, pieces)

    monkeypatch.setattr(Decoder, "run", counted)
    yield sizes


def scorer(folder: Path) -> CSRM:
    return CSRM.from_pretrained(folder, section_order="config-first")


def numbers(scores: list[list[Any]]) -> list[float]:
    return [score.log_odds for row in scores for score in row]


def test_kept_configurations_give_the_same_scores_for_less(tiny_backbone: Path, computed: list[int]) -> None:
    model = scorer(tiny_backbone)
    cold = numbers(model.score_many(TURNS, CONFIGS))
    needed = sum(computed)
    for config in CONFIGS:
        model.warm(config)
    spent = sum(computed)
    assert numbers(model.score_many(TURNS, CONFIGS)) == pytest.approx(cold, abs=1e-6)
    assert 0 < sum(computed) - spent < 0.8 * needed
    spent = sum(computed)
    model.warm(CONFIGS[0])
    assert sum(computed) == spent


def test_another_process_reads_them_from_disk(tiny_backbone: Path, tmp_path: Path, computed: list[int]) -> None:
    cold = numbers(scorer(tiny_backbone).score_many(TURNS, CONFIGS))
    first = CSRM.from_pretrained(tiny_backbone, section_order="config-first", cache_dir=tmp_path)
    first.score_many(TURNS, CONFIGS)
    assert len(list(tmp_path.iterdir())) == 3
    computed.clear()
    second = CSRM.from_pretrained(tiny_backbone, section_order="config-first", cache_dir=tmp_path)
    assert numbers(second.score_many(TURNS, CONFIGS)) == pytest.approx(cold, abs=1e-6)
    assert len(computed) == 1, "a configuration was computed again"


def kept_bytes(folder: Path) -> int:
    """Size of the largest of `CONFIGS` as it is kept."""
    model = scorer(folder)
    for config in CONFIGS:
        model.warm(config)
    return max(prefix.states.nbytes for prefix in model.backend.prefixes.held)  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", [0, 1, 2])
def test_a_call_computes_each_configuration_once_whatever_memory_holds(
    room: int, tiny_backbone: Path, tmp_path: Path, computed: list[int]
) -> None:
    limit = room * kept_bytes(tiny_backbone)
    found = []
    for name, given in (("ample", {}), ("tight", {"cache_bytes": limit, "token_budget": 64})):
        order: Any = {"section_order": "config-first", "cache_dir": tmp_path / name}
        computed.clear()
        model = CSRM.from_pretrained(tiny_backbone, **order, **given)
        found.append((numbers(model.score_many(TURNS, [*CONFIGS, CONFIGS[0]])), sum(computed)))
    assert found[0] == found[1] and max(computed) <= 64
    assert len(model.backend.prefixes.held) == max(1, room)  # type: ignore[attr-defined]


def test_groups_fit_and_what_is_in_memory_comes_first() -> None:
    cache = PrefixCache(limit=40)
    cache.keep(None, Prefix((7,) * 3, torch.zeros(1)))
    long, short = [1] * 9, [2] * 2
    assert cache.groups([short, long, [7] * 3, short, [3] * 2, long], 8) == [[2], [1, 5], [0, 3, 4]]
    assert cache.groups([], 8) == []


@pytest.mark.parametrize("harm", ["cut", "flip", "swap", "text"])
def test_a_damaged_file_is_told_and_written_anew(
    harm: str, tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> list[float]:
        model = scorer(tiny_backbone)
        model.keep_configs(tmp_path)
        return numbers(model.score_many(TURNS, CONFIGS[:2]))

    whole = run()
    one, other = sorted(tmp_path.iterdir())
    data = one.read_bytes()
    changed = {
        "cut": data[:-100],
        "flip": data[:-40] + bytes([data[-40] ^ 64]) + data[-39:],
        "swap": other.read_bytes(),
        "text": b"not a tensor",
    }
    one.write_bytes(changed[harm])
    with caplog.at_level(logging.WARNING):
        assert run() == whole
    assert str(one) in caplog.text and "ignored" in caplog.text
    assert one.read_bytes() == data


def test_other_weights_or_number_formats_have_other_files(tiny_backbone: Path) -> None:
    model = scorer(tiny_backbone).model
    before = identity(model)
    assert identity(scorer(tiny_backbone).model) == before
    assert identity(model.to(torch.bfloat16)) != before
    model.to(torch.float32).model.layers[1].mlp.up_proj.weight.data[0, 0] += 1e-3
    assert identity(model) != before


def test_the_least_recently_used_leaves_first() -> None:
    cache = PrefixCache(limit=3 * 4 * 10)
    made = [Prefix((n,), torch.zeros(10)) for n in range(5)]
    for prefix in made[:3]:
        cache.keep(None, prefix)
    cache.used([made[0]])
    cache.keep(None, made[3])
    assert [prefix.tokens for prefix in cache.held] == [(2,), (0,), (3,)]
    cache.keep(None, Prefix((9,), torch.zeros(1000)))
    assert [prefix.tokens for prefix in cache.held] == [(9,)] and cache.find(None, (0,)) is None


def test_orders_in_which_nothing_can_be_kept_say_so(tiny_backbone: Path) -> None:
    model = CSRM.from_pretrained(tiny_backbone, section_order="config-last")
    with pytest.raises(ValueError, match=r"section_order config-last.*train with train.section_order config-first"):
        model.warm(CONFIGS[0])
    with pytest.raises(ValueError, match="before the configuration"):
        model.keep_configs()


def test_the_command_keeps_policies(root: Path, tiny_backbone: Path, tmp_path: Path) -> None:
    import shutil

    from csrm.model.scorer import model_card
    from csrm.settings import TrainSettings

    shutil.copytree(tiny_backbone, tmp_path / "m")
    card = model_card(TrainSettings(section_order="config-first"), "v")
    (tmp_path / "m" / "csrm.json").write_text(json.dumps(card), encoding="utf-8")
    asked = ["score", str(root / "src/csrm/data/project/example_conversations.jsonl"), "--model", str(tmp_path / "m")]
    asked += ["--config", str(root / "config/safety_configs/example.yaml"), "--output"]
    assert main([*asked, str(tmp_path / "cold")]) == 0
    for name in ("first", "again"):
        assert main([*asked, str(tmp_path / name), "--cache-dir", str(tmp_path / "kept")]) == 0
    cold, first, again = (
        [json.loads(line)["log_odds"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("cold", "first", "again")
    )
    assert first == again == pytest.approx(cold, abs=1e-6) and len(list((tmp_path / "kept").iterdir())) == 1


def test_a_server_keeps_by_itself(tiny_scorer: Any) -> None:
    class Elsewhere:
        def log_odds(self, prompts: Any, progress: bool = False) -> list[float]:
            return [0.0 for _ in prompts]

    model = CSRM(Elsewhere(), tiny_scorer.tokenizer, "config-first", ScoreSettings().max_length, tiny_scorer.verbalizer)
    with pytest.raises(ValueError, match="a server keeps them by itself"):
        model.keep_configs()
