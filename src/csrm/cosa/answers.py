"""Responses of a policy to training prompts under drawn configurations, and to test prompts under the test's."""

import random
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from csrm.align.generate import Sampling, generate
from csrm.align.policy import Policy, prompt_ids
from csrm.align.sample import response_seed
from csrm.cosa.schema import Answer, Asked, Labelled
from csrm.cosa.synthesis import HARD, sample_config
from csrm.cosa.topics import Taxonomy, config_id
from csrm.cosa.wordings import WORDINGS, conversation, system_text
from csrm.rows import Message
from csrm.settings import CosaSettings


class Request(NamedTuple):
    """What the policy is asked; the id seeds the response and the draws."""

    id: str
    asked: Asked
    messages: list[Message]
    allowed: Sequence[str] = ()
    group: Literal["seen", "unseen"] = "seen"


def training_requests(prompts: Sequence[Asked], taxonomy: Taxonomy, seed: int) -> list[Request]:
    """Every prompt bare, and under configurations of the modes `superset` and `not_superset` (CoSA, section 4.2)."""
    settings = taxonomy.settings
    requests = []
    for row in prompts:
        bare = conversation(None, (), row.prompt)
        requests += [Request(f"plain-{row.prompt_id}-{i}", row, bare) for i in range(settings.plain_samples)]
        for i in range(settings.configured_samples):
            name = f"drawn-{row.prompt_id}-{i}"
            rng = random.Random(f"{seed}|{name}")
            known = frozenset(row.harms) & frozenset(settings.seen)
            allowed = sample_config(HARD[i % 2], known, rng, frozenset(settings.seen))
            system = worded(allowed, taxonomy, rng, seen_only=True)
            requests.append(Request(name, row, conversation(system, (), row.prompt), allowed))
    return requests


def test_requests(
    prompts: Sequence[Asked], taxonomy: Taxonomy, examples: Sequence[Labelled], seed: int
) -> list[Request]:
    """Every test prompt under its test configurations, with in-context exchanges where examples are given.

    Args:
        prompts: test prompts.
        taxonomy: with the test configurations in its settings.
        examples: labelled training responses to draw `shots` exchanges from (none: no exchange is shown).
        seed: of wordings and exchanges; a configuration's exchanges are the same for all prompts.
    """
    settings = taxonomy.settings
    groups: tuple[tuple[Literal["seen", "unseen"], list[list[str]]], ...] = (
        ("seen", settings.seen_configs),
        ("unseen", settings.unseen_configs),
    )
    requests = []
    for group, configs in groups:
        for allowed in configs:
            name = config_id(allowed)
            shots = draw_shots(examples, allowed, settings.shots, seed)
            for row in prompts:
                if row.situations is not None and name not in row.situations:
                    continue
                rng = random.Random(f"{seed}|{name}|{row.prompt_id}")
                messages = conversation(worded(allowed, taxonomy, rng, seen_only=False), shots, row.prompt)
                requests.append(Request(f"{name}-{row.prompt_id}", row, messages, allowed, group))
    return requests


def worded(allowed: Sequence[str], taxonomy: Taxonomy, rng: random.Random, seen_only: bool) -> str:
    """The configuration in one of the ten wordings."""
    categories = [taxonomy.category(label) for label in allowed]
    return system_text(categories, taxonomy.limits(seen_only), rng.randrange(len(WORDINGS)))


def draw_shots(rows: Sequence[Labelled], allowed: Sequence[str], shots: int, seed: int) -> list[tuple[str, str]]:
    """Exchanges that address their prompt within the configuration, as many as there are, one a prompt."""
    order = list(rows)
    random.Random(f"{seed}|{config_id(allowed)}").shuffle(order)
    fitting = {row.prompt: row.response for row in order if row.addressed and {*row.found} <= {*allowed}}
    return list(fitting.items())[:shots]


def responses(policy: Policy, requests: Sequence[Request], settings: CosaSettings, seed: int) -> list[Labelled]:
    """The policy's responses to training requests, to be labelled by a judge."""
    texts = _respond(policy, requests, settings, seed)
    unlabelled: dict[str, Any] = {"found": [], "addressed": None}
    return [
        Labelled(**r.asked.model_dump(), id=r.id, response=text, finished=finished, **unlabelled)
        for r, (text, finished) in zip(requests, texts, strict=True)
    ]


def answer(policy: Policy, requests: Sequence[Request], settings: CosaSettings, seed: int) -> list[Answer]:
    """The policy's responses to test requests."""
    texts = _respond(policy, requests, settings, seed)
    rows = []
    for r, (text, finished) in zip(requests, texts, strict=True):
        more: dict[str, Any] = {"allowed": list(r.allowed), "group": r.group, "finished": finished}
        rows.append(Answer(**r.asked.model_dump(), id=r.id, config_id=config_id(r.allowed), response=text, **more))
    return rows


def _respond(policy: Policy, requests: Sequence[Request], settings: CosaSettings, seed: int) -> list[tuple[str, bool]]:
    """One response (text, finished) a request."""
    from tqdm import tqdm

    ids = [prompt_ids(policy.tokenizer, r.messages) for r in requests]
    seeds = [[response_seed(seed, None, r.id, 0)] for r in requests]
    sampling = Sampling(settings.max_new_tokens, settings.temperature, settings.top_p)
    with tqdm(total=len(requests), desc="answering", unit="prompt") as bar:
        generations = generate(policy, ids, seeds, sampling, progress=bar.update)
    decode = policy.tokenizer.decode
    return [(decode(g.tokens, skip_special_tokens=True).strip(), g.finished) for (g,) in generations]
