"""Labelled conversations of guard benchmarks: BeaverTails, WildGuardMix and Aegis 2.0."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from csrm.data.adapters.common import Drops, blank, choose, flag, labelled, optional, prompt_row
from csrm.data.sources import Parts
from csrm.rows import PromptRow, Row

BEAVERTAILS = {
    "animal_abuse": "animal_abuse",
    "child_abuse": "child_abuse",
    "controversial_topics,politics": "controversial_topics",
    "discrimination,stereotype,injustice": "discrimination",
    "drug_abuse,weapons,banned_substance": "drugs_weapons",
    "financial_crime,property_crime,theft": "financial_crime",
    "hate_speech,offensive_language": "hate_speech",
    "misinformation_regarding_ethics,laws_and_safety": "misinformation",
    "non_violent_unethical_behavior": "unethical",
    "privacy_violation": "privacy",
    "self_harm": "self_harm",
    "sexually_explicit,adult_content": "sexual",
    "terrorism,organized_crime": "terrorism",
    "violence,aiding_and_abetting,incitement": "violence",
}
AEGIS = {
    "Violence": "violence",
    "Sexual": "sexual",
    "Criminal Planning/Confessions": "criminal_planning",
    "Guns and Illegal Weapons": "weapons",
    "Controlled/Regulated Substances": "substances",
    "Suicide and Self Harm": "self_harm",
    "Sexual (minor)": "sexual_minor",
    "Hate/Identity Hate": "hate",
    "PII/Privacy": "pii",
    "Harassment": "harassment",
    "Threat": "threat",
    "Profanity": "profanity",
    "Other": "other",
    "Needs Caution": "needs_caution",
    # the nine finer ones, which the taxonomy of 13 + 1 holds under Other
    "Manipulation": "other",
    "Fraud/Deception": "other",
    "Malware": "other",
    "High Risk Gov Decision Making": "other",
    "Political/Misinformation/Conspiracy": "other",
    "Copyright/Trademark/Plagiarism": "other",
    "Unauthorized Advice": "other",
    "Illegal Activity": "other",
    "Immoral/Unethical": "other",
}
KEYS = {key: key for key in BEAVERTAILS}
WILDGUARD = (
    *("sensitive_information_organization_government", "private_information_individual", "copyright_violations"),
    "disseminating_false_or_misleading_information_encouraging_disinformation_campaigns",
    "causing_material_harm_by_disseminating_misinformation",
    *("social_stereotypes_and_unfair_discrimination", "violence_and_physical_harm", "toxic_language_hate_speech"),
    *("sexual_content", "cyberattack", "fraud_assisting_illegal_activities"),
    *("defamation_encouraging_unethical_or_unsafe_actions", "mental_health_over-reliance_crisis"),
)
SUBCATEGORIES = {key: key for key in WILDGUARD} | dict.fromkeys(("benign", "others"))  # None: no category of harm


def beavertails(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Human labels in 14 categories, all of them annotated; exact duplicates are dropped.

    A response labelled both safe and unsafe is left out whole, as a tie of the larger splits is. A row whose `is_safe`
    contradicts its categories is kept and counted: nothing is corrected.
    """
    rows = [(number, _checked(row)) for number, row in enumerate(parts["rows"])]
    labels: dict[tuple[str, str], set[bool]] = {}
    for _, row in rows:
        labels.setdefault((row["prompt"], row["response"]), set()).add(row["is_safe"])
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for number, row in rows:
        text = (row["prompt"], row["response"])
        if blank(drops, row, "prompt", "response"):
            continue
        if len(labels[text]) > 1:
            drops["duplicate, other label"] += 1
            continue
        first = seen.setdefault(text, row)
        if first is not row:
            drops["duplicate" if first["category"] == row["category"] else "duplicate, other categories"] += 1
            continue
        harms = {BEAVERTAILS[key]: 1.0 for key, violated in row["category"].items() if violated}
        if bool(harms) == row["is_safe"]:
            drops["note: is_safe contradicts the categories"] += 1
        yield labelled(name, number, *text, "beavertails", harms=harms, exhaustive=True, safe=row["is_safe"])


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """A row with all 14 categories, yes or no each."""
    category = {choose(key, KEYS, "category"): value for key, value in row["category"].items()}
    if missing := [key for key in KEYS if key not in category]:
        raise ValueError(f"category holds no {missing}; all {len(KEYS)} categories must be true or false")
    checked = {key: flag(value, f"category {key!r}") for key, value in category.items()}
    texts = {field: row.get(field) for field in ("prompt", "response")}
    return {**texts, "is_safe": flag(row["is_safe"], "is_safe"), "category": checked}


def beavertails_votes(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """The splits in which a response was labelled several times: the majority's label, counted; ties are dropped.

    The categories are those that at least half of the majority chose, or where there is none, the most chosen ones.
    """
    answers: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in map(_checked, parts["rows"]):
        if not blank(drops, row, "prompt", "response"):
            answers.setdefault((row["prompt"], row["response"]), []).append(row)
    merged = []
    for votes in answers.values():
        drops["further annotation, merged"] += len(votes) - 1
        n_safe = sum(vote["is_safe"] for vote in votes)
        if 2 * n_safe == len(votes):
            drops["tied annotations"] += 1
            continue
        drops["note: annotations disagree, majority kept"] += 0 < n_safe < len(votes)
        merged.append(_majority([vote for vote in votes if vote["is_safe"] == (2 * n_safe > len(votes))]))
    yield from beavertails(name, {"rows": merged}, drops)


def _majority(votes: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter[str]()
    for vote in votes:
        counts.update({key: int(violated) for key, violated in vote["category"].items()})
    most = max(counts.values(), default=0)
    needed = min(most, (len(votes) + 1) // 2)
    return {**votes[0], "category": {key: 0 < needed <= count for key, count in counts.items()}}


def wildguard_prompts(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Prompts with their harm label, adversarial or vanilla; unlabelled ones are dropped and counted."""
    labels = {"harmful": "unsafe", "unharmful": "safe", None: None, "": None}
    for split in sorted(parts):
        for number, row in enumerate(parts[split]):
            label = choose(row["prompt_harm_label"], labels, "prompt_harm_label")
            if blank(drops, row, "prompt"):
                continue
            if label is None:
                drops["no prompt_harm_label"] += 1
                continue
            kind = "adversarial" if flag(row["adversarial"], "adversarial") else "vanilla"
            meta = {"label": label, "type": kind, "subcategory": row["subcategory"]}
            yield prompt_row(name, f"{split}-{number}", row["prompt"], **meta)


def wildguardmix(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Response harm and refusal; a null label stays None and is noticed, prompt-only rows are dropped and counted.

    `meta["split"]` is train or test; nulls are dropped by each task, not here.
    """
    harmful, refusal = {"harmful": True, "unharmful": False}, {"refusal": True, "compliance": False}
    for split in sorted(parts):
        for number, row in enumerate(parts[split]):
            if blank(drops, row, "prompt", "response"):
                continue
            harmed = optional(drops, row, "response_harm_label", harmful)
            category = optional(drops, row, "subcategory", SUBCATEGORIES)
            labels: dict[str, Any] = {"safe": None if harmed is None else not harmed}
            labels["refusal"] = optional(drops, row, "response_refusal_label", refusal)
            labels["label_source"] = "human" if split == "test" else "model:gpt-4"
            labels["harms"] = {category: 1.0} if harmed and category else {}
            meta = {"split": split, "subcategory": row["subcategory"]}
            meta["adversarial"] = flag(row["adversarial"], "adversarial")
            meta["prompt_harmful"] = optional(drops, row, "prompt_harm_label", harmful)
            yield labelled(name, f"{split}-{number}", row["prompt"], row["response"], "wildguard", meta=meta, **labels)


def aegis2(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Response safety; redacted prompts and prompt-only rows are dropped.

    The categories are those of the whole exchange. Those of an unsafe response are read as its harms (the other ones
    stay unknown where they are related); a safe response has none, and the categories of its prompt stay in `meta`.
    """
    safety = {"safe": True, "unsafe": False}
    for number, row in enumerate(row for split in sorted(parts) for row in parts[split]):
        if row["prompt"] == "REDACTED":
            drops["redacted prompt"] += 1
        elif not row["response_label"]:
            drops["no response label"] += 1
        elif not blank(drops, row, "prompt", "response"):
            categories = [c.strip() for c in (row["violated_categories"] or "").split(",") if c.strip()]
            keys = [choose(category, AEGIS, "violated_categories") for category in categories]
            if not keys and "unsafe" in (row["response_label"].lower(), row["prompt_label"]):
                drops["note: unsafe without a category"] += 1
            safe = choose(row["response_label"].lower(), safety, "response_label")
            source = str(row["response_label_source"] or "").strip() or "unknown"
            if source == "unknown":
                drops["note: no response_label_source"] += 1
            labels = {
                "safe": safe,
                "harms": {} if safe else dict.fromkeys(keys, 1.0),
                "meta": {"categories": categories, "prompt_label": row["prompt_label"]},
                "label_source": source,
            }
            yield labelled(name, number, row["prompt"], row["response"], "aegis2", **labels)
