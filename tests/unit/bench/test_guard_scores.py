"""Scores of guards: control tokens, the place of the verdict, batches, limits; for every guard in its own format."""

import argparse
import math
from dataclasses import dataclass

import pytest
import torch
import yaml
from guard_families import FAMILIES, FAMILY_OF, family_model, family_tokenizer

from csrm import files
from csrm.bench import baseline_commands
from csrm.bench.guards.batched import BatchedModel
from csrm.bench.guards.fitting import Fitter, token_ids
from csrm.bench.guards.labels import place_of
from csrm.bench.guards.scorer import GuardScorer
from csrm.bench.guards.table import get_guard, load_guards
from csrm.configs.safety_config import Category
from csrm.model.verbalizer import Verbalizer
from csrm.rows import Item, Message, ScoreRow
from csrm.settings import BackendSettings, write_slice

TABLE = load_guards("config")
CONFIG = [Category(name="Alcohol", guideline="No drinks."), Category(name="Pets")]
ANSWERS = {  # by adapter: what stands before the verdict, with the family's control tokens, and after it
    "wildguard": ("Harmful request: yes\nResponse refusal: no\nHarmful response: ", "</s>"),
    "dynaguard-cot": ("Gin is a drink.\n</think>\n\n<answer>\n", "\n</answer><|im_end|>"),
    "instruct-cot": ("S1 applies. <answer>", "</answer><|eot_id|>"),
    "thinking": ("Perhaps <answer>safe</answer>?\n</think>\n\n<answer>", "</answer><|im_end|>"),
    "gpt-oss-safeguard": (
        "<|channel|>analysis<|message|>It is safe? No.<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|return|>",
    ),
}


def item(name="a", said="Gin.", config=CONFIG, turns=()):
    messages = [*turns, Message(role="user", content="A drink?"), Message(role="assistant", content=said)]
    return Item(id=name, prompt_id=name, messages=messages, config=config, label="safe")


ITEMS = [item("a"), item("b", "A glass of milk, and a walk with the dog after it.", CONFIG[:1]), item("c", "No.", [])]


@dataclass(frozen=True)
class Scripted(BatchedModel):
    """Writes given texts instead of the model's own."""

    tokenizer: object = None
    said: str = ""

    def generate(self, prompts, max_new_tokens, progress=False):
        line = token_ids(self.tokenizer, "\n")  # an answer goes on from a prompt: no space is put before it
        return [token_ids(self.tokenizer, f"\n{self.said}")[len(line) :] for _ in prompts]


def scorer(name, max_length=2048, budget=4096, task="response", said=None, **changes):
    family = FAMILY_OF[name]
    tokenizer, guard = family_tokenizer(family), get_guard("config", name).model_copy(update=changes)
    given = (family_model(family), Verbalizer((0,), (0,)), tokenizer.pad_token_id, budget)
    backend = BatchedModel(*given) if said is None else Scripted(*given, tokenizer, said)
    return GuardScorer(backend, Fitter(guard, tokenizer, max_length, task=task))


def forward(name, ids):
    """Log-probabilities after all of `ids`, from one forward pass over them."""
    with torch.inference_mode():
        return family_model(FAMILY_OF[name])(torch.tensor([ids])).logits[0, -1].log_softmax(-1)


def written(tokenizer, ids):
    """Decoded text without white space: tokenizers of pieces put spaces after control tokens."""
    return "".join(tokenizer.decode(ids, skip_special_tokens=False).split())


@pytest.mark.parametrize("name", sorted(TABLE))
def test_control_tokens_are_single_tokens(name):
    family, tokenizer = FAMILIES[FAMILY_OF[name]], family_tokenizer(FAMILY_OF[name])
    fitted = scorer(name).fitter.fit(item())
    seen = set()
    for text, ids in zip(fitted.prompts, fitted.tokens, strict=True):
        for control in family.controls:
            assert ids.count(tokenizer.convert_tokens_to_ids(control)) == text.count(control), control
            seen |= {control} if control in text else set()
        assert written(tokenizer, ids) == "".join(text.split())
        assert tokenizer.bos_token is None or ids.count(tokenizer.bos_token_id) == 1
    assert len(seen) >= 2, "the format has control tokens"


@pytest.mark.parametrize("name", sorted(n for n, guard in TABLE.items() if not guard.max_new_tokens))
def test_a_first_token_is_read_right_after_the_prompt(name):
    guard, tokenizer = TABLE[name], family_tokenizer(FAMILY_OF[name])
    judge = scorer(name)
    (row,) = judge.score([item(config=CONFIG[:1])])
    fitted = judge.fitter.fit(item(config=CONFIG[:1]))
    (text,), (ids,) = fitted.prompts, fitted.tokens
    expected, odds = forward(name, ids), []
    for words in (guard.safe.split("|"), guard.unsafe.split("|")):
        told = [token_ids(tokenizer, text + word) for word in words]
        assert all(tokens[: len(ids)] == ids for tokens in told)
        assert [tokenizer.decode(tokens[len(ids) :]) for tokens in told] == words
        odds.append(expected[[tokens[len(ids)] for tokens in told]].logsumexp(0))
    assert row.log_odds == pytest.approx(float(odds[0] - odds[1]), abs=1e-4)
    assert row.parsed and not row.truncated and row.n_tokens == len(ids)


@pytest.mark.parametrize("label", ["safe", "unsafe"])
@pytest.mark.parametrize("name", sorted(n for n, guard in TABLE.items() if guard.max_new_tokens))
def test_a_verdict_in_an_answer_is_read_where_it_stands(name, label):
    guard, tokenizer = TABLE[name], family_tokenizer(FAMILY_OF[name])
    before, after = ANSWERS[guard.adapter]
    judge = scorer(name, said=before + getattr(guard, label) + after)
    (row,) = judge.score([item()])
    (prompt,) = judge.fitter.fit(item()).prompts
    place = place_of(guard, tokenizer, prompt + before)
    whole = token_ids(tokenizer, prompt + before + getattr(guard, label) + after)
    verdict = place.pair[label == "unsafe"][0]
    assert whole[: len(place.tokens) + 1] == [*place.tokens, verdict], "the verdict is the token after the context"
    told = "".join((prompt + before).split()).removesuffix(">")  # a tokenizer may join a tag's last sign to the word
    assert written(tokenizer, place.tokens).removesuffix(">") == told
    expected = forward(name, place.tokens)
    assert row.log_odds == pytest.approx(float(expected[place.pair[0][0]] - expected[place.pair[1][0]]), abs=1e-4)
    assert row.parsed and row.log_odds != 0.0


@pytest.mark.parametrize("name", sorted(TABLE))
def test_batches_give_what_one_at_a_time_gives(name):
    before, after = ANSWERS.get(TABLE[name].adapter, ("", ""))
    said = before + TABLE[name].unsafe + after if before else None
    together = scorer(name, budget=100_000, said=said).score(ITEMS)
    single = [scorer(name, said=said).score([one])[0] for one in ITEMS]
    assert [r.log_odds for r in together] == pytest.approx([r.log_odds for r in single], abs=1e-4)
    assert [r.model_copy(update={"log_odds": 0}) for r in together] == [
        r.model_copy(update={"log_odds": 0}) for r in single
    ]
    assert len({round(r.log_odds, 4) for r in together}) > 1, "order would not show"


@pytest.mark.parametrize("name", sorted(n for n, guard in TABLE.items() if guard.max_new_tokens))
def test_batches_write_what_one_at_a_time_writes(name):
    judge = scorer(name, budget=100_000, max_new_tokens=12)
    prompts = [tokens for one in ITEMS for tokens in judge.fitter.fit(one).tokens]
    answers = judge.answers(prompts)
    assert answers == [judge.answers([prompt])[0] for prompt in prompts] and len(set(answers)) > 1


def test_an_answer_ends_at_its_end_token():
    judge = scorer("llama-3.1-70b-instruct-cot", budget=100_000, max_new_tokens=12)
    model = judge.backend.model
    prompts = [tokens for one in ITEMS for tokens in judge.fitter.fit(one).tokens]
    free = judge.backend.generate(prompts, 12)
    end = free[0][3]
    own, model.generation_config.eos_token_id = model.generation_config.eos_token_id, end
    try:
        ended = judge.backend.generate(prompts, 12)
    finally:
        model.generation_config.eos_token_id = own
    assert ended == [ids[: ids.index(end) + 1] if end in ids else ids for ids in free] and len(ended[0]) <= 4


def test_the_vocabulary_projection_is_float32():
    family = FAMILY_OF["llamaguard-3-8b"]
    half = family_model(family).to(torch.bfloat16)
    try:
        backend = BatchedModel(half, Verbalizer((5,), (6,)))
        values = backend.log_odds([[7, 8, n] for n in range(9, 29)])
    finally:
        family_model(family).to(torch.float32)
    assert any(value * 256 % 1 for value in values), "bfloat16 logits have few digits"


def test_of_several_principles_the_least_safe_counts():
    guard = scorer("shieldgemma-9b")
    both, first, second = (guard.score([item(config=c)])[0] for c in (CONFIG, CONFIG[:1], CONFIG[1:]))
    assert both.log_odds == pytest.approx(min(first.log_odds, second.log_odds), abs=1e-4)
    assert abs(first.log_odds - second.log_odds) > 1e-3


def test_an_answer_without_a_verdict_is_no_label():
    (row,) = scorer("dynaguard-8b-cot", max_new_tokens=8).score([item()])
    assert row.log_odds == 0.0 and not row.parsed


@pytest.mark.parametrize(("task", "shown"), [("prompt", "\n"), ("refusal", "Gin.\n"), ("response", "Gin.\n")])
def test_wildguard_reads_a_prompt_without_the_pseudo_response(task, shown):
    judge = scorer("wildguard", task=task, said="Harmful request: no\nResponse refusal: yes\nHarmful response: yes")
    (row,) = judge.score([item()])
    (prompt,) = judge.fitter.fit(item()).prompts
    assert f"AI assistant:\n{shown}\n---" in prompt and row.parsed
    rows = {
        t: scorer("wildguard", task=t, said="Harmful request: no").score([item()])[0] for t in ("prompt", "refusal")
    }
    assert rows["prompt"].parsed and not rows["refusal"].parsed
    assert "Agent: Gin." in scorer("llama-3.1-8b-instruct", task=task).fitter.fit(item()).prompts[0]


def test_label_words_that_one_token_cannot_tell_apart_are_refused():
    with pytest.raises(ValueError, match=r"cannot be told apart.*guards\.tsv"):
        scorer("llamaguard-3-8b", safe="safe", unsafe="safe").score([item()])


def test_long_conversations_are_cut_and_counted():
    guard = scorer("llamaguard-3-8b", max_length=1200)
    (row,) = guard.score([item(said="gin and tonic " * 3000)])
    assert row.truncated and row.n_tokens <= 1200 and math.isfinite(row.log_odds)
    wide = [Category(name="Alcohol", guideline="no drinks " * 2000)]
    message = (
        r"'a': the configuration leaves no room .* in 1200 tokens of guard 'llamaguard-3-8b' \(score.max_length 1200"
    )
    with pytest.raises(ValueError, match=message):
        guard.score([item(config=wide)])


@pytest.mark.parametrize("name", sorted(n for n, guard in TABLE.items() if guard.max_new_tokens))
def test_answers_take_no_room_from_prompts_at_the_default_length(name):
    guard = TABLE[name]
    assert scorer(name, max_length=1024).fitter.room == 1024 < guard.max_length - guard.max_new_tokens


def test_a_format_that_leaves_no_room_is_refused_when_the_guard_is_opened():
    with pytest.raises(
        ValueError, match=r"has \d+ tokens without .* for score.max_length 64: raise score.max_length ab"
    ):
        scorer("gpt-oss-safeguard-20b", max_length=64)
    short = TABLE["gpt-oss-safeguard-20b"].model_copy(update={"max_length": 2100})
    message = r"too many for max_length 2100 with 2048 for the answer, guards.tsv: raise max_length above 2\d{3}"
    with pytest.raises(ValueError, match=message):
        Fitter(short, family_tokenizer("harmony"), 8192)


def test_earlier_turns_that_a_format_cannot_hold_are_counted():
    turns = [Message(role="user", content="Hi."), Message(role="assistant", content="Hello.")]
    assert scorer("shieldgemma-9b").score([item(turns=turns)])[0].truncated
    assert not scorer("llamaguard-3-8b").score([item(turns=turns)])[0].truncated


def test_command(tiny_backbone, tmp_path, capfd):
    files.write_rows(tmp_path / "items.jsonl", [item("a"), item("b", "Tea.")])
    (tmp_path / "score.yaml").write_text(yaml.safe_dump({"dtype": "float32", "max_length": 1024}))
    write_slice(tmp_path / "backend.yaml", BackendSettings())
    parser = argparse.ArgumentParser()
    baseline_commands.register(parser.add_subparsers())

    def run(model):
        line = (
            f"score-guard --guard llama-3.1-8b-instruct --model {model} --items {tmp_path}/items.jsonl --task refusal"
        )
        line += f" --settings {tmp_path}/score.yaml --backend-settings {tmp_path}/backend.yaml --output {tmp_path}/s"
        chosen = parser.parse_args(line.split())
        chosen.run(chosen)

    run(tiny_backbone)
    assert [row.id for row in files.read_rows(tmp_path / "s", ScoreRow)] == ["a", "b"]
    manifest = files.read_json(tmp_path / "s.manifest.json")
    notes = manifest["notes"]
    assert notes[f"{tmp_path}/s"] == {"rows": 2, "truncated": 0, "unparsed": 0} and notes["system_prompt"] == "ours"
    assert notes["backend"] == "transformers" and manifest["settings"]["task"] == "refusal"
    assert "2/2" in capfd.readouterr().err, "a progress bar"
    with pytest.raises(FileNotFoundError, match=r"put meta-llama/Llama-3\.1-8B-Instruct there .* score\.models"):
        run(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"guard is not there, nor is score\.guards, .*/none: put meta-llama"):
        run(tmp_path / "none/guard")
