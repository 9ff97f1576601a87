"""Names in the settings: every scale's are known, and a misspelled one is answered with the known ones."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from csrm.configs.bank import families
from csrm.configs.taxonomy import load_taxonomy
from csrm.configs.topics import load_topics
from csrm.names import BANK, CONFIGS, TOPIC, check_names
from csrm.settings import load
from csrm.variants import load_variants, variant_settings

CONFIG = Path(__file__).parents[2] / "config"


def check(overrides: dict[str, Any]) -> None:
    settings = load(CONFIG, overrides)
    check_names(settings, variant_settings(load_variants(CONFIG), settings.train), CONFIG)


@pytest.mark.parametrize("scale", ["smoke", "demo", "small", "paper"])
def test_the_names_of_every_scale_are_known(scale: str) -> None:
    check({"scale": scale})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train": {"backbone": "smollm2"}}, r"train.backbone \['smollm2'\] are unknown: choose among .*smollm2-135m"),
        ({"align": {"policy": "foo"}}, r"align.policy \['foo'\]"),
        ({"data": {"train": ["pyrit-ham"]}}, r"data.train \['pyrit-ham'\] .*pyrit-harm"),
        ({"data": {"response_pairs": ["rlhf"], "held_out": []}}, r"data.response_pairs \['rlhf'\] .*safe-rlhf"),
        ({"data": {"held_out": ["privacy", "privcy"]}}, r"data.held_out \['privcy'\] .*privacy"),
        (
            {"score": {"benchmarks": ["pyrit-seen", "pyrit-unsen"]}},
            r"score.benchmarks \['pyrit-unsen'\] .*pyrit-unseen",
        ),
        ({"data": {"exclude": ["xstets"]}}, r"data.exclude \['xstets'\] .*xstest"),
        ({"score": {"validation": "x"}}, r"score.validation \['x'\]"),
        ({"score": {"clauses": "x"}}, r"score.clauses \['x'\]"),
        ({"score": {"models": ["zero-shoot", "minilm-lr"]}}, r"score.models \['zero-shoot'\] .*zero-shot"),
        ({"score": {"backend": "openai"}}, r"openai needs score.base_url .*: the server's, such as http://localh"),
        ({"score": {"backend": "openai", "base_url": "localhost:8000"}}, r"'localhost:8000' is no http address"),
        (
            {"score": {"backend": "openai", "base_url": "http://me:pw@host/v1"}},
            r"holds a user or password",
        ),
        (
            {"score": {"models": ["zero-shot", "minilm_lr"]}},
            r"score.models \['minilm_lr'\] are unknown",  # not that score.calibrated names minilm-lr
        ),
        ({"train": {"variants": ["csrm-no-caa"]}}, r"train.variants \['csrm-no-caa'\] .*csrm-no-cca"),
        (
            {"score": {"models": ["zero-shot"]}},
            r"score.calibrated names \['minilm-lr'\], which are not scored: .*'csrm', .*'zero-shot'\], name it there",
        ),
        (
            {"align": {"configs": ["example"]}},
            r"safety_configs/example.yaml, .*no category has a `key` among .*alcohol, .*or set align.prompts",
        ),
        ({"align": {"configs": ["no-alchol"]}}, r"align.configs \['no-alchol'\] .*no-alcohol"),
        ({"align": {"rewards": ["csrmm"]}}, r"align.rewards \['csrmm'\] .*csrm"),
        ({"align": {"swept": ["minilm"]}}, r"align.swept \['minilm'\] .*minilm-lr-no-config"),
        ({"align": {"judge_data": ["xstest"]}}, r"align.judge_data \['xstest'\] .*xstest-completions"),
        ({"align": {"seeds": [1, 0]}}, r"align.seeds \[1, 0\] hold the run's own seed 0, or one twice"),
        ({"train": {"seeds": [0, 1]}}, r"train.seeds \[0, 1\] hold the run's own seed 0"),
        ({"train": {"seed": 3, "seeds": [1, 3]}}, "hold the run's own seed 3"),
        ({"train": {"seeds": [1, 1]}}, "or one twice: name each further seed once"),
        (
            {"helpfulness": {"reward": "qwen3-1.7b"}},
            r"helpfulness.reward \['qwen3-1.7b'\] .*proxy, skywork-.*, trained",
        ),
        ({"helpfulness": {"judge": "traind"}}, r"helpfulness.judge \['traind'\] .*trained"),
        ({"helpfulness": {"data": ["safe-rlhf"]}}, r"helpfulness.data \['safe-rlhf'\] .*coconot"),
        ({"helpfulness": {"backbone": "skywork-reward-llama-3.1-8b"}}, r"helpfulness.backbone .*smollm2-135m-instruct"),
        ({"align": {"policy": "skywork-reward-llama-3.1-8b"}}, r"align.policy \['skywork-reward-llama-3.1-8b'\]"),
    ],
)
def test_a_misspelled_name_is_answered_with_the_known_ones(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(overrides)


def test_a_mirror_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder: give a mirror in hub layout"):
        check({"scale": "small", "data_root": str(tmp_path / "nowhere")})


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(ValueError) as caught:
        check({"score": {"backend": "openai", "base_url": "http://me:secret@host/v1"}})
    assert "secret" not in str(caught.value)


def test_lines_tell_the_families_that_the_files_hold() -> None:
    topics = TOPIC.findall((CONFIGS / "topics.yaml").read_text(encoding="utf-8"))
    assert tuple(topics) == load_topics().keys
    assert {*topics, *BANK.findall((CONFIGS / "bank.jsonl").read_text(encoding="utf-8"))} == {*families()}


def test_known_names_cost_no_reading_of_whole_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: Any) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("csrm.configs.topics.load_topics", refused)
    monkeypatch.setattr("csrm.configs.taxonomy.load_taxonomy", refused)
    check({"scale": "small"})
    with pytest.raises(AssertionError, match="read"):
        check({"cosa": {"seen": ["alcohol", "medication", "pets", "pet", "travel"]}})


def test_what_a_taxonomy_alone_names_can_be_held_out() -> None:
    own = {c.key for c in load_taxonomy("beavertails").categories} - {*families()}
    check({"data": {"held_out": sorted(own)[:1]}})
    assert own


def test_configurations_without_topics_are_for_a_language_model() -> None:
    asked = {"configs": ["example"], "judge": "llm", "llm": {"model": "m"}}
    check({"align": {**asked, "prompts": "generated"}})
    with pytest.raises(ValueError, match=r"example.yaml, which align.configs names"):
        check({"align": asked})


def test_the_judges_rating_judges_helpfulness_and_rewards_none() -> None:
    asked = {"judge": "llm", "llm": {"model": "m"}}
    check({"helpfulness": {"judge": "llm"}, "align": asked})
    with pytest.raises(ValueError, match=r"helpfulness.reward \['llm'\] are unknown"):
        check({"helpfulness": {"reward": "llm"}, "align": asked})
    with pytest.raises(ValueError, match=r"helpfulness.judge 'llm' .*align.judge is 'lexicon': set align.judge to"):
        check({"helpfulness": {"judge": "llm"}})


def test_test_prompts_of_scenarios_are_for_their_configurations() -> None:
    asked = {"configs": ["cosapien-film-production"], "tested": [], "prompts": "generated", "judge": "llm"}
    asked |= {"llm": {"model": "m"}, "test_data": "cosapien-prompts"}
    check({"align": asked})
    with pytest.raises(ValueError, match=r"name \['no-pets'\], of which cosapien-prompts has no prompts: choose among"):
        check({"align": {**asked, "tested": ["no-pets"]}})
    with pytest.raises(ValueError, match=r"align.test_data \['cosalign-test'\] are unknown: .* cosapien-prompts"):
        check({"align": {**asked, "test_data": "cosalign-test"}})


def test_a_benchmark_has_rows_and_a_policy(tmp_path: Path) -> None:
    (tmp_path / "root" / "own").mkdir(parents=True)
    (tmp_path / "root" / "own" / "rows.jsonl").touch()
    asked = {"score": {"benchmarks": ["own"]}}
    check(asked)  # left out without data_root
    with pytest.raises(FileNotFoundError, match=r"'own' judges under .*own.yaml, which does not exist: write it as"):
        check({**asked, "data_root": str(tmp_path / "root")})
    config = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    table = (config / "benchmarks.tsv").read_text(encoding="utf-8")
    (config / "benchmarks.tsv").write_text(table.replace("own\tresponse-label\town\t", "own\tresponse-label\tmine\t"))
    settings = load(CONFIG, asked)
    with pytest.raises(ValueError, match=r"'own' reads rows of \['mine'\], which config/datasets.tsv does not have"):
        check_names(settings, variant_settings(load_variants(CONFIG), settings.train), config)


def test_guards_can_reward_a_policy() -> None:
    check({"align": {"rewards": ["csrm", "llamaguard-3-8b", "minilm-lr-no-config"]}})
    with pytest.raises(ValueError, match=r"align.rewards \['llamaguard'\] are unknown: .*llamaguard-3-8b"):
        check({"align": {"rewards": ["llamaguard"]}})


def test_labels_of_cosalign_are_its_named_categories() -> None:
    names = {"seen": ["violence"], "seen_configs": [[]], "unseen": ["drugs"], "unseen_configs": [["drugs"]]}
    check({"cosa": {"taxonomy": "cosalign", "data": ["beavertails"], **names}})
    with pytest.raises(ValueError, match=r"cosa.seen, cosa.unseen \['other'\] are unknown"):
        check({"cosa": {"taxonomy": "cosalign", "data": ["beavertails"], **names, "seen": ["violence", "other"]}})
    with pytest.raises(ValueError, match=r"needs labelled responses: name data sets in cosa\.data"):
        check({"cosa": {"taxonomy": "cosalign", **names}})
    with pytest.raises(ValueError, match=r"cosa.seeds \[0\] hold the run's own seed 0"):
        check({"cosa": {"seeds": [0]}})
