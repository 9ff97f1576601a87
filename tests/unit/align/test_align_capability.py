"""Perplexity on neutral text: the model's own likelihood, intervals over passages and seeds, and the table."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from csrm.align.capability import Losses, Passage, compare_losses, passage_losses, project_passages
from csrm.align.policy import load_policy
from csrm.cli import main
from csrm.files import read_rows
from csrm.report.capability import capability_table
from csrm.settings import MetricSettings

SETTINGS = MetricSettings(bootstrap=400)


def test_project_passages_are_distinct_and_long_enough() -> None:
    passages = read_rows(project_passages(), Passage)
    assert len(passages) >= 30 and len({p.id for p in passages}) == len({p.text for p in passages}) == len(passages)
    assert all(40 <= len(p.text.split()) <= 90 for p in passages)


def test_losses_are_those_of_the_model_itself(tiny_backbone: Path) -> None:
    passages = [Passage(id="a", text="The river runs."), Passage(id="b", text="A song for the guard at the gate.")]
    found = passage_losses(load_policy(tiny_backbone, dtype="float32"), passages)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_backbone), AutoTokenizer.from_pretrained(tiny_backbone)
    for passage, nats, tokens in zip(passages, *found, strict=True):
        ids = torch.tensor([tokenizer(passage.text, add_special_tokens=False).input_ids])
        assert tokens == ids.shape[1] - 1
        assert nats == pytest.approx(model(input_ids=ids, labels=ids).loss.item() * tokens, rel=1e-4)
    with pytest.raises(ValueError, match=r"passage 'c' has 0 tokens"):
        passage_losses(load_policy(tiny_backbone, dtype="float32"), [Passage(id="c", text="")])


def test_ratio_and_intervals() -> None:
    """A policy that loses .1 nats on every token: its ratio is known without doubt, its perplexity is not."""
    before = Losses([10.0 * (1 + n % 3) for n in range(30)], [10] * 30)
    worse = Losses([nats + 1.0 for nats in before.nats], before.tokens)
    found = compare_losses(before, [worse], SETTINGS, 0)
    assert found["before"]["value"] == pytest.approx(math.exp(2.0))
    assert found["before"]["low"] < math.exp(2.0) < found["before"]["high"]
    assert found["ratio"]["value"] == pytest.approx(math.exp(0.1))
    assert found["ratio"]["low"] == pytest.approx(math.exp(0.1)) and found["ratio"]["high"] == pytest.approx(
        math.exp(0.1)
    )
    better = Losses([nats - 1.0 for nats in before.nats], before.tokens)
    both = compare_losses(before, [worse, better], SETTINGS, 0)["ratio"]
    assert both["value"] == pytest.approx(1.0)
    assert (both["low"], both["high"]) == (pytest.approx(math.exp(-0.1)), pytest.approx(math.exp(0.1)))
    assert both["n"] == 300 and both["n_passages"] == 30


def test_table_prints_each_policy_once() -> None:
    measure = {"value": 1.0, "low": 0.9, "high": 1.1, "n": 300, "n_passages": 30}
    document: dict[str, Any] = {
        "config": "no-pets",
        "algorithm": "DPO",
        "reward": "csrm",
        "scale": "demo",
        "seeds": [0],
    }
    table, text = capability_table([{**document, "perplexity": dict.fromkeys(("before", "after", "ratio"), measure)}])
    assert len(table.splitlines()) == 4
    assert "| no-pets | DPO | csrm | 1.000 [0.900, 1.100] |" in text and "300 / 30" in text


def test_command_needs_an_adapter_a_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.yaml").write_text("{}", encoding="utf-8")
    words = ["evaluate-capability", "--policy", "p", "--adapters", "a", "--seeds", "0", "1", "--algorithm", "dpo"]
    words += ["--settings", str(tmp_path / "metrics.yaml"), "--scale", "demo", "--config-id", "c", "--reward", "csrm"]
    assert main([*words, "--output", str(tmp_path / "out.json")]) != 0
    assert "give one a seed" in capsys.readouterr().err
    assert not json.dumps([str(path) for path in tmp_path.glob("out*")]).count("out.json")
