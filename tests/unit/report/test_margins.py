"""Table 6: variants of another backbone and margin beside the printed numbers."""

import pytest
from report_samples import document, rows_of

from csrm import files
from csrm.bench.registry import load_benchmarks
from csrm.cli import main
from csrm.report import margins
from csrm.settings import TrainSettings, write_slice
from csrm.variants import load_variants, margin_variants, variant_settings

BENCHMARKS = load_benchmarks("config")
NAMES = ["csrm", "csrm-no-cca", "csrm-margin-1", "csrm-qwen3", "csrm-qwen3-margin-0.5", "csrm-qwen3-margin-1"]


def test_variants_of_backbone_and_margin_alone():
    table = load_variants("config")
    found = margin_variants(table, TrainSettings(variants=NAMES))
    assert found == [name for name in NAMES if name != "csrm-no-cca"]
    assert margin_variants(table, TrainSettings(variants=["csrm", "csrm-no-cca"])) == []
    assert margin_variants(table, TrainSettings(variants=["csrm-margin-1"])) == ["csrm-margin-1"]


def test_printed_numbers_stand_beside_the_replications_margins():
    settings = variant_settings(load_variants("config"), TrainSettings(variants=NAMES))
    settings.pop("csrm-no-cca")
    documents = [document(b, m, "paper") for b in ("beavertails-30k-test", "cosapien") for m in NAMES]
    text, markdown = margins.margin_table(documents, BENCHMARKS, settings)
    rows = rows_of(text)
    own = {(r["model"], r["benchmark"], r["metric"]): r for r in rows if r["source"] == "measured@paper"}
    assert len(own) == 5 * 2 * 3 and not any(name.startswith("csrm-no-cca") for name, _, _ in own)
    for margin, name, f1, smece in (
        ("0", "csrm-qwen3", "0.89", "0.067"),
        ("0.5", "csrm-qwen3-margin-0.5", "0.842", "0.097"),
        ("1", "csrm-qwen3-margin-1", "0.757", "0.145"),
    ):
        place = f"{name} (qwen3-1.7b, m = {margin})", "cosapien"
        assert own[*place, "f1_safe"]["published"] == own[*place, "f1_unsafe"]["published"] == f1
        found = own[*place, "smece"]
        assert found["published"] == smece and found["comparable"] == "partly" and '"Qwen3-2B"' in found["reason"]
        assert float(found["difference"]) == pytest.approx(float(found["measured"]) - float(smece))
    main_backbone = own["csrm-margin-1 (smollm2-135m-instruct, m = 1)", "cosapien", "smece"]
    assert main_backbone["published"] == "" and main_backbone["reason"] == "nothing printed for it"
    assert sum(r["source"] == "published" for r in rows) == 12
    assert "| published | CSRM, Table 6 |" not in markdown, "all twelve stand beside ours"
    assert "Qwen3 of 2B" in markdown


def test_without_the_replication_the_printed_table_stands_alone(tmp_path):
    files.write_json(tmp_path / "m.json", document("beavertails", "csrm-margin-1"))
    settings = variant_settings(load_variants("config"), TrainSettings(variants=["csrm-margin-1"]))
    write_slice(tmp_path / "csrm-margin-1.yaml", settings["csrm-margin-1"])
    line = ["table", "--table", "table6", "--metrics", str(tmp_path / "m.json"), "--scale", "demo"]
    slices = ["--variant-settings", str(tmp_path / "csrm-margin-1.yaml")]
    assert main([*line, *slices, "--output-prefix", str(tmp_path / "table6")]) == 0
    markdown = (tmp_path / "table6.md").read_text()
    assert markdown.count("| published | CSRM, Table 6 |") == 12
    assert "csrm-margin-1 (smollm2-135m-instruct, m = 1)" in markdown
    roles = {entry["role"] for entry in files.read_json(tmp_path / "table6.csv.manifest.json")["inputs"]}
    assert roles == {"metrics", "variant_settings", "benchmarks"}


def test_missing_settings_or_evaluations_are_named(tmp_path, capsys):
    files.write_json(tmp_path / "m.json", document("beavertails"))
    line = ["table", "--table", "table6", "--scale", "demo", "--output-prefix", str(tmp_path / "t")]
    assert main([*line, "--metrics", str(tmp_path / "m.json")]) == 1
    assert "needs --variant-settings" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no evaluation of the variants"):
        margins.margin_table([document("beavertails")], BENCHMARKS, {})
