"""Guards on a server give the answers and the scores of guards in this process."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from completion_server import serving

from csrm.bench.guards.scorer import GuardScorer
from csrm.bench.guards.table import get_guard
from csrm.configs.safety_config import Category
from csrm.model.backends import completions
from csrm.model.backends.server import ServerError
from csrm.model.verbalizer import Verbalizer
from csrm.rows import Item, Message
from csrm.settings import ScoreSettings

CONFIGS = [[Category(name="Alcohol", guideline="No drinks."), Category(name="Pets")], []]
ITEMS = [
    Item(
        id=f"{said}{n}",
        prompt_id=said,
        messages=[Message(role="user", content="A drink?"), Message(role="assistant", content=said)],
        config=config,
    )
    for said in ("Gin.", "A glass of milk.")
    for n, config in enumerate(CONFIGS)
]


def opened(name: str, folder: Path, url: str | None = None, **changes: Any) -> GuardScorer:
    guard = get_guard("config", name).model_copy(update=changes)
    place = {"backend": "openai", "base_url": url} if url else {}
    return GuardScorer.open(guard, folder, ScoreSettings(dtype="float32", **place), name="tiny" if url else None)


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
@pytest.mark.parametrize("name", ["llama-3.1-8b-instruct", "shieldgemma-9b"])
def test_first_tokens(name: str, dialect: str, tiny_backbone: Path, tiny_scorer: Any) -> None:
    direct = opened(name, tiny_backbone).score(ITEMS)
    with serving(tiny_scorer.model, dialect) as server:
        guard = opened(name, tiny_backbone, server.url)
        served = guard.score(ITEMS, progress=True)
    assert [row.log_odds for row in served] == pytest.approx([row.log_odds for row in direct], abs=1e-4)
    assert [row.id for row in served] == [item.id for item in ITEMS] and len({r.log_odds for r in direct}) == 4
    prompts = 6 if name == "shieldgemma-9b" else 4  # one for each category, or one
    told = guard.describe()
    assert told["backend"] == "openai" and sum(told["read"].values()) == prompts


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
def test_answers_and_their_verdicts(dialect: str, tiny_backbone: Path, tiny_scorer: Any, monkeypatch: Any) -> None:
    direct = opened("llama-3.1-70b-instruct-cot", tiny_backbone, max_new_tokens=6)
    prompts = [tokens for item in ITEMS for tokens in direct.fitter.fit(item).tokens]
    monkeypatch.setattr("csrm.bench.guards.verdicts.parse", lambda *_: Anywhere)
    with serving(tiny_scorer.model, dialect) as server:
        served = opened("llama-3.1-70b-instruct-cot", tiny_backbone, server.url, max_new_tokens=6)
        assert served.answers(prompts) == direct.answers(prompts)
        rows = served.score(ITEMS)
    assert [r.log_odds for r in rows] == pytest.approx([r.log_odds for r in direct.score(ITEMS)], abs=1e-4)
    written = [body for body in server.asked if body["max_tokens"] == 6]
    assert len(written) == 8 and all(body["temperature"] == 0 and not body["ignore_eos"] for body in written)


class Anywhere:
    """A verdict two characters into the answer: a random model writes none."""

    start = 2


def test_an_answer_whose_tokens_have_no_ids_is_refused(tiny_backbone: Path, tiny_scorer: Any) -> None:
    with serving(tiny_scorer.model, "text") as server:
        guard = opened("dynaguard-8b-cot", tiny_backbone, server.url, max_new_tokens=6)
        with pytest.raises(
            ServerError, match=r"does not name the tokens of its answer by id.*use vLLM's or llama.cpp's"
        ):
            guard.score(ITEMS)


def test_an_answer_is_read_by_id_in_both_dialects() -> None:
    vllm = {"choices": [{"logprobs": {"tokens": ["token_id:5", "token_id:17"]}}]}
    llama_cpp = {"choices": [{"logprobs": {"content": [{"id": 5}, {"id": 17}]}}]}
    assert completions.read_answer(vllm) == completions.read_answer(llama_cpp) == [5, 17]
    with pytest.raises(ValueError, match="does not name the tokens"):
        completions.read_answer({"choices": [{"logprobs": None}]})


class Engine:
    """Stands in for `vllm.LLM`: writes its own prompt's first token, and finds the higher token id likelier."""

    def __init__(self, model: str, **arguments: Any) -> None:
        self.arguments = arguments

    def generate(self, asked: Any, sampling: Any, use_tqdm: bool) -> list[Any]:
        tokens = sampling.logprob_token_ids or []
        found = {token: SimpleNamespace(logprob=-1.0 / (1 + token)) for token in tokens}
        ids = [[prompt["prompt_token_ids"][0]] * min(2, sampling.max_tokens) for prompt in asked]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=i, logprobs=[found])]) for i in ids]


def test_the_engine_writes_and_reads_the_tokens_that_are_asked_for(tiny_backbone: Path, monkeypatch: Any) -> None:
    def sampling(**given: Any) -> Any:
        return SimpleNamespace(**{"logprob_token_ids": None, "temperature": 1, **given})

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=Engine, SamplingParams=sampling, __version__="test"))
    guard = get_guard("config", "llama-3.1-70b-instruct-cot")
    scorer = GuardScorer.open(guard, tiny_backbone, ScoreSettings(backend="vllm", dtype="float32"))
    assert scorer.describe()["engine"]["max_model_len"] == 1024 + guard.max_new_tokens + 1
    assert scorer.backend.generate([[5, 6], [7]], 9) == [[5, 5], [7, 7]]
    other = scorer.backend.reading(Verbalizer((4,), (9,)))
    assert other.log_odds([[5]]) == pytest.approx([-1 / 5 + 1 / 10])
    assert not any(row.parsed for row in scorer.score(ITEMS))
