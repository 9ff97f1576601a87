"""CoSA: CoSAlign-Test, CoSAlign-Train and CoSApien."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from csrm.cosa.codecs import NAMES
from csrm.cosa.records import labels, problems, published_record
from csrm.cosa.synthesis import SEEN
from csrm.data.adapters.common import Drops, blank, choose, labelled, pair, prompt_row
from csrm.data.sources import Parts
from csrm.rows import PairRow, PromptRow, Row

TITLES: dict[str, str] = {title: key.value for key, title in NAMES.items()}
SCENARIOS = ("book_publisher_arab", "film_production", "game_development", "language_learning", "public_prosecutor")
SITUATIONS = {"1": "allowed", "2": "partial", "3": "disallowed"}
MODES = {"exact": "exact", "subset": "subset", "not subset": "not subset"}


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


# How the hub names the configurations: `.` separates categories and stands for a hyphen too, so no rule decodes it.
HUB_SPLITS = {
    "safe": "none",
    "Violence": "violence",
    "Financial_Crime_and_Theft.Privacy_Violations": "fin+priv",
    "Discrimination_and_Verbal_Abuse.Violence": "disc+viol",
    "Financial_Crime_and_Theft.Discrimination_and_Verbal_Abuse.Violence": "disc+fin+viol",
    "Illegal_Drug.Related_Activities_and_Substance_Abuse": "drugs",
    "Sexual_Misconduct_Exploitation_and_Infidelity": "sexual",
    "Violence.Weapons_Explosives_Arson_and_Illegal_Firearm_Transactions": "viol+weap",
}


def cosalign_test(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """Prompts under 8 configurations; `situation` is a word, the hub copy has no prompt categories (None, noticed).

    The allowed categories come from the explicit table, because the hub's split names cannot be decoded.

    Raises:
        ValueError: if a row allows other categories, or its mode or categories contradict its situation.
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
            meta = _configured(config_id) | {"mode": choose(row["mode"], MODES, "mode")}
            meta["situation"] = choose(str(row["situation"]), SITUATIONS, "situation")
            meta["prompt_categories"] = None
            if "prompt_categories" in row:
                meta["prompt_categories"] = _keys(row["prompt_categories"])
            else:
                drops["note: no prompt_categories column"] += 1
            _check_situation(f"{config_id}: row {number}", meta)
            yield prompt_row(name, f"{config_id}-{number}", row["prompt"], **meta)


def _check_situation(where: str, meta: dict[str, Any]) -> None:
    """A prompt whose categories are all allowed is of mode exact or subset; one with some or none is not."""
    situation, categories = meta["situation"], meta["prompt_categories"]
    fits = (meta["mode"] != "not subset") == (situation == "allowed")
    if categories is not None:
        allowed, prompt = set(meta["allowed"]), set(categories)
        fits &= situation == ("allowed" if prompt <= allowed else "partial" if prompt & allowed else "disallowed")
    if not fits:
        raise ValueError(f"{where}: situation {situation!r} contradicts mode {meta['mode']!r} or {categories}")


def cosalign_test_simplified(name: str, parts: Parts, drops: Drops) -> Iterator[PromptRow]:
    """The copy with two columns, whose `test_config_category` is the hub's name of a configuration."""
    for number, row in enumerate(parts["rows"]):
        if not blank(drops, row, "prompt"):
            config_id = choose(row["test_config_category"], HUB_SPLITS, "test_config_category")
            yield prompt_row(name, number, row["prompt"], **_configured(config_id))


def _configured(config_id: str) -> dict[str, Any]:
    config = COSALIGN_TEST[config_id]
    return {"config_id": config_id, "split": config.split, "allowed": list(config.allowed)}


def cosalign_train(name: str, parts: Parts, drops: Drops) -> Iterator[PairRow]:
    """Preference pairs under a configuration that allows `spec_i`; every row must keep CoSAlign's rules.

    Raises:
        ValueError: if a row's error scores, their order or its mode do not follow from its categories.
    """
    texts = ("system_prompt", "prompt", "chosen_response", "rejected_response")
    for split in sorted(parts):
        for number, row in enumerate(parts[split]):
            if blank(drops, row, *texts):
                continue
            record = published_record(row)
            if wrong := problems(record, SEEN):
                raise ValueError(f"{split}, row {number} breaks CoSAlign's rules: {'; '.join(wrong)}")
            system, *pair_texts = (row[field] for field in texts)
            errors = [row["chosen_category_error_score"], row["rejected_category_error_score"]]
            meta = {"split": split, "mode": record.mode, "allowed": labels(record.allowed), "errors": errors}
            meta |= {"prompt_categories": labels(record.prompt), "taxonomy": "cosalign"}
            for side, group in (("chosen", record.chosen), ("rejected", record.rejected)):
                meta[f"{side}_group"] = [labels(group.harms), group.addressed]
            yield pair(name, f"{split}-{number}", (pair_texts[0], pair_texts[1], pair_texts[2]), system, **meta)


def cosapien(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """The 25 demonstrations; `meta` holds the scenario and its policy text. They comply by construction."""
    scenarios = {row["key"]: row["value"] for row in parts["scenarios"] if not blank(drops, row, "key", "value")}
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
            if not blank(drops, row, "prompt", "scenario"):
                kind = choose(row["type"], types, "type")
                meta = {"scenario": scenario, "policy": row["scenario"], "type": kind}
                yield prompt_row(name, f"{scenario}-{number}", row["prompt"], **meta)


def _keys(titles: Any) -> list[str]:
    if not isinstance(titles, list):
        raise ValueError(f"categories are {titles!r}; expected a list of names of {list(TITLES)}")
    return sorted(choose(title, TITLES, "CoSA category") for title in titles)
