"""Backends: log-odds through a server equal direct scoring, whatever the server can do; what fails says why."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from completion_server import DIALECTS, serving

from csrm.cli import main
from csrm.configs.safety_config import SafetyConfig
from csrm.model.backends import completions, safe_log_odds
from csrm.model.backends.server import ServerBackend, ServerError
from csrm.model.scorer import CSRM, Request
from csrm.model.verbalizer import Verbalizer
from csrm.rows import Message
from csrm.settings import ScoreSettings, Settings, write_slices

ANSWERS = ("a gin and tonic", "under the mat", "no", "walk the dog, then feed it")
POLICIES = (["Alcohol", "Privacy"], ["Pets"], [])


def requests() -> list[Request]:
    configs = [SafetyConfig.from_data(names) if names else SafetyConfig.from_data(["Travel"]) for names in POLICIES]
    turns = [[Message(role="user", content="well?"), Message(role="assistant", content=answer)] for answer in ANSWERS]
    return [Request(messages, config.categories) for config in configs for messages in turns]


def settings(url: str, **others: Any) -> ScoreSettings:
    return ScoreSettings(backend="openai", base_url=url, dtype="float32", **others)


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_gives_the_log_odds_of_direct_scoring(
    dialect: str, concurrency: int, tiny_backbone: Path, tiny_scorer: Any
) -> None:
    direct = CSRM.from_pretrained(tiny_backbone).score_requests(requests())
    with serving(tiny_scorer.model, dialect) as server:
        served = CSRM.open(tiny_backbone, settings(server.url, concurrency=concurrency), name="tiny")
        scores = served.score_requests(requests(), progress=True)
        ways = served.backend.describe()["read"]
    assert [s.log_odds for s in scores] == pytest.approx([s.log_odds for s in direct], abs=1e-4)
    assert [s._replace(log_odds=0, p_safe=0) for s in scores] == [s._replace(log_odds=0, p_safe=0) for s in direct]
    assert len({round(s.log_odds, 6) for s in direct}) == len(direct), "order would not show"
    way = {"vllm": "first answer", "llama.cpp": "more tokens"}.get(dialect, "echo")
    assert ways[way] >= len(direct) - 1 and sum(ways.values()) == len(direct)
    assert max(len(body["prompt"]) for body in server.asked) <= max(s.n_tokens for s in direct) + 1


def backend(url: str, names: list[str] | None = None, **others: Any) -> ServerBackend:
    return ServerBackend(settings(url, **others), Verbalizer((5, 6), (7,)), names or ["tiny"])


def test_what_fails_in_passing_is_tried_again_and_no_further_than_asked(tiny_scorer: Any) -> None:
    with serving(tiny_scorer.model) as server:
        once = backend(server.url).log_odds([[3, 4]])
        server.failures = 3
        assert backend(server.url, retries=3).log_odds([[3, 4]]) == once
        server.failures = 3
        with pytest.raises(ServerError, match=r"answers 503: .*overloaded"):
            backend(server.url, retries=1).log_odds([[3, 4]])


def test_the_key_comes_from_the_environment_and_is_not_shown(tiny_scorer: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong-secret")
    with serving(tiny_scorer.model) as server:
        server.key = "right-secret"
        with pytest.raises(ServerError, match="refuses the key: put the server's into OPENAI_API_KEY") as caught:
            backend(server.url)
        assert "secret" not in str(caught.value) and caught.value.__suppress_context__
        monkeypatch.setenv("OPENAI_API_KEY", "right-secret")
        opened = backend(server.url)
        assert len(opened.log_odds([[3, 4]])) == 1 and "secret" not in json.dumps(opened.describe())


def test_a_model_that_is_not_served_is_answered_with_those_that_are(tiny_scorer: Any) -> None:
    with serving(tiny_scorer.model, name="other") as server:
        with pytest.raises(ServerError, match=r"serves \['other'\], not 'csrm': serve it under that name .*--alias"):
            backend(server.url, ["csrm", "folder"])
        assert backend(server.url, ["folder", "other"]).model == "other"


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ServerError, match=r"127.0.0.1:9/v1 does not answer, APIConnectionError: start the server"):
        backend("http://127.0.0.1:9/v1", retries=0)


def test_a_server_with_another_vocabulary_is_found_out(tiny_scorer: Any) -> None:
    with serving(tiny_scorer.model, "llama.cpp") as server:
        opened = ServerBackend(settings(server.url), Verbalizer((5,), (99_999,)), ["tiny"])
        with pytest.raises(ServerError, match=r"without the answer tokens \[99999\]: serve the weights and the token"):
            opened.log_odds([[3, 4]])


def test_a_server_without_log_probabilities_is_found_out(tiny_scorer: Any, monkeypatch: Any) -> None:
    with serving(tiny_scorer.model) as server:
        monkeypatch.setattr(server, "complete", lambda body: (200, {"choices": [{"text": "x", "logprobs": None}]}))
        with pytest.raises(ServerError, match=r"holds no log-probabilities: .*; use vLLM's or llama.cpp's"):
            backend(server.url).log_odds([[3, 4]])


def test_an_echo_that_is_not_of_the_prompt_is_refused() -> None:
    def echo(values: list[float | None], token: int = 9) -> dict[str, Any]:
        tokens = [f"token_id:{token}"] * len(values)
        return {"choices": [{"logprobs": {"token_logprobs": values, "tokens": tokens}}]}

    assert completions.read_echo(echo([None, -1.0, -2.0]), 2, 9) == -2.0
    for values in ([-1.0], [None, -1.0, None], [None, -1.0, -2.0, -3.0, -4.0]):
        with pytest.raises(ValueError, match="does not echo log-probabilities of the prompt's 3 tokens"):
            completions.read_echo(echo(values), 2, 9)
    with pytest.raises(ValueError, match="echoes token_id:8 where the prompt has token 9"):
        completions.read_echo(echo([None, -1.0, -2.0], 8), 2, 9)


def test_log_odds_of_tiny_probabilities_are_finite() -> None:
    assert safe_log_odds({1: -800.0, 2: -800.0, 3: -9999.0}, Verbalizer((1, 2), (3,))) == pytest.approx(
        9199.693, abs=1e-3
    )


def test_a_missing_vllm_is_named(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match=r"vllm needs the package vllm .*: install it, or run `vllm serve`"):
        CSRM.open(tiny_backbone, ScoreSettings(backend="vllm"))


def test_commands_score_by_a_server(root: Path, tiny_backbone: Path, tiny_scorer: Any, tmp_path: Path) -> None:
    mine = root / "src/csrm/data/project/example_conversations.jsonl"
    asked = ["score", str(mine), "--config", str(root / "config/safety_configs/example.yaml")]
    asked += ["--model", str(tiny_backbone), "--output"]
    items = tmp_path / "items.jsonl"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    item = {"id": "1", "prompt_id": "1", "messages": turns, "config": [{"name": "Pets"}], "subset": "all"}
    items.write_text(json.dumps(item) + "\n")
    with serving(tiny_scorer.model, name=tiny_backbone.name) as server:
        remote = ["--backend", "openai", "--base-url", server.url]
        assert main([*asked, str(tmp_path / "direct")]) == 0
        assert main([*asked, str(tmp_path / "served"), *remote]) == 0
        place = settings(server.url.replace("v1", "{model}"))
        write_slices(Settings(outdir=str(tmp_path), score=place))
        score = ["score-items", "--model", str(tiny_backbone), "--items", str(items), "--served", tiny_backbone.name]
        for option, stage in (("settings", "score"), ("train-settings", "train"), ("backend-settings", "backend")):
            score += [f"--{option}", str(tmp_path / "config" / f"{stage}.yaml")]
        assert main([*score, "--output", str(tmp_path / "scores.jsonl")]) == 0
    direct, served = (
        [json.loads(line)["log_odds"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("direct", "served")
    )
    assert served == pytest.approx(direct, abs=1e-4)
    notes = json.loads((tmp_path / "scores.jsonl.manifest.json").read_text())["notes"]
    assert (
        notes["backend"] == "openai" and notes["served"]["root"] == "weights" and notes["read"] == {"first answer": 1}
    )
    assert notes["base_url"].endswith(f"/{tiny_backbone.name}")
