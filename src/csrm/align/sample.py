"""Sampling responses of a policy, under a configuration or without one, and labelling topics by lexicon."""

import hashlib
from collections.abc import Sequence
from typing import Any

from csrm.align.generate import Generation, Sampling, generate
from csrm.align.policy import Policy, chat, prompt_ids
from csrm.align.schema import Sample, TopicFamily
from csrm.configs.safety_config import SafetyConfig
from csrm.rows import Message, PromptRow, Row
from csrm.settings import SamplingSettings


def sample_responses(
    policy: Policy,
    prompts: Sequence[PromptRow],
    config: SafetyConfig | None,
    samples: int,
    settings: SamplingSettings,
    seed: int,
) -> list[Sample]:
    """Sample responses to every prompt, prompt by prompt; equal arguments give equal samples.

    Each response is seeded by (seed, configuration, prompt, number), so more prompts or samples leave the others as
    they are (up to rounding of batched products).
    """
    from tqdm import tqdm

    name = config.name if config else None
    categories = config.categories if config else None
    ids = [prompt_ids(policy.tokenizer, chat(row.prompt, categories)) for row in prompts]
    seeds = [[response_seed(seed, name, row.prompt_id, i) for i in range(samples)] for row in prompts]
    sampling = Sampling(settings.max_new_tokens, settings.temperature, settings.top_p)
    with tqdm(total=len(prompts), desc="sampling", unit="prompt") as bar:
        generations = generate(policy, ids, seeds, sampling, progress=bar.update)
    return [
        _sample(policy.tokenizer, row, name, number, generation)
        for row, group in zip(prompts, generations, strict=True)
        for number, generation in enumerate(group)
    ]


def response_seed(seed: int, config: str | None, prompt_id: str, number: int) -> int:
    """Seed of one response's own generator."""
    text = f"{seed}|{config}|{prompt_id}|{number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def topic_rows(prompts: Sequence[PromptRow], samples: Sequence[Sample], families: Sequence[TopicFamily]) -> list[Row]:
    """Rows of the data set `topics`: every family whose lexicon matches the response has severity 1.

    Empty responses have nothing to label and are left out.
    """
    by_id = {row.prompt_id: row for row in prompts}
    return [_topic_row(by_id[s.prompt_id], s, families) for s in samples if s.response]


def _topic_row(prompt: PromptRow, sample: Sample, families: Sequence[TopicFamily]) -> Row:
    return Row(
        id=f"topics-{prompt.prompt_id}-{sample.sample}",
        dataset="topics",
        prompt_id=prompt.prompt_id,
        messages=[Message(role="user", content=prompt.prompt), Message(role="assistant", content=sample.response)],
        taxonomy="topics",
        harms={f.family: 1.0 for f in families if f.matches(sample.response)},
        exhaustive=True,
        label_source="lexicon",
        meta={"category": prompt.meta.get("category", prompt.meta.get("family")), "finished": sample.finished},
    )


def _sample(tokenizer: Any, row: PromptRow, config: str | None, number: int, generation: Generation) -> Sample:
    return Sample(
        id=f"{config or 'plain'}-{row.prompt_id}-{number}",
        prompt_id=row.prompt_id,
        prompt=row.prompt,
        config=config,
        sample=number,
        response=tokenizer.decode(generation.tokens, skip_special_tokens=True).strip(),
        n_tokens=len(generation.tokens),
        finished=generation.finished,
    )
