"""Labelled conversations of guard benchmarks: BeaverTails, WildGuardMix, Aegis 2.0 and DynaBench."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml

from csrm.data.adapters.common import Drops, blank, choose, context_id, labelled, prompt_row
from csrm.data.sources import Parts
from csrm.rows import Message, PromptRow, Row

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
_SPEAKER = re.compile(r"^\s*'?(User|Agent)'?:[ \t]*", re.MULTILINE)
_ROLES = {"User": "user", "Agent": "assistant"}


def beavertails(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Human labels in 14 categories, all of them annotated; exact duplicates are dropped.

    A row whose `is_safe` contradicts its categories is kept and counted: nothing is corrected.
    """
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(parts["rows"]):
        text = (row["prompt"], row["response"])
        if blank(drops, row, "prompt", "response"):
            continue
        if text in seen:
            drops["duplicate"] += 1
            continue
        seen.add(text)
        keys = {key: choose(key, BEAVERTAILS, "category") for key in row["category"]}
        harms = {keys[key]: 1.0 for key, violated in row["category"].items() if violated}
        if bool(harms) == choose(row["is_safe"], {True: True, False: False}, "is_safe"):
            drops["note: is_safe contradicts the categories"] += 1
        yield labelled(name, number, *text, "beavertails", harms=harms, exhaustive=True, safe=row["is_safe"])


def beavertails_votes(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """The splits in which a response was labelled several times: the majority's label, counted; ties are dropped.

    The categories are those that at least half of the majority chose, or where there is none, the most chosen ones.
    """
    answers: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in parts["rows"]:
        if not blank(drops, row, "prompt", "response"):
            choose(row["is_safe"], {True: True, False: False}, "is_safe")
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
        counts.update({key: int(bool(violated)) for key, violated in vote["category"].items()})
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
            kind = choose(row["adversarial"], {True: "adversarial", False: "vanilla"}, "adversarial")
            meta = {"label": label, "type": kind, "subcategory": row["subcategory"]}
            yield prompt_row(name, f"{split}-{number}", row["prompt"], **meta)


def wildguardmix(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Response harm and refusal; a null label stays None, prompt-only rows are dropped and counted.

    `meta["split"]` is train or test; nulls are dropped by each task, not here.
    """
    harm = {"harmful": False, "unharmful": True, None: None, "": None}
    refusal = {"refusal": True, "compliance": False, None: None, "": None}
    for split in sorted(parts):
        for number, row in enumerate(parts[split]):
            if blank(drops, row, "prompt", "response"):
                continue
            safe = choose(row["response_harm_label"], harm, "response_harm_label")
            meta = {"split": split, "subcategory": row["subcategory"], "adversarial": bool(row["adversarial"])}
            unharmed = choose(row["prompt_harm_label"], harm, "prompt_harm_label")
            meta["prompt_harmful"] = None if unharmed is None else not unharmed
            labels: dict[str, Any] = {"safe": safe}
            labels["refusal"] = choose(row["response_refusal_label"], refusal, "response_refusal_label")
            labels["label_source"] = "human" if split == "test" else "model:gpt-4"
            if safe is False and row["subcategory"] not in (None, "", "benign", "others"):
                labels["harms"] = {row["subcategory"]: 1.0}
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
            safe = choose(row["response_label"].lower(), safety, "response_label")
            labels = {
                "safe": safe,
                "harms": {} if safe else dict.fromkeys(keys, 1.0),
                "meta": {"categories": categories, "prompt_label": row["prompt_label"]},
                "label_source": row["response_label_source"] or "unknown",
            }
            yield labelled(name, number, row["prompt"], row["response"], "aegis2", **labels)


def dynabench(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Multi-turn transcripts judged under their own policy; `meta["policy"]` lists its rules.

    The label is the verdict on the whole conversation under that policy (PASS is safe).
    """
    for number, row in enumerate(parts["test"]):
        messages = turns(row["transcript"])
        while messages and messages[-1].role != "assistant":
            messages.pop()
            drops["note: user turn after the last response, cut"] += 1
        if len(messages) < 2:
            drops["transcript without a response"] += 1
            continue
        meta = {"policy": rules(row["policy"]), "base_id": row.get("base_id"), **metadata(row.get("metadata"))}
        yield Row(
            id=f"{name}-{number}",
            dataset=name,
            prompt_id=context_id(messages),
            messages=messages,
            taxonomy="none",
            safe=choose(row["label"], {"PASS": True, "FAIL": False}, "label"),
            label_source="model:gpt-4o",
            meta=meta,
        )


def dynabench_relevant(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """DynaBench's rows with two columns that you add, as it publishes neither: which rules are relevant, who says so.

    Raises:
        ValueError: if a row does not name its relevant rules by their numbers (1 is the first), or its source.
    """
    for number, row in enumerate(parts["rows"]):
        source, found = str(row.get("relevance_source") or ""), row.get("relevant_rules")
        if not re.fullmatch(r"human|project|judge:.+", source):
            raise ValueError(
                f"row {number}: relevance_source is {row.get('relevance_source')!r}; expected human or judge:<model>"
            )
        known = range(1, len(rules(row["policy"])) + 1)
        if not isinstance(found, list) or any(type(n) is not int or n not in known for n in found):
            raise ValueError(
                f"row {number}: relevant_rules is {found!r}; expected a list of numbers of the policy's rules, "
                f"{known.start} to {len(known)}, [] where none is relevant"
            )
    for made in dynabench(name, {"test": parts["rows"]}, drops):
        row = parts["rows"][int(made.id.rpartition("-")[2])]
        more = {"relevant_rules": sorted({*row["relevant_rules"]}), "relevance_source": row["relevance_source"]}
        yield made.model_copy(update={"meta": {**made.meta, **more}})


def turns(transcript: str) -> list[Message]:
    """Split a transcript at `User:` / `Agent:` at the start of a line (quoted or not); turns stay as they are."""
    pieces = _SPEAKER.split(transcript)[1:]
    speakers, texts = pieces[::2], pieces[1::2]
    return [Message(role=_ROLES[s], content=t.strip()) for s, t in zip(speakers, texts, strict=True)]


def rules(policy: str | list[str] | None) -> list[str]:
    """The rules of a policy given as a list or as numbered lines, without their numbers."""
    lines = policy.splitlines() if isinstance(policy, str) else policy or []
    return [re.sub(r"^\s*\d+[.)]\s*", "", line).strip() for line in lines if line.strip()]


def metadata(value: Any) -> dict[str, Any]:
    """Metadata as a dict, whether it came as a dict, JSON, YAML or a Python literal; -1 and "" mean missing."""
    if isinstance(value, str):
        for parse in (json.loads, ast.literal_eval, yaml.safe_load):
            try:
                value = parse(value)
                break
            except (ValueError, SyntaxError, yaml.YAMLError):
                continue
    if not isinstance(value, dict):
        return {}
    return {str(key): entry for key, entry in value.items() if entry not in (-1, "", None)}
