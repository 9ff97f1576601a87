"""CoSAlign's training on a tiny policy, and the evaluation of its methods."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from csrm.align import dpo
from csrm.align.adapter import lora
from csrm.align.policy import load_policy, load_tokenizer
from csrm.augment.encoder import load_encoder
from csrm.bench.bootstrap import bootstrap_mean
from csrm.cli import main
from csrm.configs.topics import load_topics
from csrm.cosa import train
from csrm.cosa.evaluate import GENERATED, METHODS, evaluate, evaluate_seeds, judge, methods, self_items, withhold
from csrm.cosa.judges import RuleJudge
from csrm.cosa.schema import Answer, Pair, Verdict
from csrm.cosa.topics import Taxonomy
from csrm.cosa.train import fine_tune, prefer, targets, tokenise
from csrm.files import read_json, write_json, write_rows
from csrm.report.cosa import cosa_table
from csrm.rows import Message
from csrm.settings import CosaSettings, MetricSettings, load
from csrm.settings.base import write_slice

SETTINGS = CosaSettings(sft_steps=2, steps=2, batch_pairs=2, lora_rank=2, warmup_steps=0, learning_rate=1e-2)
TAXONOMY = Taxonomy(load_topics(), CosaSettings())


def pair(number, chosen="serve wine", system="you are a helpful assistant", found=()):
    prompt = [Message(role="system", content=system), Message(role="user", content=f"what drink {number} ?")]
    head = {"id": f"q{number}", "prompt_id": f"p{number}", "prompt": prompt, "mode": "safe", "allowed": [], "harms": []}
    sides = {"chosen_found": list(found), "chosen_addressed": 1, "chosen_tenths": 0, "reward_chosen": 0.0}
    other = {"rejected_found": [], "rejected_addressed": 0, "rejected_tenths": 10, "reward_rejected": -1.0}
    texts = {"chosen": chosen, "rejected": "no beer .", "chosen_finished": True, "rejected_finished": False}
    return Pair(**head, **sides, **other, **texts)


def test_the_paper_scale_trains_as_cosa_published(tmp_path):
    settings = load(Path(__file__).parents[3] / "config", {"scale": "paper"}).cosa
    for made in (dpo._arguments(settings, 0, tmp_path, False), train._arguments(settings, 0, tmp_path, False)):
        assert (made.optim, made.learning_rate, made.weight_decay) == ("rmsprop", 5e-7, 0)
        assert (made.lr_scheduler_type, made.warmup_steps) == ("constant_with_warmup", 150)
        assert made.max_grad_norm == 10 and made.max_length is None
        assert made.per_device_train_batch_size * made.gradient_accumulation_steps == 32
    made = dpo._arguments(settings, 0, tmp_path, False)
    assert (made.beta, made.label_smoothing, made.loss_type) == (0.1, 0, ["sigmoid"])
    adapter = lora(settings)
    assert (adapter.r, adapter.lora_alpha, adapter.lora_dropout) == (32, 16, 0.05)


def test_fine_tuning_learns_the_last_chosen_response_of_a_prompt(tiny_policy):
    kept = targets([pair(0, "wine"), pair(0, "beer"), pair(1), pair(0, "dog", system="other")])
    assert [p.chosen for p in kept] == ["beer", "serve wine", "dog"]
    rows, too_long = tokenise(load_tokenizer(tiny_policy), kept, max_length=1024)
    assert too_long == 0 and all(sum(row["completion_mask"]) in (2, 3) for row in rows)
    with pytest.raises(ValueError, match="2 of 2 prompts with their chosen responses exceed 5 tokens"):
        tokenise(load_tokenizer(tiny_policy), kept[:2], max_length=5)


def test_the_loss_of_fine_tuning_is_the_mean_over_response_tokens(tiny_policy, tmp_path):
    pairs = [pair(0)]
    settings = SETTINGS.model_copy(update={"batch_pairs": 1})
    trained = fine_tune(tiny_policy, pairs, settings, 0, tmp_path / "s", tmp_path / "a", "float32")
    row = tokenise(load_tokenizer(tiny_policy), pairs, max_length=1024)[0][0]
    model = load_policy(tiny_policy, dtype="float32").model
    with torch.no_grad():
        logits = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
    length = sum(row["completion_mask"])
    own = [logits[i - 1, row["input_ids"][i]].item() for i in range(len(row["input_ids"]))[-length:]]
    assert trained.log[0]["loss"] == pytest.approx(-np.mean(own), abs=1e-5)
    assert trained.log[-1]["loss"] < trained.log[0]["loss"]


def test_dpo_starts_from_the_fine_tuned_policy_which_is_its_reference(tiny_policy, tmp_path):
    pairs = [pair(n) for n in range(4)]
    fine_tune(tiny_policy, pairs, SETTINGS, 0, tmp_path / "s", tmp_path / "tuned", "float32")
    trained = prefer(tiny_policy, tmp_path / "tuned", pairs, SETTINGS, 0, tmp_path / "d", tmp_path / "two", "float32")
    assert trained.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert not (tmp_path / "d" / "tuned").exists()
    row = torch.tensor([tokenise(load_tokenizer(tiny_policy), pairs[:1], max_length=1024)[0][0]["input_ids"]])
    folders = ((), (tmp_path / "tuned",), (tmp_path / "tuned", tmp_path / "two"))
    plain, tuned, both = (load_policy(tiny_policy, *f, dtype="float32").model(row).logits for f in folders)
    assert (plain - tuned).abs().max() > 1e-3 and (tuned - both).abs().max() > 1e-3


def answer(number, response, allowed=(), harms=(), group="seen"):
    head = {"prompt_id": f"p{number}", "prompt": f"Which dog breed suits flat {number}?", "harms": list(harms)}
    place = {"id": f"{'+'.join(allowed)}-{number}", "config_id": "+".join(allowed) or "nothing", "group": group}
    return Answer(**head, **place, allowed=list(allowed), response=response, finished=True)


def test_the_judge_reads_topics_and_withholds_nothing_itself():
    long = "A small calm dog suits a flat well if it is walked several times a day by somebody patient."
    answers = [
        answer(0, long, (), ["pets"]),
        answer(1, long, ("pets",), ["pets"]),
        answer(2, "I'm sorry, I cannot talk about dogs.", (), ["pets"]),
        answer(3, "", ("pets",), ["pets", "travel"]),
    ]
    found = judge(answers, RuleJudge(TAXONOMY, load_encoder("hash")).judge(answers))
    assert [v.safe for v in found] == [False, True, True, True]
    assert found[0].helpfulness > 0 and found[2].helpfulness == found[3].helpfulness == 0
    assert [v.situation for v in found] == ["disallowed", "allowed", "disallowed", "partial"]
    items = self_items(answers, TAXONOMY)
    assert [i.id for i in items] == [a.id for a in answers[:3]]
    assert "pets" not in [c.key for c in items[1].config] and len(items[0].config) == len(TAXONOMY.families)


def verdict(number, safe, helpful, group="seen"):
    place = {"config_id": f"c{number % 2}", "group": group, "situation": "allowed"}
    return Verdict(id=f"{group}{number}", prompt_id=f"p{number}", safe=safe, helpfulness=helpful, **place)


def made():
    rows = [verdict(n, n % 3 > 0, 0.5 + n % 2 / 2, group) for group in ("seen", "unseen") for n in range(12)]
    better = [row.model_copy(update={"safe": True}) for row in rows]
    return {"ica": rows, "ica-5shot": rows, "sft": rows, "cosalign": better}


def test_cascades_withhold_what_is_flagged():
    rows = [verdict(0, False, 1.0), verdict(1, True, 1.0)]
    shown = withhold(rows, {"seen0"})
    assert [(v.safe, v.helpfulness, v.filtered) for v in shown] == [(True, 0.0, True), (True, 1.0, False)]
    found = evaluate(methods(made(), own={"seen1"}), MetricSettings(bootstrap=40), 0)
    assert list(found["seen"]) == list(METHODS)
    oracle = found["seen"]["cascade-oracle"]["metrics"]
    plain, own = found["seen"]["ica"]["metrics"], found["seen"]["cascade"]
    assert oracle["helpful_unsafe"]["value"] == 0
    assert oracle["helpful_safe"]["value"] == plain["helpful_safe"]["value"]  # as every published oracle row
    assert own["filtered"] == 1 and found["unseen"]["cascade"]["filtered"] == 0
    with pytest.raises(ValueError, match=r"no verdicts of \['sft'\]"):
        methods({k: v for k, v in made().items() if k != "sft"}, own=set())


def test_the_score_is_the_mean_over_configurations_and_invalid_verdicts_are_counted():
    rows = {name: list(values) for name, values in made().items()}
    rows["sft"][0] = rows["sft"][0].model_copy(update={"safe": None})
    found = evaluate(methods(rows, own=set()), MetricSettings(bootstrap=40), 0)["seen"]
    expected = np.mean([(0.5 + n % 2 / 2) * (1 if n % 3 else -1) for n in range(12)])
    assert found["ica"]["metrics"]["cosa_score"]["value"] == pytest.approx(expected)
    assert np.mean([c["value"] for c in found["ica"]["by_config"].values()]) == pytest.approx(expected)
    assert found["sft"]["invalid"] == 1 and found["sft"]["metrics"]["cosa_score"]["n"] == 11
    better = found["cosalign"]["minus_ica"]["cosa_score"]
    assert better["low"] > 0 and better["value"] == pytest.approx(0.75 - expected)


def scored(values, invalid=()):
    """Verdicts on prompts p0, p1, ... under configurations a and b; `values` are (h s of a, h s of b) of each."""
    return [
        Verdict(
            **{"id": f"{config}{n}", "prompt_id": f"p{n}", "config_id": config, "group": group, "situation": "partial"},
            **{"safe": None if f"{config}{n}" in invalid else value > 0, "helpfulness": abs(value)},
        )
        for group in ("seen", "unseen")
        for n, both in enumerate(values)
        for config, value in zip("ab", both, strict=True)
    ]


PLAIN = [(1.0, -0.5), (0.5, 0.25), (1.0, -1.0), (0.25, -0.75)]
BETTER = [(1.0, 0.5), (0.5, 0.75), (1.0, 0.5), (0.75, 0.25)]


def test_configurations_weigh_the_same_where_an_answer_of_one_has_no_verdict():
    run = {name: scored(PLAIN) for name in ("ica", "ica-5shot", "sft")} | {"cosalign": scored(BETTER, {"b3"})}
    runs = [methods(run, own=set())] * 2
    found = evaluate(runs[0], MetricSettings(bootstrap=400), 0)["seen"]["cosalign"]
    a, b = (1 + 0.5 + 1 + 0.75) / 4, (0.5 + 0.75 + 0.5) / 3
    score, minus = found["metrics"]["cosa_score"], found["minus_ica"]["cosa_score"]
    assert score["value"] == pytest.approx((a + b) / 2) and score["n"] == 7
    assert score["value"] != pytest.approx((4 * a + 3 * b) / 7)
    assert minus["value"] == pytest.approx((a + b) / 2 - np.mean(PLAIN))
    assert found["metrics"]["helpfulness"]["value"] == pytest.approx((a + b) / 2)
    assert found["cosa_score_bounds"] == pytest.approx([(a + (3 * b - 1) / 4) / 2, (a + (3 * b + 1) / 4) / 2])
    over = evaluate_seeds(runs, MetricSettings(bootstrap=400), 0)["seen"]["cosalign"]
    assert over["metrics"]["cosa_score"]["by_seed"] == pytest.approx([score["value"]] * 2)
    assert over["minus_ica"]["cosa_score"]["value"] == pytest.approx(minus["value"])


def test_a_seed_is_the_mean_over_the_configurations_that_shared_prompts_have_answers_under():
    values = [(1.0, -0.5)] * 3
    runs = []
    for invalid in ({"b1", "b2", "a0"}, {"b0", "a0"}):  # p0, the one answer under b of the first, is not in the second
        rows = scored(values, invalid)
        runs.append(methods({name: rows for name in GENERATED}, own=set()))
    found = evaluate_seeds(runs, MetricSettings(bootstrap=40), 0)["seen"]["sft"]["metrics"]["cosa_score"]
    assert found["by_seed"] == pytest.approx([1.0, 0.25])


def test_resamples_are_means_over_configurations_too():
    """Answers of one score in each configuration: no resample moves the mean, whatever prompts it draws."""
    invalid = {f"b{n}" for n in range(6)}
    run = {name: scored([(1.0, -0.5)] * 12, invalid) for name in ("ica", "ica-5shot", "sft", "cosalign")}
    runs = [methods(run, own=set())] * 2
    for found in (evaluate(runs[0], MetricSettings(), 0), evaluate_seeds(runs, MetricSettings(), 0)):
        score = found["seen"]["sft"]["metrics"]["cosa_score"]
        assert score["value"] == 0.25 and score["low"] is None and score["high"] is None
    plain = {**run, "ica": scored([(0.5, -1.0)] * 12, {f"a{n}" for n in range(6)})}
    minus = evaluate(methods(plain, own=set()), MetricSettings(), 0)["seen"]["sft"]["minus_ica"]["cosa_score"]
    assert minus["value"] == 0.5 and minus["low"] is None


def test_equal_counts_give_the_mean_over_answers_and_its_interval():
    rows = [v for v in scored(PLAIN) if v.group == "seen"]
    values, prompts = [v.helpfulness for v in rows], [v.prompt_id for v in rows]
    draws = {"resamples": 200, "level": 0.9}
    strata = [v.config_id for v in rows]
    own, plain = (
        bootstrap_mean(values, prompts, **draws, rng=np.random.default_rng(0), strata=s) for s in (strata, None)
    )
    assert own == pytest.approx(plain)


def document(groups, **changes):
    labels = {"responses": 8, "invalid": 2, "addressed": 5, "touching": 4}
    head = {"kind": "cosa", "scale": "demo", "seed": 0, "judge": "lexicon", "taxonomy": "topics", "seeds": [0]}
    cut = {"fine-tuning": {"given": 4, "too_long": 0}, "DPO": {"given": 8, "too_long": 1}}
    return {**head, "labels": labels, "too_long": cut, "groups": groups, **changes}


def test_the_table_tells_the_judge_and_what_its_invalid_verdicts_leave_open():
    rows = {name: list(values) for name, values in made().items()}
    rows["sft"][0] = rows["sft"][0].model_copy(update={"helpfulness": None})
    groups = evaluate(methods(rows, own=set()), MetricSettings(bootstrap=40), 0)
    low, high = groups["seen"]["sft"]["cosa_score_bounds"]
    first, second = (part["value"] for part in groups["seen"]["sft"]["by_config"].values())
    assert low == pytest.approx(((5 * first - 1) / 6 + second) / 2)
    assert high == pytest.approx(((5 * first + 1) / 6 + second) / 2)
    cells = list(csv.DictReader(cosa_table([document(groups, judge="llm")])[0].splitlines()))
    scores = {cell["model"]: cell for cell in cells if cell["metric"] == "cosa_score" and "seen" in cell["benchmark"]}
    assert scores["sft"]["protocol"] == "language model as judge"
    (told,) = [c["reason"] for c in cells if c["model"] == "sft" and "without a verdict" in c["reason"]]
    assert f"1 without a verdict: between {low:.3f} and {high:.3f}" in told
    (labels,) = [cell for cell in cells if cell["model"] == "labelled responses"]
    assert float(labels["measured"]) == 0.25 and labels["reason"] == "5 address their prompt, 4 have a label"


def test_the_table_tells_what_trainings_leave_out_as_too_long():
    groups = evaluate(methods(made(), own=set()), MetricSettings(bootstrap=40), 0)
    cells = list(csv.DictReader(cosa_table([document(groups)])[0].splitlines()))
    lines = {cell["model"]: cell for cell in cells if cell["metric"] == "too_long"}
    assert [*lines] == ["examples of fine-tuning", "examples of DPO"]
    assert float(lines["examples of DPO"]["measured"]) == 0.125 and lines["examples of DPO"]["n"] == "8"
    assert lines["examples of fine-tuning"]["reason"].startswith("0 of 4 prompts with a chosen response exceed")


def test_the_evaluation_sums_what_trainings_left_out(tmp_path):
    chains = [{name: rows for name, rows in made().items() if name in GENERATED}] * 2
    for number, rows in enumerate(chains):
        for name, values in rows.items():
            write_rows(tmp_path / f"v{number}" / f"{name}.jsonl", (row.model_dump() for row in values))
        for stage, notes in (
            ("finetuned", {"prompts": 9, "too_long": number}),
            ("preferred", {"pairs": 18, "pairs_too_long": 2}),
        ):
            write_json(tmp_path / f"{stage}{number}" / "manifest.json", {"notes": notes})
    write_rows(tmp_path / "own.jsonl", [])
    write_rows(tmp_path / "responses.jsonl", [])
    write_slice(tmp_path / "metrics.yaml", MetricSettings(bootstrap=40))
    verdicts = [str(path) for path in sorted(tmp_path.glob("v*/*.jsonl"))]
    trained = [str(path) for path in sorted(tmp_path.glob("*ed?"))]
    own, labelled = [str(tmp_path / "own.jsonl")] * 2, str(tmp_path / "responses.jsonl")
    arguments = ["cosalign-evaluate", "--verdicts", *verdicts, "--own-scores", *own, "--responses", labelled]
    arguments += ["--trained", *trained, "--seeds", "0", "1", "--taxonomy", "topics", "--judge", "lexicon"]
    arguments += ["--scale", "demo", "--settings", str(tmp_path / "metrics.yaml"), "--output", str(tmp_path / "o.json")]
    assert main(arguments) == 0
    expected = {"fine-tuning": {"given": 19, "too_long": 1}, "DPO": {"given": 40, "too_long": 4}}
    assert read_json(tmp_path / "o.json")["too_long"] == expected


def test_every_configuration_has_a_line_of_its_own():
    groups = evaluate(methods(made(), own=set()), MetricSettings(bootstrap=40), 0)
    cells = list(csv.DictReader(cosa_table([document(groups)])[0].splitlines()))
    for name in METHODS:
        lines = [cell for cell in cells if cell["model"] == name and "configuration c" in cell["benchmark"]]
        assert {(cell["benchmark"], cell["metric"]) for cell in lines} == {
            (f"topics, {group} configuration {config}", "cosa_score")
            for group in ("seen", "unseen")
            for config in ("c0", "c1")
        }
        assert len(lines) == 4 and not any(cell["published"] or cell["printed_in"] for cell in lines)
        for line, config in zip(lines[:2], ("c0", "c1"), strict=True):
            assert float(line["measured"]) == groups["seen"][name]["by_config"][config]["value"]
            assert line["n"] == "6"


def test_constant_policies_are_anchors_of_the_table():
    rows = {name: list(values) for name, values in made().items()}
    rows["ica"][0] = rows["ica"][0].model_copy(update={"situation": "partial", "safe": None})
    found = evaluate(methods(rows, own=set()), MetricSettings(bootstrap=40), 0)["seen"]
    refused, complied = found["refusal-only"]["metrics"], found["comply-always"]["metrics"]
    assert refused["cosa_score"]["value"] == 0 and refused["safety"]["value"] == 1 and refused["cosa_score"]["n"] == 12
    assert complied["cosa_score"]["value"] == pytest.approx(10 / 12) and complied["helpfulness"]["value"] == 1
    names = {cell["model"] for cell in csv.DictReader(cosa_table([document({"seen": found})])[0].splitlines())}
    assert {"refusal-only", "comply-always"} <= names


def test_means_over_seeds_stand_beside_the_run():
    first, second = methods(made(), own=set()), methods({**made(), "sft": made()["cosalign"]}, own=set())
    found = evaluate_seeds([first, second], MetricSettings(bootstrap=40), 0)
    plain, better = (run["seen"]["sft"]["metrics"]["cosa_score"]["value"] for run in map(evaluated, (first, second)))
    mean = found["seen"]["sft"]["metrics"]["cosa_score"]
    assert mean["value"] == pytest.approx((plain + better) / 2) and mean["by_seed"] == pytest.approx([plain, better])
    assert mean["low"] <= plain < better <= mean["high"]
    difference = found["seen"]["sft"]["minus_ica"]["cosa_score"]
    assert difference["by_seed"] == pytest.approx([0, better - plain])
    assert not {"refusal-only", "comply-always"} & {*found["seen"]}
    told = document(evaluated(first), seeds=[0, 3], over_seeds=found)
    cells = [c for c in csv.DictReader(cosa_table([told])[0].splitlines()) if c["model"] == "sft, mean of 2 seeds"]
    (cell,) = [c for c in cells if c["metric"] == "cosa_score" and "unseen" not in c["benchmark"]]
    assert cell["reason"].startswith(f"seeds 0, 3: {plain:.3f} {better:.3f} (sd ") and cell["seed"] == ""


def evaluated(run):
    return evaluate(run, MetricSettings(bootstrap=40), 0)


def test_further_seeds_name_chains():
    assert CosaSettings(seeds=[1, 4]).runs() == {"cosa": None, "cosa+seed-1": 1, "cosa+seed-4": 4}


def test_the_table_sets_the_published_rows_beside_the_measured():
    groups = evaluate(methods(made(), own=set()), MetricSettings(bootstrap=40), 0)
    text, markdown = cosa_table([document(groups)])
    lines = [line.split("|") for line in markdown.splitlines() if "| cosalign |" in line and "| helpful_safe |" in line]
    assert [line[6].strip() for line in lines] == ["0.520", "0.428"]
    assert "Llama-3.1-8B: SFT+Cascade" in text and "Safety-removed" in markdown
