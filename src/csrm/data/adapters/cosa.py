"""CoSA: CoSAlign-Test, CoSAlign-Train and CoSApien."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from csrm.configs.safety_config import Category
from csrm.data.adapters.common import Drops, blank, choose, labelled, pair, prompt_row
from csrm.data.sources import Parts
from csrm.rows import PairRow, PromptRow, Row

NAMES = {
    "Discrimination and Verbal Abuse": "discrimination",
    "Financial Crime and Theft": "financial_crime",
    "Illegal Drug-Related Activities and Substance Abuse": "drugs",
    "Privacy Violations": "privacy",
    "Sexual Misconduct, Exploitation, and Infidelity": "sexual",
    "Violence": "violence",
    "Weapons, Explosives, Arson, and Illegal Firearm Transactions": "weapons",
    "Other Harms": "other",
}
SCENARIOS = ("book_publisher_arab", "film_production", "game_development", "language_learning", "public_prosecutor")
SITUATIONS = {"1": "allowed", "2": "partial", "3": "disallowed"}


class TestConfig(NamedTuple):
    """One configuration of CoSAlign-Test: the hub's config and the allowed categories."""

    split: str
    allowed: tuple[str, ...]


COSALIGN_TEST = {
    "none": TestConfig("seen", ()),
    "violence": TestConfig("seen", ("violence",)),
    "fin+priv": TestConfig("seen", ("financial_crime", "privacy")),
    "disc+viol": TestConfig("seen", ("discrimination", "violence")),
    "disc+fin+viol": TestConfig("seen", ("discrimination", "financial_crime", "violence")),
    "drugs": TestConfig("unseen", ("drugs",)),
    "sexual": TestConfig("unseen", ("sexual",)),
    "viol+weap": TestConfig("unseen", ("violence", "weapons")),
}


def cosalign_test(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Prompts under 8 configurations; `situation` is a word, the hub copy has no prompt categories (None).

    The allowed categories come from the explicit table, because the hub's split names cannot be decoded.
    """
    for config_id in sorted(parts):
        config = choose(config_id, COSALIGN_TEST, "CoSAlign-Test configuration")
        for number, row in enumerate(parts[config_id]):
            if blank(drops, row, "prompt"):
                continue
            if "allowed_categories" in row and _keys(row["allowed_categories"]) != sorted(config.allowed):
                raise ValueError(
                    f"{config_id}: row {number} allows {row['allowed_categories']}, expected {config.allowed}"
                )
            categories = row.get("prompt_categories")
            yield prompt_row(
                name,
                f"{config_id}-{number}",
                row["prompt"],
                config_id=config_id,
                split=config.split,
                allowed=list(config.allowed),
                prompt_categories=None if categories is None else _keys(categories),
                mode=row["mode"],
                situation=choose(str(row["situation"]), SITUATIONS, "situation"),
            )


def cosalign_train(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """Preference pairs under a configuration that allows `spec_i`; the error scores are kept and checked.

    Raises:
        ValueError: if chosen does not have the lower error score, below 3.
    """
    for split in sorted(parts):
        for number, row in enumerate(parts[split]):
            if blank(drops, row, "prompt", "chosen_response", "rejected_response"):
                continue
            scores = (row["chosen_category_error_score"], row["rejected_category_error_score"])
            if not (scores[0] < scores[1] and scores[0] < 3):
                raise ValueError(
                    f"{split}, row {number}: error scores (chosen, rejected) {scores} are not a preference"
                )
            meta = {"split": split, "mode": row["mode"], "allowed": decode(row["spec_i"]), "errors": list(scores)}
            meta |= {"prompt_categories": decode(row["spec_j"]), "taxonomy": "cosalign"}
            meta["chosen_group"], meta["rejected_group"] = group(row["chosen_cat"]), group(row["rejected_cat"])
            texts = (row["prompt"], row["chosen_response"], row["rejected_response"])
            yield pair(name, f"{split}-{number}", texts, row["system_prompt"], **meta)


def cosapien(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """The 25 demonstrations; `meta` holds the scenario and its policy text. They comply by construction."""
    scenarios = {row["key"]: row["value"] for row in parts["scenarios"]}
    for number, row in enumerate(parts["demonstrations"]):
        if blank(drops, row, "prompt", "response"):
            continue
        policy = choose(row["scenario"], scenarios, "scenario")
        meta = {"scenario": row["scenario"], "policy": policy, "response_source": "authors"}
        yield labelled(name, number, row["prompt"], row["response"], safe=True, meta=meta, label_source="authors")


def cosapien_judged(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Labelled responses to the prompts, brought by the user: nobody publishes them, so both name their source.

    Raises:
        ValueError: if a row does not name who wrote the response, or who labelled it (`human` or `judge:<model>`; a
            label of the prompt's type is another task).
    """
    for number, row in enumerate(parts["rows"]):
        if blank(drops, row, "prompt", "response"):
            continue
        where = f"row {number}"
        if not str(row.get("response_source") or "").strip():
            raise ValueError(f"{where}: response_source is {row.get('response_source')!r}; name who wrote the response")
        source = str(row.get("label_source") or "")
        if not re.fullmatch(r"human|judge:.+", source):
            raise ValueError(f"{where}: label_source is {row.get('label_source')!r}; expected human or judge:<model>")
        safe = choose(row["label"], {"safe": True, "unsafe": False}, f"{where}: label")
        scenario = choose(row["scenario"], {key: key for key in SCENARIOS}, f"{where}: scenario")
        meta = {"scenario": scenario, "response_source": row["response_source"]}
        yield labelled(name, number, row["prompt"], row["response"], safe=safe, meta=meta, label_source=source)


def cosapien_prompts(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Prompts with their scenario's policy; the type belongs to the prompt and is not a response label."""
    types = {"allowed": "allowed", "safe": "allowed", "disallowed": "disallowed", "partial": "partial"}
    for scenario in sorted(parts):
        for number, row in enumerate(parts[scenario]):
            if not blank(drops, row, "prompt"):
                kind = choose(row["type"], types, "type")
                meta = {"scenario": scenario, "policy": row["scenario"], "type": kind}
                yield prompt_row(name, f"{scenario}-{number}", row["prompt"], **meta)


def configuration(keys: list[str]) -> list[Category]:
    """Categories of the CoSA taxonomy, by key."""
    names = {key: title for title, key in NAMES.items()}
    return [Category(name=names[key], key=key) for key in keys]


def encode(keys: list[str]) -> str:
    """Category set -> the release's string (`--` when empty); the inverse of `decode`."""
    names = [_wire(title) for title, key in NAMES.items() if key in keys]
    return f"-{'-'.join(names)}-"


def decode(spec: str) -> list[str]:
    """The release's string -> sorted category keys; names are canonicalised before splitting at `-`."""
    wire = {_wire(title): key for title, key in NAMES.items()}
    canonical = spec
    for title in NAMES:
        canonical = canonical.replace(title, _wire(title))
    return sorted(choose(title, wire, "CoSA category") for title in canonical.split("-") if title)


def group(text: str) -> list[object] | None:
    """A response group `(<categories>, <addressed>)` as [keys, addressed], or None for INVALID."""
    if text == "INVALID":
        return None
    match = re.fullmatch(r"\((.*), ([01])\)", text)
    if match is None:
        raise ValueError(f"response group {text!r} is not '(<categories>, <0|1>)' or INVALID")
    return [decode(match.group(1)), int(match.group(2))]


def _wire(title: str) -> str:
    return title.replace("Drug-Related", "Drug_Related").replace(", ", "_")


def _keys(titles: list[str]) -> list[str]:
    return sorted(choose(title, NAMES, "CoSA category") for title in titles)
