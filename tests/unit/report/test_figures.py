"""Every figure is written as PDF, PNG and CSV with the same bytes each time."""

import argparse
import csv
import json
import zlib

import numpy as np
import pandas as pd
import pytest

from csrm import files
from csrm.configs.safety_config import Category
from csrm.report import commands, figures, pareto, recall, reliability, retrieval, style
from csrm.report.style import styled
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import MetricSettings

MODELS = ("csrm", "csrm-no-sa", "minilm-similarity")


def items(count=60, threshold=False):
    messages = [Message(role="user", content="q"), Message(role="assistant", content="a")]
    return [
        Item(
            id=f"i{n}",
            prompt_id=f"p{n // 3}",
            messages=messages,
            config=[Category(name="Pets")],
            label="safe" if n % 2 else "unsafe",
            meta={"threshold": (0.25, 0.5, 1.0)[n % 3]} if threshold else {},
        )
        for n in range(count)
    ]


def draw(tmp_path, name, *arguments):
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    for prefix in ("a", "b"):
        line = ["figure", "--figure", name, *map(str, arguments), "--output-prefix", f"{tmp_path}/{prefix}/{name}"]
        options = parser.parse_args(line)
        options.run(options)
    for suffix in ("pdf", "png", "csv"):
        first, second = ((tmp_path / prefix / f"{name}.{suffix}").read_bytes() for prefix in ("a", "b"))
        assert first == second and len(first) > 100, suffix
    assert b"CreationDate" not in (tmp_path / "a" / f"{name}.pdf").read_bytes()
    with (tmp_path / "a" / f"{name}.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert {(r["source"], r["seed"]) for r in rows} <= {("measured@demo", "0"), ("published", "")}
    return rows


def scored(tmp_path, benchmark, threshold=False):
    rows = items(threshold=threshold)
    files.write_rows(tmp_path / "items" / f"{benchmark}.jsonl", rows)
    paths = []
    for model in MODELS:
        noise = np.random.default_rng(zlib.crc32(model.encode())).normal(size=len(rows))
        scores = [
            ScoreRow(id=i.id, log_odds=float(z + (i.label == "safe") + i.meta.get("threshold", 0)), n_tokens=1)
            for i, z in zip(rows, noise, strict=True)
        ]
        paths.append(tmp_path / "scores" / model / f"{benchmark}.jsonl")
        files.write_rows(paths[-1], scores)
    (tmp_path / "metrics.yaml").write_text("bootstrap: 20\n")
    more = ["--settings", tmp_path / "metrics.yaml", "--scale", "demo"]
    return ["--items", tmp_path / "items" / f"{benchmark}.jsonl", "--scores", *paths, *more]


def test_figure5(tmp_path):
    rows = draw(tmp_path, "figure5", *scored(tmp_path, "pyrit-seen"))
    assert {r["model"] for r in rows} == set(MODELS) and len(rows) == reliability.MESH * len(MODELS)
    assert all(0 <= float(r["smece_low"]) <= float(r["smece_high"]) for r in rows)
    for path in (tmp_path / "scores").glob("*/*.jsonl"):
        p = [1 / (1 + np.exp(-row.log_odds)) for row in files.read_rows(path, ScoreRow)]
        drawn = [float(r["p_safe"]) for r in rows if r["model"] == path.parent.name]
        assert (drawn[0], drawn[-1]) == pytest.approx((min(p), max(p)), abs=1e-6)


def test_figure5_sets_the_printed_smece_beside_models_that_the_paper_has():
    printed = reliability.printed_smece
    assert "0.076 ± 0.007 (other data)" in printed("csrm", "pyrit-seen") and not printed("keyword", "pyrit-seen")
    assert "0.156 ± 0.055 (other responses and labels)" in printed("shieldgemma-9b", "cosapien")


def test_figure5_wraps_many_models_and_names_those_that_it_leaves_out(capsys):
    rows = items()
    graded = [ScoreRow(id=i.id, log_odds=n % 7 - 3.0, n_tokens=1) for n, i in enumerate(rows)]
    hard = [row.model_copy(update={"log_odds": 1.0 if row.log_odds > 0 else -1.0}) for row in graded]
    scores = {**dict.fromkeys(("csrm", "csrm-no-sa", "csrm-no-cca", "zero-shot", "wildguard"), graded), "judge": hard}
    table = reliability.reliability_table(rows, scores, MetricSettings(bootstrap=10), 0).assign(benchmark="cosapien")
    assert "judge" not in set(table["model"])
    assert capsys.readouterr().err == "figure5 leaves out judge: hard labels: the scores take at most two values\n"
    with styled() as plt:
        axes = reliability.draw_reliability(plt, table).axes
        shown = [axis.get_title().split()[0] for axis in axes if axis.axison]
        assert shown == [*style.ordered(list(scores))[:4], "wildguard"] and len(axes) == 8
        assert axes[0].get_position().y0 > axes[4].get_position().y0


def test_figure5_counts_answers_without_a_verdict_as_the_tables_do():
    rows = items()
    graded = [ScoreRow(id=i.id, log_odds=n % 7 - 3.0, n_tokens=1, parsed=n > 9) for n, i in enumerate(rows)]
    settings = MetricSettings(bootstrap=10, parse_failure="exclude")
    assert set(reliability.reliability_table(rows, {"csrm": graded}, settings, 0)["n"]) == {50}


def test_strictness(tmp_path):
    rows = draw(tmp_path, "strictness", *scored(tmp_path, "pyrit-strictness", threshold=True))
    own = [float(r["value"]) for r in rows if r["model"] == "csrm"]
    assert len(own) == 3 and len(rows) == 9 and rows[0]["n_prompts"] == "20"


def graded(tmp_path, benchmark):
    """Four severities, three thresholds: csrm follows severity, csrm-no-sa calls all safe, the third all unsafe."""
    rows = [
        Item(
            id=f"{n}:{t}",
            prompt_id=f"p{n % 10}",
            messages=[Message(role="user", content="q"), Message(role="assistant", content=f"a{n}")],
            config=[Category(name="Pets")],
            meta={"threshold": t, "severity": (0.25, 0.5, 0.75, 1.0)[n % 4], "category": "pets"},
        )
        for n in range(40)
        for t in (0.25, 0.5, 1.0)
        if (n, t) != (39, 0.5)
    ]
    files.write_rows(tmp_path / "items" / f"{benchmark}.jsonl", rows)
    paths = []
    for model, sign in zip(MODELS, (None, 1.0, -1.0), strict=True):
        odds = [sign or (-1.0 if i.meta["severity"] >= i.meta["threshold"] else 1.0) for i in rows]
        paths.append(tmp_path / "scores" / model / f"{benchmark}.jsonl")
        scores = [ScoreRow(id=i.id, log_odds=z, n_tokens=1) for i, z in zip(rows, odds, strict=True)]
        files.write_rows(paths[-1], scores)
    (tmp_path / "metrics.yaml").write_text("bootstrap: 20\n")
    return ["--items", tmp_path / "items" / f"{benchmark}.jsonl", "--scores", *paths]


def test_figure3(tmp_path):
    rewrites = [{"covered": 0.25 * k, "flagged": flagged} for k, flagged in ((1, 5), (2, 20), (3, 15))]
    entries = {"d/gore": {"pool": 20, "rewrites": rewrites}, "d/none": {"pool": 0, "rewrites": rewrites}}
    statistics = {"standard_threshold": 0.5, "categories": {**entries, "d/x": {"skipped": "held-out family"}}}
    files.write_json(tmp_path / "sa_statistics.json", statistics)
    own = ["--statistics", tmp_path / "sa_statistics.json", "--scale", "demo"]
    scored = graded(tmp_path, "pyrit-strictness")
    rows = draw(tmp_path, "figure3", *own, *scored, "--settings", tmp_path / "metrics.yaml")
    curves = {}
    for row in rows:
        assert row["low"] == "" or float(row["low"]) <= float(row["value"]) <= float(row["high"])
        curves.setdefault((row["classifier"], row["category"]), []).append((float(row["value"]), int(row["n"])))
    assert curves.pop(("Algorithm 1", "d/gore")) == [(0.25, 20), (1.0, 20), (0.75, 20)]
    # of 30 conversations of severity >= .5, one was not asked at every threshold and is left out
    assert (
        curves[("csrm", "all")] == curves[("human severity", "all")] == [(pytest.approx(9 / 29), 29), (1, 29), (1, 29)]
    )
    assert [v for v, _ in curves[("csrm-no-sa", "all")]] == [0, 0, 0]
    assert [v for v, _ in curves[("minilm-similarity", "all")]] == [1, 1, 1] and len(curves) == 4
    alone = draw(tmp_path, "figure3", *own, "--items", "--scores")
    assert len(alone) == 3 and {r["classifier"] for r in alone} == {"Algorithm 1"}


def test_figure3_says_that_markers_are_shifted_and_draws_none_beyond_1():
    points = [(model, "all", x, x, None, None, 4) for model in (*MODELS, recall.HUMAN) for x in (0.5, 1.0)]
    with styled() as plt:
        axis = recall.draw_recall(plt, recall.recall_table(points)).axes[0]
        assert recall.SHIFTED in axis.get_xlabel() and len(axis.containers) == 4
        assert max(max(drawn.lines[0].get_xdata()) for drawn in axis.containers) <= 1


def test_figure3_gives_one_prompt_no_interval():
    asked = [recall.Asked("p", ("p", "a", "pets"), 1.0, t, t < 1) for t in (0.5, 1.0)]
    rows = recall.model_rows({"csrm": asked}, 0.5, 20, 0.95, 0)
    assert rows[:2] == [("csrm", "all", 0.5, 0.0, None, None, 1), ("csrm", "all", 1.0, 1.0, None, None, 1)]


def test_figure3_needs_a_pool_or_thresholds(tmp_path):
    files.write_json(tmp_path / "s.json", {"standard_threshold": 0.5, "categories": {}})
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(tmp_path, "figure3", "--statistics", tmp_path / "s.json", "--scale", "demo")
    with pytest.raises(ValueError, match="needs --statistics --scale"):
        draw(tmp_path, "figure3")


def test_configurability(tmp_path):
    paths = []
    for benchmark in ("pyrit-seen", "pyrit-unseen", "topics-seen", "pyrit-strictness"):
        for model in MODELS:
            found = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 9, "n_prompts": 4}
            metrics = {"conditional_auroc": found, "pair_accuracy": {**found, "value": None}}
            document = {"kind": "evaluation", "benchmark": benchmark, "model": model, "scale": "demo", "seed": 0}
            paths.append(tmp_path / model / f"{benchmark}.json")
            files.write_json(paths[-1], {**document, "overall": {"metrics": metrics}})
    rows = draw(tmp_path, "configurability", "--metrics", *paths)
    assert len(rows) == 9 and {r["benchmark"] for r in rows} == {"pyrit", "topics"}


def test_variety(tmp_path):
    paths = []
    for model, value in (("csrm", 0.8), ("csrm+seed-1", 0.7), ("csrm-bank-10", 0.5)):
        for benchmark in ("pyrit-seen", "pyrit-unseen"):
            found = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9, "n_prompts": 4}
            document = {"kind": "evaluation", "benchmark": benchmark, "model": model, "scale": "demo", "seed": 0}
            metrics = {"conditional_auroc": found, "pair_accuracy": found}
            paths.append(tmp_path / model / f"{benchmark}.json")
            files.write_json(paths[-1], {**document, "overall": {"metrics": metrics}})
    drawn = [tmp_path / "augmented" / name / "cca_statistics.json" for name in ("train", "csrm-bank-10")]
    for path, size in zip(drawn, (600, 10), strict=True):
        files.write_json(path, {"bank_categories": size})
    rows = draw(tmp_path, "variety", "--metrics", *paths, "--statistics", *drawn)
    unseen = [r for r in rows if (r["scope"], r["metric"]) == ("unseen", "pair_accuracy")]
    expected = [("csrm-bank-10", "10"), ("csrm", "600"), ("csrm+seed-1", "600")]
    assert [(r["model"], r["categories"]) for r in unseen] == expected
    with pytest.raises(
        ValueError, match=r"no statistics with `bank_categories` for the draws of \['csrm', 'csrm\+seed-1'\]"
    ):
        draw(tmp_path, "variety", "--metrics", *paths, "--statistics", drawn[1])


def test_panels_say_what_they_hold():
    head = {"source": "measured@demo", "value": 0.7, "low": 0.6, "high": 0.8, "metric": "conditional_auroc"}
    head |= {"benchmark": "a", "scope": "seen", "n": 9}
    rows = [{**head, "model": model, "n_prompts": prompts} for model, prompts in (("x", 4), ("y", 5))]
    steps = [{"variant": v, "step": 1, "curve": "loss_rm", "value": value} for v, value in (("x", 1.0), ("y", 0.0))]
    point = {"config": "c", "reward": "x", "source": "measured@demo", "n": 4, "safety": 0.5, "helpfulness": 3.0}
    point |= {f"{name}_{end}": 1.0 for name in ("safety", "helpfulness") for end in ("low", "high")}
    point |= {"hypervolume": 0.3, "hypervolume_low": 0.2, "hypervolume_high": 0.4}
    own = [{**point, "offset": offset} for offset in (-2.0, 2.0)]
    sweep = pd.concat([pd.DataFrame(own), pareto.published_sweep()], ignore_index=True)
    with styled() as plt:
        ticks = figures.draw_configurability(plt, pd.DataFrame(rows)).axes[0].get_xticklabels()
        assert [tick.get_text() for tick in ticks] == ["seen\nn=9\n4–5 prompts", "unseen\n"]
        assert "not in y" in figures.draw_training(plt, pd.DataFrame(steps)).axes[0].get_title()
        panel = pareto.draw_sweep(plt, sweep).axes[0]
        assert "n=4 a point" in panel.get_title() and [text.get_text() for text in panel.texts] == ["-2, +2"]
        assert panel.get_legend().get_texts()[0].get_text() == "x, HV 0.30 [0.20, 0.40]"
        panel.figure.draw_without_rendering()
        assert panel.get_legend().get_window_extent().y1 < panel.xaxis.label.get_window_extent().y1
    assert [figures.dodge(i, 3, 0.6) for i in range(3)] == pytest.approx([-0.2, 0, 0.2])


def test_training(tmp_path):
    paths = []
    for variant in ("csrm", "csrm-no-sa"):
        lines = [{"step": n, "loss": 2 / n, "loss_cls": 1 / n, "loss_rm": 1 / n, "brier": 1 / n} for n in range(1, 9)]
        paths.append(tmp_path / variant / "log.jsonl")
        files.write_text(paths[-1], "".join(json.dumps(line) + "\n" for line in lines))
        files.write_json(paths[-1].with_name("manifest.json"), {"seed": 0})
    rows = draw(tmp_path, "training", "--logs", *paths, "--scale", "demo")
    assert len(rows) == 2 * 4 * 8


def test_figure4(tmp_path):
    paths = []
    for reward in ("csrm", "zero-shot"):
        point = {
            m: {"value": v, "low": v - 0.1, "high": v + 0.1, "n": 4}
            for m, v in (("safety", 0.6), ("helpfulness_0_5", 4))
        }
        points = [{"offset": offset, **point} for offset in (-2, 0, 2)]
        document = {
            "config": "no-alcohol",
            "reward": reward,
            "scale": "demo",
            "seed": 0,
            "slope": 1.0,
            "points": points,
        }
        document["hypervolume"] = {"value": 0.4, "low": None, "high": None, "n_prompts": 4}
        paths.append(tmp_path / f"{reward}.json")
        files.write_json(paths[-1], document)
    rows = draw(tmp_path, "figure4", "--metrics", *paths)
    assert sum(r["source"] == "published" for r in rows) == 9 and sum(r["source"] == "measured@demo" for r in rows) == 6


def test_missing_inputs_are_named(tmp_path):
    with pytest.raises(ValueError, match="needs --items --scores --scale"):
        draw(tmp_path, "figure5")
    with pytest.raises(ValueError, match="no metrics of a `conditional` benchmark"):
        files.write_json(tmp_path / "m.json", {"kind": "evaluation", "benchmark": "mine"})
        draw(tmp_path, "configurability", "--metrics", tmp_path / "m.json")


def test_a_figure_and_its_table_say_scale_and_seed(tmp_path):
    noisy = {"source": ["measured@demo", "measured@demo", "published"], "seed": [0, 1, None], "value": 0.1 + 0.2}
    with styled() as plt:
        figure, axis = plt.subplots()
        axis.set_xlabel("x")
        style.save(figure, pd.DataFrame(noisy), tmp_path / "figure")
        assert figure.get_supxlabel() == "measured@demo, seeds 0, 1; published"
        low = axis.xaxis.label.get_window_extent().y0
        assert 0 <= figure._supxlabel.get_window_extent().y0 < figure._supxlabel.get_window_extent().y1 <= low
    lines = (tmp_path / "figure.csv").read_text().splitlines()
    assert lines == ["source,seed,value", "measured@demo,0,0.3", "measured@demo,1,0.3", "published,,0.3"]


def test_colours_are_fixed_by_model():
    assert style.look(["csrm"])["csrm"] == style.look(["zebra", "csrm"])["csrm"]
    assert style.ordered(["zebra", "zero-shot", "csrm", "csrm"]) == ["csrm", "zero-shot", "zebra"]


def test_overoptimisation(tmp_path):
    found = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 4, "n_prompts": 2}
    quantities = ("reward", "safety", "helpfulness", "cosa_score", "log_odds", "total_reward", "helpfulness_0_5")
    point = {**dict.fromkeys(quantities, found), "kl": None}
    curve = [{**point, "step": 0}, {**point, "step": 6, "kl": 0.2, "since_start": dict.fromkeys(quantities, found)}]
    paths = []
    for algorithm in ("DPO", "REINFORCE++"):
        head = {"kind": "checkpoints", "config": "no-alcohol", "reward": "csrm", "scale": "demo", "seed": 0}
        paths.append(tmp_path / f"{algorithm}.json")
        files.write_json(paths[-1], {**head, "algorithm": algorithm, "curve": curve})
    rows = draw(tmp_path, "overoptimisation", "--metrics", *paths)
    assert len(rows) == 2 * (2 * len(quantities) + 1)
    assert [r["since_start"] for r in rows if (r["quantity"], r["algorithm"]) == ("safety", "DPO")] == ["", "0.5"]


def retrieval_document(dataset, relevance, values):
    points = [
        {
            "k": k,
            "value": v,
            "low": v - 0.1,
            "high": min(1, v + 0.1),
            "chance": k / 20,
            "n": 9,
            "n_prompts": 8,
            "n_longer": 9,
        }
        for k, v in enumerate(values, 1)
    ]
    head = {"kind": "retrieval", "dataset": dataset, "scale": "demo", "seed": 0, "relevance": relevance}
    return {**head, "recall": points}


def test_figure8(tmp_path):
    paths = []
    for dataset, relevance in (("mine", "relevant rules named"), ("pyrit-harm", "proxy: labelled categories")):
        paths.append(tmp_path / f"{dataset}.json")
        files.write_json(paths[-1], retrieval_document(dataset, relevance, [0.5, 0.7, 1.0]))
    rows = draw(tmp_path, "figure8", "--metrics", *paths)
    printed = [(r["k"], r["value"]) for r in rows if r["source"] == "published"]
    assert printed[:2] == [("1", "0.835"), ("2", "0.929")] and printed[-1] == ("17", "1.0") and len(printed) == 6
    assert sum(r["relevance"].startswith("proxy") for r in rows) == 3 and len(rows) == 12


def test_figure8_draws_the_published_points_alone_and_says_so(tmp_path):
    assert {r["source"] for r in draw(tmp_path, "figure8")} == {"published"}
    own = [retrieval_document("pyrit-harm", "proxy: labelled categories", [0.5, 0.7])]
    with styled() as plt:
        alone, both = (retrieval.draw_retrieval(plt, retrieval.retrieval_frame(d)) for d in ([], own))
        assert "published points alone" in alone.axes[0].texts[0].get_text() and not both.axes[0].texts
        labels = [text.get_text() for text in both.legends[0].get_texts()]
        assert labels[1] == "pyrit-harm (n = 9)\nproxy: labelled categories" and labels[2] == "random order"


def test_the_table_of_figure8_sets_published_beside_measured():
    text, markdown = retrieval.retrieval_table([retrieval_document("pyrit-harm", "proxy: x", [0.5, 0.7])])
    assert "| DynaBench | relevant entries" in markdown and "| 1 | 0.835 |" in markdown
    assert "| pyrit-harm | proxy: x | measured@demo | 2 | 0.700 [0.600, 0.800] | 0.100 | 9 | 9 | 8 | 0 |" in markdown
    assert len(text.splitlines()) == 9
