"""The cost of training against hand computation, against a real model, and as printed."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from csrm import cost
from csrm.cli import main
from csrm.data.tables import load_models
from csrm.files import write_rows
from csrm.settings import TrainSettings, load
from csrm.speed import Speed, measured_utilisation
from csrm.train.dataset import prepare
from csrm.work import Work, planned_work, work_from_groups, work_from_settings

CONFIG = Path(__file__).parents[2] / "config"
SHAPES = cost.load_architectures(CONFIG)
LLAMA = SHAPES["llama-3.1-8b-instruct"]
FULL = TrainSettings(dtype="bfloat16", device_groups=8, batch_groups=128)


def test_parameters_are_the_published_counts() -> None:
    """Llama-3.1-8B 8,030,261,248; Mistral-7B 7,241,732,096; SmolLM2-135M 134,515,008."""
    assert LLAMA.parameters == 8_030_261_248
    assert SHAPES["mistral-7b-instruct-v0.1"].parameters == 7_241_732_096
    assert SHAPES["smollm2-135m-instruct"].parameters == 134_515_008


def test_every_language_model_has_a_shape() -> None:
    models = load_models(CONFIG).items()
    assert set(SHAPES) == {name for name, model in models if model.format != "reward"} - {"minilm"}


def test_operations_of_llama_by_hand() -> None:
    """A layer: 2 x 4096 x 4096 + 2 x 4096 x 1024 + 3 x 4096 x 14336 = 218,103,808, of which K and V are 8,388,608."""
    late = 218_103_808 - 8_388_608  # of the last layer, at answers only
    matrices = 32 * 218_103_808 - late
    attention = 4 * 4096 * 1000
    for changes, linear, mixing in (({}, 6, 3), ({"gradient_checkpointing": True}, 8, 4), ({"method": "lora"}, 4, 3)):
        settings = FULL.model_copy(update=changes)
        expected = linear * matrices + mixing * 31 * attention
        assert cost.operations_per_token(LLAMA, settings, 1000) == expected
        vocabulary = (4 if "method" in changes else 6) * 128_256 * 4096
        assert cost.operations_per_answer(LLAMA, settings, 1000) == linear * late + mixing * attention + vocabulary
    tied = SHAPES["smollm2-135m-instruct"]
    late = 2 * 576 * 576 + 3 * 576 * 1536
    assert cost.operations_per_answer(tied, FULL, 0) == 6 * late + 4 * 49_152 * 576


def test_time_and_memory_of_llama_by_hand() -> None:
    """10^9 tokens in rows of 1,000 on 8 H100 at 40 %: 42.14 10^18 operations, 29.6 hours; 16 GiB of states a device."""
    settings = FULL.model_copy(update={"gradient_checkpointing": False})
    found = cost.training_cost(LLAMA, settings, Work(1e9, 1000, 0, ""), Speed(8, 989, 0.4))
    assert found.operations == pytest.approx(42.141e18, rel=1e-4)
    assert found.device_hours == pytest.approx(42.141e18 / (0.4 * 989e12) / 3600, rel=1e-4)
    assert found.device_hours == pytest.approx(29.59, abs=0.01)
    trained = 8_030_261_248 - 128_256 * 4096
    assert found.weights == 4 * 8_030_261_248 / 8 + 2 * 2 * 218_103_808
    assert (found.gradients, found.optimizer) == (4 * trained / 8, 8 * trained / 8)
    layer, last = 6 * 4096 + 2 * (32 + 8) * 128 + 4 * 14336, 3 * 4096 + 2 * 8 * 128
    assert found.activations == 2 * 8 * 1000 * (31 * layer + last)
    assert found.memory == found.weights + found.gradients + found.optimizer + found.activations
    alone = cost.training_cost(LLAMA, settings, Work(1e9, 1000, 0, ""), Speed(1, 989, 0.4))
    assert alone.weights == (4 + 2) * 8_030_261_248


@pytest.mark.parametrize("method", ["full", "lora"])
def test_trained_parameters_are_those_of_the_trainer(method: Any, tiny_backbone: Path) -> None:
    from csrm.model.device import load_model
    from csrm.train.trainer import trainable

    settings = TrainSettings(method=method, lora_rank=4)
    model, _ = load_model(tiny_backbone, torch.float32)
    shape = cost.architecture_of(model.config)
    assert shape.parameters == model.num_parameters()
    trained = sum(p.numel() for p in trainable(model, settings).parameters() if p.requires_grad)
    assert cost.trained_parameters(shape, settings) == trained


def test_activations_are_those_that_autograd_keeps() -> None:
    """Bytes a real model keeps for its backward pass: of four layers, and the growth from two, within 2 %."""
    kept, estimates = [], []
    for layers in (2, 4):
        model = llama(layers)
        kept.append(kept_bytes(model, rows=3, row=200))
        shape = cost.architecture_of(model.config)
        estimates.append(cost.activation_bytes(shape, TrainSettings(dtype="float32"), 3, 200))
    assert kept[1] == pytest.approx(estimates[1], rel=0.02)
    assert kept[1] - kept[0] == pytest.approx(estimates[1] - estimates[0], rel=0.02)


def llama(layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 8, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=100, num_hidden_layers=layers, tie_word_embeddings=True, **sizes)
    model: Any = LlamaForCausalLM(config).train()
    model.get_input_embeddings().weight.requires_grad_(False)
    return model


def kept_bytes(model: Any, rows: int, row: int) -> int:
    from csrm.model.tree import build_tree
    from csrm.train.tree_attention import use_tree_attention
    from csrm.train.tree_row import lay_out, row_logits

    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    use_tree_attention(model)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        row_logits(model, lay_out([build_tree([[5] * row])] * rows))
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


def test_settings_alone_give_an_upper_bound() -> None:
    paper = load(CONFIG, {"scale": "paper"}).train
    work = work_from_settings(paper)
    assert (work.tokens, work.row) == (7200 * 128 * 8192, 8192)
    assert work_from_settings(paper, 700).tokens == 7200 * 128 * 700


def groups() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for n in range(30):
        source = ("base", "cca", "sa")[n % 3]
        turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The song. " * (n + 1)}]
        branches = [{"config": [{"name": name}], "label": "safe", "source": source} for name in "ab"]
        made.append({"id": str(n), "prompt_id": str(n), "messages": turns, "branches": branches})
    return made


def test_groups_are_counted_as_training_computes_them(tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    write_rows(tmp_path / "groups.jsonl", groups())
    settings = TrainSettings(steps=6, batch_groups=4, device_groups=2)
    work = work_from_groups(settings, [tmp_path / "groups.jsonl"], tiny_backbone, 0, sample=1000)
    examples, _ = prepare(tiny_scorer.tokenizer, [tmp_path / "groups.jsonl"], settings, 0)
    assert (work.tokens, work.answers) == (sum(len(example.tree) for example in examples), 48)
    sampled = work_from_groups(settings, [tmp_path / "groups.jsonl"], tiny_backbone, 0, sample=8)
    assert sampled.answers == 48 and sampled.tokens == pytest.approx(work.tokens, rel=0.3)


@pytest.fixture
def run_with_groups(tmp_path: Path) -> Any:
    """A run at the paper scale whose groups are made, its steps and inputs made small."""
    settings = load(CONFIG, {"scale": "paper", "outdir": str(tmp_path)})
    folder = tmp_path / "augmented/train"
    folder.mkdir(parents=True)
    for source in ("base", "cca", "sa", "response"):
        rows = [g for g in groups() if g["branches"][0]["source"] == source]
        rows = rows or [{**g, "branches": [{**b, "source": "response"} for b in g["branches"]]} for g in groups()[:4]]
        write_rows(folder / f"{source}.jsonl", rows)
    train = settings.train.model_copy(update={"steps": 4, "variants": ["csrm"]})
    return settings.model_copy(update={"train": train})


def test_the_price_counts_the_groups_that_a_run_has_made(run_with_groups: Any, tiny_backbone: Path) -> None:
    from csrm.variants import variant_settings

    draws = {"train": run_with_groups.augment}
    (chosen,) = variant_settings({"csrm": {}}, run_with_groups.train).values()
    work = planned_work(run_with_groups, draws, lambda model: str(tiny_backbone))(chosen)
    files = [run_with_groups.outdir + f"/augmented/train/{s}.jsonl" for s in ("base", "cca", "sa", "response")]
    whole = work_from_groups(chosen, [Path(f) for f in files], tiny_backbone, 0, sample=512)
    assert work.tokens == pytest.approx(whole.tokens, rel=0.2) and work.answers == whole.answers
    assert "counted on 64 random groups" in work.source
    assert planned_work(run_with_groups, draws, lambda model: "nowhere")(chosen).source.startswith("8192 tokens")
    Path(files[1]).write_text("")
    assert planned_work(run_with_groups, draws, lambda model: str(tiny_backbone))(chosen).tokens == 4 * 128 * 8192


def manifest(folder: Path, **notes: Any) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"notes": notes}))
    return path


def test_utilisation_is_measured_from_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8 devices of 500 TFLOP/s that reach 10^15 together: a quarter of the peak."""
    made = manifest(tmp_path, flops_per_second=1e15, processes=8)
    assert measured_utilisation(made, 500) == 0.25
    options = ["--config-dir", str(CONFIG), "--scale", "paper", "--variants", "csrm", "--tflops", "500"]
    assert main(["cost", *options, "--manifest", str(made)]) == 0
    assert f"1 device of 500 TFLOP/s at 25 % utilisation (measured, {made})" in capsys.readouterr().out
    assert main(["cost", *options, "--utilisation", "0.3"]) == 0
    assert "at 30 % utilisation (as given)" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--tflops must be the peak of the device"):
        measured_utilisation(made, 100)
    with pytest.raises(ValueError, match=r"has no flops_per_second: give the manifest\.json"):
        measured_utilisation(manifest(tmp_path, rows=3), 500)


def test_the_command_prints_one_line_a_variant(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config-dir", str(CONFIG), "--scale", "paper", "--devices", "8"]
    assert main(["cost", *options, "--variants", "csrm", "csrm-qwen3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "8192 tokens a group" in lines[0] and "8 devices of 989 TFLOP/s at 40 % utilisation (assumed)" in lines[1]
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| csrm")]
    assert [row[0] for row in cells] == ["csrm", "csrm-qwen3"]
    assert cells[0][1] == "8030.3M" and cells[0][2] == "7.55e+09"
    assert float(cells[0][4]) > float(cells[1][4]) > 0
    total = lines[-1].strip("| ").split(" | ")
    assert total[0] == "all together" and total[2] == "1.51e+10"
    assert float(total[4]) == pytest.approx(float(cells[0][4]) + float(cells[1][4]), rel=5e-3)  # three digits each


@pytest.mark.parametrize(
    ("scale", "tokens", "said"),
    [
        ("paper", None, r"8192 tokens a group \(train.max_length: an upper bound if (.*)\), 2 answers a group"),
        ("demo", None, r"512 tokens a conversation \(train.max_length: no upper bound"),
        ("paper", 700, r"700 tokens a group \(as given\)"),
    ],
)
def test_the_price_says_whether_it_is_a_bound(scale: str, tokens: int | None, said: str) -> None:
    settings = load(CONFIG, {"scale": scale})
    text = cost.price(settings, CONFIG, Speed(), lambda chosen: work_from_settings(chosen, tokens))
    assert re.search(f"training of the reward models at scale {scale}: {said}", text)


def test_a_cut_backbone_is_priced_as_what_is_left_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--config-dir", str(CONFIG), "--variants", "csrm", "csrm-layers-10"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| csrm")]
    whole, cut = (float(line.strip("| ").split(" | ")[1].rstrip("M")) for line in lines)
    assert whole - cut == pytest.approx(20 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536 + 2 * 576) / 1e6, abs=0.2)


def test_wrong_overrides_of_augmentation_have_no_price(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(CONFIG, tmp_path / "config")
    (folder / "variants.yaml").write_text("csrm: {}\nodd: {augment: {bank_sise: 3}}\n")
    assert main(["cost", "--config-dir", str(folder), "--variants", "csrm"]) == 0
    assert main(["cost", "--config-dir", str(folder), "--variants", "csrm", "odd"]) == 1
    assert "variant 'odd': bank_sise: unknown key, perhaps 'bank_size'" in capsys.readouterr().err


def test_a_backbone_without_shape_is_answered_with_the_fix() -> None:
    with pytest.raises(ValueError, match=r"'gpt-5' is not in config/architectures.tsv(.|\n)*--backbone"):
        cost._listed_shape(SHAPES, "gpt-5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "0"], "give 1 device or more"),
        (["--utilisation", "40"], "a share of the peak above 0 and up to 1"),
        (["--groups", "x.jsonl"], "--groups needs --backbone"),
        (["--groups", "x.jsonl", "--backbone", "nowhere"], "got nowhere"),
    ],
)
def test_what_cannot_be_priced_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    from csrm.cli import main

    assert main(["cost", "--config-dir", str(CONFIG), *words]) == 1
    assert message in capsys.readouterr().err
