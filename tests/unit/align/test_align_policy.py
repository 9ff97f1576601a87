"""Sampling and DPO with a tiny random model."""

import math
from pathlib import Path

import numpy as np
import pytest
from jinja2 import TemplateError

from csrm.align.attention import register
from csrm.align.dpo import check_start, tokenise, train_policy
from csrm.align.generate import Sampling, generate, pick
from csrm.align.policy import Policy, chat, load_policy, load_tokenizer, prompt_ids
from csrm.align.sample import sample_responses, topic_rows
from csrm.align.schema import Preference
from csrm.configs.safety_config import SafetyConfig
from csrm.rows import PromptRow
from csrm.settings import AlignSettings

SETTINGS = AlignSettings.model_validate({"max_new_tokens": 12, "steps": 2, "batch_pairs": 2, "lora_rank": 4})
PROMPTS = [
    PromptRow(id=str(i), dataset="x", prompt_id=str(i), prompt=text, meta={"family": "pets"})
    for i, text in enumerate(["what should i serve ?", "cat", "the dog the cat the party ? what drink"])
]


@pytest.fixture(scope="module")
def policy(tiny_policy: Path) -> Policy:
    return load_policy(tiny_policy, dtype="float32")


def pairs(config: SafetyConfig, n: int = 4) -> list[Preference]:
    return [
        Preference(
            id=str(i),
            prompt_id=str(i),
            prompt=chat("what should i serve ?", config.categories),
            chosen="serve music " * (i + 1),
            rejected="wine beer wine",
            chosen_finished=True,
            rejected_finished=False,
            reward_chosen=0.9,
            reward_rejected=0.1,
        )
        for i in range(n)
    ]


def test_sampling_is_deterministic_and_independent_of_the_batch(policy: Policy, no_alcohol: SafetyConfig) -> None:
    first = sample_responses(policy, PROMPTS, no_alcohol, 3, SETTINGS, seed=1)
    assert first == sample_responses(policy, PROMPTS, no_alcohol, 3, SETTINGS, seed=1)
    assert first != sample_responses(policy, PROMPTS, no_alcohol, 3, SETTINGS, seed=2)
    alone = sample_responses(policy, PROMPTS[1:2], no_alcohol, 3, SETTINGS, seed=1)
    assert alone == first[3:6]
    assert [s.id for s in first[:3]] == ["no-alcohol-0-0", "no-alcohol-0-1", "no-alcohol-0-2"]
    assert all(s.finished or s.n_tokens == 12 for s in first)
    assert len({s.response for s in first}) > 1


def test_responses_stop_at_the_end_token(policy: Policy) -> None:
    ids = [prompt_ids(policy.tokenizer, chat(p.prompt, None)) for p in PROMPTS]
    seeds = [[10 * i + j for j in range(20)] for i in range(3)]
    groups = generate(policy, ids, seeds, Sampling(40, 1.0, 1.0), batch_rows=20)
    everything = [g for group in groups for g in group]
    assert any(g.finished for g in everything)
    assert all(not policy.stop_ids & set(g.tokens) for g in everything)
    assert all(len(g.tokens) == 40 for g in everything if not g.finished)


def test_prompts_that_leave_no_room_for_the_response_are_refused(policy: Policy) -> None:
    fitting, longer = [5] * 506, [5] * 507  # of 512 positions
    assert generate(policy, [fitting], [[0]], Sampling(6, 1.0, 1.0))
    told = r"507 tokens and up to 6 new ones make 513, the policy has 512 positions .* 1 of 2 prompts exceed: shorten"
    with pytest.raises(ValueError, match=told):
        generate(policy, [fitting, longer], [[0], [0]], Sampling(6, 1.0, 1.0))


def test_greedy_limit_equals_a_full_forward(policy: Policy) -> None:
    import torch

    ids = [prompt_ids(policy.tokenizer, chat(p.prompt, None)) for p in PROMPTS]
    groups = generate(policy, ids, [[0], [0], [0]], Sampling(6, 1e-4, 0.5))
    for prompt, (generation,) in zip(ids, groups, strict=True):
        sequence = list(prompt)
        for token in generation.tokens:
            with torch.inference_mode():
                logits = policy.model(input_ids=torch.tensor([sequence])).logits[0, -1]
            assert int(logits.argmax()) == token
            sequence.append(token)


def test_nucleus_is_exact_whatever_the_number_of_candidates() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    logits, uniforms = torch.randn(64, 50, generator=generator), torch.rand(64, generator=generator)
    full = pick(logits, uniforms, 0.8, 0.9, candidates=50)
    assert torch.equal(full, pick(logits, uniforms, 0.8, 0.9, candidates=4))
    probabilities = (logits / 0.8).softmax(-1)
    larger = (probabilities * (probabilities > probabilities.gather(1, full[:, None]))).sum(-1)
    assert bool((larger < 0.9).all())
    many = pick(torch.log(torch.tensor([[0.5, 0.3, 0.2]])).repeat(1000, 1), torch.rand(1000), 1.0, 0.7)
    shares = torch.bincount(many, minlength=3) / 1000
    assert shares[2] == 0 and abs(float(shares[0]) - 0.625) < 0.06


def test_decoding_attention_equals_pytorch(tiny_policy: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    model = AutoModelForCausalLM.from_pretrained(tiny_policy, dtype=torch.float32).eval()
    ids, mask = torch.tensor([[0, 0, 5, 6, 7], [4, 5, 6, 7, 8]]), torch.tensor([[0, 0, 1, 1, 1], [1] * 5])
    found = []
    for name in ("sdpa", register()):
        model.set_attn_implementation(name)
        cache = DynamicCache()
        with torch.inference_mode():
            model(input_ids=ids[:, :4], attention_mask=mask[:, :4], past_key_values=cache)
            found.append(model(input_ids=ids[:, 4:], attention_mask=mask, past_key_values=cache).logits)
    assert torch.allclose(found[0], found[1], atol=1e-6)


def test_topic_rows_carry_every_matching_family(policy: Policy, families: list, no_alcohol: SafetyConfig) -> None:
    samples = sample_responses(policy, PROMPTS, None, 1, SETTINGS, seed=0)
    samples = [s.model_copy(update={"response": t}) for s, t in zip(samples, ["wine and a cat", "", "x"], strict=True)]
    rows = topic_rows(PROMPTS, samples, families)
    assert [row.harms for row in rows] == [{"alcohol": 1.0, "pets": 1.0}, {}]
    assert rows[0].exhaustive and rows[0].meta["category"] == "pets" and rows[0].label_source == "lexicon"


def test_prompts_hold_the_configuration_and_end_before_the_answer(tiny_policy: Path, no_alcohol: SafetyConfig) -> None:
    messages = chat("hello", no_alcohol.categories)
    assert [m.role for m in messages] == ["system", "user"] and "- Alcohol. The response" in messages[0].content
    assert [m.role for m in chat("hello", None)] == ["user"]
    ids = prompt_ids(load_tokenizer(tiny_policy), messages)
    assert ids.count(1) == 3 and ids[-1] != 2


def test_dpo_starts_at_ln2_saves_an_adapter_and_repeats(
    tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path
) -> None:
    import torch

    runs = [
        train_policy(
            tiny_policy, pairs(no_alcohol), "dpo", SETTINGS, 0, tmp_path / "scratch", tmp_path / str(i), "float32"
        )
        for i in range(2)
    ]
    assert runs[0].log[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert runs[0].log[1]["loss"] < runs[0].log[0]["loss"]
    assert runs[0].log == runs[1].log and len(runs[0].log) == 2
    assert {"margin", "accuracy"} <= set(runs[0].log[0])
    assert (tmp_path / "0" / "adapter_model.safetensors").is_file()
    prompts = [prompt_ids(load_tokenizer(tiny_policy), chat("what should i serve ?", None))]
    plain, tuned = (load_policy(tiny_policy, *adapters, dtype="float32") for adapters in ((), (tmp_path / "0",)))
    logits = [p.model(input_ids=torch.tensor(prompts)).logits for p in (plain, tuned)]
    assert not logits[0].equal(logits[1])


def test_a_start_away_from_the_reference_is_an_error_rounding_is_none() -> None:
    first = {"reward_chosen": 0.0036, "logp_chosen": -84.4, "reward_rejected": -0.0236, "logp_rejected": -88.0}
    check_start(first, 0.1, 2**-7)
    with pytest.raises(ValueError, match=r"first reward of rejected responses is -0\.0236 nats, more than 0\.0200"):
        check_start(first, 0.1, 2**-23)
    with pytest.raises(ValueError, match=r"of chosen responses is 0\.2000"):
        check_start({**first, "reward_chosen": 0.2, "reward_rejected": 0.2}, 0.1, 2**-7)


def test_passes_and_checkpoints_spare_memory(tiny_policy: Path, no_alcohol: SafetyConfig, tmp_path: Path) -> None:
    """Half of an update's pairs at a time, with activations computed again: the same steps."""
    logs = []
    for n, spared in enumerate(({}, {"device_pairs": 2}, {"device_pairs": 1, "gradient_checkpointing": True})):
        settings = SETTINGS.model_copy(update={"batch_pairs": 4, "steps": 2, **spared})
        scratch, adapter = tmp_path / "scratch", tmp_path / str(n)
        trained = train_policy(tiny_policy, pairs(no_alcohol, 4), "dpo", settings, 0, scratch, adapter, "float32")
        logs.append([[row[name] for name in ("loss", "margin", "grad_norm")] for row in trained.log])
    assert logs[0][1] != logs[0][0]
    for log in logs[1:]:
        assert np.array(log) == pytest.approx(np.array(logs[0]), abs=1e-5)
    with pytest.raises(ValueError, match="device_pairs 3 must divide batch_pairs 4"):
        AlignSettings(batch_pairs=4, device_pairs=3)


def test_a_template_without_system_messages_gets_them_in_the_first_turn(
    tiny_policy: Path, no_alcohol: SafetyConfig
) -> None:
    tokenizer, messages = load_tokenizer(tiny_policy), chat("hello", no_alcohol.categories)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m['role'] + ' ' + m['content'] }}{% endfor %}"
    )
    merged = tokenizer.decode(prompt_ids(tokenizer, messages))
    expected = f"user {messages[0].content}\n\nhello"
    assert merged == tokenizer.decode(tokenizer(expected, add_special_tokens=False)["input_ids"])
    with pytest.raises(TemplateError):
        prompt_ids(tokenizer, messages[:1])


def test_only_finished_responses_end_with_the_end_token(tiny_policy: Path, no_alcohol: SafetyConfig) -> None:
    row = tokenise(load_tokenizer(tiny_policy), pairs(no_alcohol, 1), 1024).rows[0]
    assert row["chosen_ids"][-1] == 2 and row["rejected_ids"][-1] != 2
    assert row["prompt_ids"].count(2) == 2


def test_long_pairs_are_left_out_whole_or_refused(tiny_policy: Path, no_alcohol: SafetyConfig) -> None:
    tokenizer, given = load_tokenizer(tiny_policy), pairs(no_alcohol, 20)
    longest = tokenise(tokenizer, given, 1024)
    limit = max(len(r["prompt_ids"]) + len(r["chosen_ids"]) for r in longest.rows) - 1
    assert tokenise(tokenizer, given, limit).too_long == 1
    with pytest.raises(ValueError, match="exceed 10 tokens"):
        tokenise(tokenizer, given, 10)


def test_missing_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="plain Hugging Face"):
        load_policy(tmp_path)
