"""Perplexity on neutral text: the model's own likelihood, intervals over passages and seeds, and the table."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from csrm.align.capability import Measured, Passage, compare_measures, measure_passages, project_passages
from csrm.align.policy import load_policy
from csrm.cli import main
from csrm.files import read_rows
from csrm.report.capability import capability_table
from csrm.settings import CapabilitySettings, MetricSettings

SETTINGS = MetricSettings(bootstrap=400)


def test_project_passages_are_distinct_and_long_enough() -> None:
    passages = read_rows(project_passages(), Passage)
    assert len(passages) >= 30 and len({p.id for p in passages}) == len({p.text for p in passages}) == len(passages)
    assert all(40 <= len(p.text.split()) <= 90 for p in passages)


def test_losses_are_those_of_the_model_itself(tiny_backbone: Path) -> None:
    passages = [Passage(id="a", text="The river runs."), Passage(id="b", text="A song for the guard at the gate.")]
    found = measure_passages(load_policy(tiny_backbone, dtype="float32"), passages)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_backbone), AutoTokenizer.from_pretrained(tiny_backbone)
    for passage, row in zip(passages, found, strict=True):
        ids = torch.tensor([tokenizer(passage.text, add_special_tokens=False).input_ids])
        assert row.id == passage.id and row.size == ids.shape[1] - 1
        assert row.value == pytest.approx(model(input_ids=ids, labels=ids).loss.item() * row.size, rel=1e-4)
    with pytest.raises(ValueError, match=r"passage 'c' has 0 tokens"):
        measure_passages(load_policy(tiny_backbone, dtype="float32"), [Passage(id="c", text="")])


def rows(values: list[float], measure: str = "perplexity", size: int = 10) -> list[Measured]:
    return [Measured(measure=measure, id=str(n), value=value, size=size) for n, value in enumerate(values)]


def test_ratio_and_intervals() -> None:
    """A policy that loses .1 nats on every token: every resample gives the same ratio, so that it has no interval."""
    nats = [10.0 * (1 + n % 3) for n in range(30)]
    before, worse, better = rows(nats), rows([x + 1.0 for x in nats]), rows([x - 1.0 for x in nats])
    found = compare_measures(before, [worse], SETTINGS, 0)["perplexity"]
    assert found["before"]["value"] == pytest.approx(math.exp(2.0))
    assert found["before"]["low"] < math.exp(2.0) < found["before"]["high"]
    assert found["ratio"]["value"] == pytest.approx(math.exp(0.1)) and found["ratio"]["low"] is None
    both = compare_measures(before, [worse, better], SETTINGS, 0)["perplexity"]["ratio"]
    assert both["value"] == pytest.approx(1.0)
    assert (both["low"], both["high"]) == (pytest.approx(math.exp(-0.1)), pytest.approx(math.exp(0.1)))
    assert both["n"] == 300 and both["n_passages"] == 30


def test_both_sides_are_of_the_same_texts() -> None:
    """In any order, but the same."""
    before = rows([1.0, 2.0, 4.0])
    turned = compare_measures(before, [before[::-1]], SETTINGS, 0)["perplexity"]["ratio"]
    assert turned["value"] == 1 and turned["low"] is None
    with pytest.raises(ValueError, match="perplexity was not measured on the same texts"):
        compare_measures(before, [before[:2]], SETTINGS, 0)


def test_table_prints_each_measure_once() -> None:
    size = {"n": 300, "n_passages": 30}
    after, before = ({"value": x, "low": x - 0.1, "high": x + 0.1, **size} for x in (2.0, 1.0))
    task = {side: {"value": 0.5, "low": 0.4, "high": 0.6, "n": 80} for side in ("after", "before", "difference")}
    measures = {"perplexity": {"after": after, "before": before, "ratio": after}, "arc_easy, acc": task}
    head: dict[str, Any] = {"config": "no-pets", "algorithm": "DPO", "reward": "csrm", "scale": "demo", "seeds": [0]}
    table, text = capability_table([{**head, "measures": measures}])
    assert len(table.splitlines()) == 7
    assert (
        "| no-pets | DPO | csrm | perplexity | 1.000 [0.900, 1.100] | 2.000 [1.900, 2.100] |" in text
        and "300 / 30" in text
    )
    assert "| arc_easy, acc | 0.500 [0.400, 0.600] |" in text and "| 80 |" in text


def evaluated(before: Path, after: list[Path], folder: Path, *words: str) -> int:
    (folder / "metrics.yaml").write_text("bootstrap: 50\n", encoding="utf-8")
    head = ["evaluate-capability", "--before", str(before), "--after", *map(str, after), "--algorithm", "dpo"]
    head += ["--settings", str(folder / "metrics.yaml"), "--scale", "smoke", "--config-id", "c", "--reward", "csrm"]
    return main([*head, *words, "--output", str(folder / "out.json")])


def test_command_needs_a_file_a_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated(tmp_path / "p", [tmp_path / "a"], tmp_path, "--seeds", "0", "1") != 0
    assert "give one a seed" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_command_compares_a_policy_with_its_adapters(tiny_backbone: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    (tmp_path / "capability.yaml").write_text("tasks: []\n", encoding="utf-8")
    words = ["measure-capability", "--policy", str(tiny_backbone), "--settings", str(tmp_path / "capability.yaml")]
    assert main([*words, "--output", str(tmp_path / "before.jsonl")]) == 0
    assert main([*words, "--adapter", str(tmp_path / "adapter"), "--output", str(tmp_path / "after.jsonl")]) == 0
    assert evaluated(tmp_path / "before.jsonl", [tmp_path / "after.jsonl"], tmp_path) == 0
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    perplexity = document["measures"]["perplexity"]
    assert document["kind"] == "capability" and perplexity["before"]["n_passages"] == 32
    assert perplexity["ratio"]["value"] == pytest.approx(perplexity["after"]["value"] / perplexity["before"]["value"])
    assert perplexity["ratio"]["value"] != 1


def test_differences_of_task_values_are_paired() -> None:
    """Documents that alignment leaves alone take no part in the interval of the difference."""
    before = rows([float(n % 2) for n in range(40)], "arc_easy, acc", size=1)
    found = compare_measures(before, [before], SETTINGS, 0)["arc_easy, acc"]
    assert found["difference"]["value"] == 0 and found["difference"]["low"] is None
    assert found["before"]["value"] == found["after"]["value"] == 0.5 and found["before"]["low"] < 0.5


def test_harness_tasks_give_a_value_a_document(tiny_backbone: Path, tmp_path: Path) -> None:
    """The harness itself on a task in a file; its package is optional."""
    pytest.importorskip("lm_eval", reason="optional: pip install -c constraints.txt -e '.[tasks]' to test it")
    from csrm.align.harness import measure_tasks

    lines = [
        {"question": f"The {word}", "choices": ["runs.", "sings."], "answer": n % 2} for n, word in enumerate("abc")
    ]
    (tmp_path / "rows.json").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    task = {
        "task": "toy_choice",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.json")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (tmp_path / "toy_choice.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    settings = CapabilitySettings(tasks=["toy_choice"], task_folder=str(tmp_path), limit=2)
    values = measure_tasks(load_policy(tiny_backbone), settings, 0)
    assert [(row.measure, row.id) for row in values] == [("toy_choice, acc", "0"), ("toy_choice, acc", "1")]
    assert {row.value for row in values} <= {0.0, 1.0}


def test_missing_harness_names_the_package(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from csrm.align import harness

    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="need lm-evaluation-harness: pip install -c constraints"):
        harness.measure_tasks(load_policy(tiny_backbone), CapabilitySettings(tasks=["arc_easy"]), 0)
