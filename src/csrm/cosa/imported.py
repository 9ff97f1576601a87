"""Responses that a data set labels with harms, as CoSAlign's labelled responses (CoSA, section 4.2).

A category of another taxonomy becomes the CoSAlign categories that it can be. BeaverTails does not tell drugs from
weapons: such a response is never chosen where only one of them is allowed.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from csrm.align.helpfulness import answers
from csrm.cosa.schema import Asked, Labelled, Situation
from csrm.cosa.synthesis import OTHER, Harm
from csrm.cosa.topics import config_id, prompt_hash
from csrm.rows import PromptRow, Row
from csrm.settings import CosaSettings

CROSSWALK: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "beavertails": {
        "animal_abuse": (Harm.VIOLENCE,),
        "child_abuse": (Harm.SEXUAL,),
        "controversial_topics": (OTHER,),
        "discrimination": (Harm.DISCRIMINATION,),
        "drugs_weapons": (Harm.DRUGS, Harm.WEAPONS),
        "financial_crime": (Harm.FINANCIAL,),
        "hate_speech": (Harm.DISCRIMINATION,),
        "misinformation": (OTHER,),
        "unethical": (OTHER,),
        "privacy": (Harm.PRIVACY,),
        "self_harm": (OTHER,),
        "sexual": (Harm.SEXUAL,),
        "terrorism": (Harm.VIOLENCE,),
        "violence": (Harm.VIOLENCE,),
    },
    "wildguard": {
        "sensitive_information_organization_government": (Harm.PRIVACY,),
        "private_information_individual": (Harm.PRIVACY,),
        "copyright_violations": (OTHER,),
        "disseminating_false_or_misleading_information_encouraging_disinformation_campaigns": (OTHER,),
        "causing_material_harm_by_disseminating_misinformation": (OTHER,),
        "social_stereotypes_and_unfair_discrimination": (Harm.DISCRIMINATION,),
        "violence_and_physical_harm": (Harm.VIOLENCE,),
        "toxic_language_hate_speech": (Harm.DISCRIMINATION,),
        "sexual_content": (Harm.SEXUAL,),
        "cyberattack": (OTHER,),
        "fraud_assisting_illegal_activities": (Harm.FINANCIAL,),
        "defamation_encouraging_unethical_or_unsafe_actions": (OTHER,),
        "mental_health_over-reliance_crisis": (OTHER,),
    },
    "cosalign": {harm: (harm,) for harm in Harm},
}
"""Taxonomy -> category -> CoSAlign categories."""


class Imported(NamedTuple):
    """Labelled responses, and rows left out by reason."""

    rows: list[Labelled]
    left_out: dict[str, int]


def import_rows(rows: Iterable[Row], tested: Collection[str], longest: int) -> Imported:
    """Labelled responses of the data layer's rows: single exchanges whose harm is known.

    A prompt's risk set J is the union of what its responses contain, which stands in for CoSA's judge of prompts. A
    response addresses its prompt as the data set says it (`addressed`, or that it does not refuse), else where it
    answers at all.

    Args:
        rows: labelled conversations.
        tested: ids of test prompts, which are left out.
        longest: words that the data layer cuts responses to; one of that length does not teach where to end.

    Raises:
        ValueError: if a row's taxonomy has no crosswalk.
    """
    kept: list[tuple[Row, list[str]]] = []
    risks: dict[str, set[str]] = {}
    left_out: Counter[str] = Counter()
    for row in rows:
        reason = _unusable(row, tested)
        if reason:
            left_out[reason] += 1
            continue
        found = harms_of(row)
        kept.append((row, found))
        risks.setdefault(row.prompt_id, set()).update(found)
    made = [_labelled(row, found, sorted(risks[row.prompt_id]), longest) for row, found in kept]
    return Imported(made, dict(left_out))


def harms_of(row: Row) -> list[str]:
    """CoSAlign categories of a response; one that is unsafe for no category that is named has other harms.

    Raises:
        ValueError: if the row's taxonomy has no crosswalk.
    """
    if row.taxonomy not in CROSSWALK:
        raise ValueError(
            f"row {row.id!r} is labelled with taxonomy {row.taxonomy!r}, which has no categories of CoSAlign; "
            f"cosa.data takes data sets of {sorted(CROSSWALK)}"
        )
    known = CROSSWALK[row.taxonomy]
    found = sorted({str(harm) for key, severity in row.harms.items() if severity > 0 for harm in known[key]})
    return found if found or row.safe else [str(OTHER)]


def configured_prompts(rows: Sequence[PromptRow], settings: CosaSettings, seed: int) -> list[Asked]:
    """`test_prompts` prompts of CoSAlign-Test under each test configuration, by prompt hash.

    A prompt is asked under the configurations that the data set has it for, with the situation that it names.

    Raises:
        ValueError: if a configuration has no prompts, or rows have no situation.
    """
    asked: dict[str, Asked] = {}
    for config in [*settings.seen_configs, *settings.unseen_configs]:
        own = {row.prompt_id: row for row in rows if {*row.meta["allowed"]} == {*config}}
        if not own:
            known = sorted({config_id(sorted(row.meta["allowed"])) for row in rows})
            raise ValueError(f"no test prompts under configuration {config_id(config)!r}; the data set has {known}")
        for prompt_id in sorted(own, key=lambda name: prompt_hash(name, seed))[: settings.test_prompts]:
            first = asked.setdefault(prompt_id, _asked(own[prompt_id]))
            situations = {**(first.situations or {}), config_id(config): _situation(own[prompt_id])}
            asked[prompt_id] = first.model_copy(update={"situations": situations})
    return list(asked.values())


def _asked(row: PromptRow) -> Asked:
    return Asked(prompt_id=row.prompt_id, prompt=row.prompt, harms=row.meta.get("prompt_categories") or [])


def _situation(row: PromptRow) -> Situation:
    if "situation" not in row.meta:
        raise ValueError(f"row {row.id!r} has no situation: cosa.test_data needs CoSAlign-Test's columns")
    situation: Situation = row.meta["situation"]
    return situation


def _unusable(row: Row, tested: Collection[str]) -> str | None:
    if [m.role for m in row.messages] != ["user", "assistant"]:
        return "more than one exchange"
    if row.prompt_id in tested:
        return "test prompt"
    return "harm not labelled" if row.safe is None else None


def _labelled(row: Row, found: list[str], harms: list[str], longest: int) -> Labelled:
    prompt, response = (message.content for message in row.messages)
    head = Asked(prompt_id=row.prompt_id, prompt=prompt, harms=harms)
    labels: dict[str, Any] = {"found": found, "addressed": _addressed(row)}
    finished = len(response.split()) < longest
    return Labelled(**head.model_dump(), id=row.id, response=response, finished=finished, **labels)


def _addressed(row: Row) -> Literal[0, 1]:
    if "addressed" in row.meta:
        return 1 if row.meta["addressed"] else 0
    refused = not answers(row.messages[-1].content) if row.refusal is None else row.refusal
    return 0 if refused else 1
