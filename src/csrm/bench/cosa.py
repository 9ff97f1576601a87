"""CoSA's benchmarks: responses and prompts under a scenario's configuration, prompts under allowed categories."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from csrm.bench.build import label_of, pseudo_messages
from csrm.configs.safety_config import Category, SafetyConfig
from csrm.configs.taxonomy import Taxonomy
from csrm.rows import Item, PromptRow, Row

SCENARIOS = {
    "book_publisher_arab": "cosapien-book-publisher",
    "film_production": "cosapien-film-production",
    "game_development": "cosapien-game-development",
    "language_learning": "cosapien-language-learning",
    "public_prosecutor": "cosapien-public-prosecutor",
}
"""Scenario -> file in `config/safety_configs`."""
Configs = Mapping[str, Sequence[Category]]


def scenario_paths(config_dir: Path) -> dict[str, Path]:
    """Scenario -> the file of its configuration."""
    return {name: config_dir / "safety_configs" / f"{file}.yaml" for name, file in SCENARIOS.items()}


def scenario_configs(config_dir: Path) -> dict[str, list[Category]]:
    """Scenario -> the categories of its configuration."""
    return {name: list(SafetyConfig.load(path).categories) for name, path in scenario_paths(config_dir).items()}


def scenario_items(rows: Sequence[Row], configs: Configs, benchmark: str) -> tuple[list[Item], dict[str, Any]]:
    """Responses under their scenario's configuration; the subset is the scenario.

    Returns:
        The items, and how many responses and labels come from where.

    Raises:
        ValueError: if a row does not say who wrote the response or who labelled it, or its scenario is unknown.
    """
    items = []
    for row in rows:
        sources = {"response_source": row.meta.get("response_source"), "label_source": row.label_source}
        missing = [name for name, source in sources.items() if not source]
        if row.safe is None or missing:
            raise ValueError(f"row {row.id!r} of {benchmark!r} lacks {missing or ['a label']}: nothing is guessed")
        config = _config(row, configs)
        subset = str(row.meta["scenario"])
        item = {
            "id": f"{benchmark}:{row.id}",
            "prompt_id": row.prompt_id,
            "messages": row.messages,
            "cut": row.cut,
            "meta": sources,
        }
        items.append(Item.model_validate({**item, "config": config, "label": label_of(row.safe), "subset": subset}))
    names = ("response_source", "label_source")
    return items, {f"{name}s": dict(sorted(Counter(i.meta[name] for i in items).items())) for name in names}


def scenario_type_items(rows: Sequence[PromptRow], configs: Configs, benchmark: str) -> list[Item]:
    """Prompts through the pseudo-response under their scenario's configuration, labelled by the prompt's type.

    Complying with an allowed prompt is safe, with a disallowed or a partly allowed one unsafe. The label belongs to the
    prompt, not to any response: a proxy, never the classification of responses.
    """
    return [
        Item(
            id=f"{benchmark}:{row.id}",
            prompt_id=row.prompt_id,
            messages=pseudo_messages(row.prompt),
            config=list(_config(row, configs)),
            label=label_of(row.meta["type"] == "allowed"),
            subset=str(row.meta["scenario"]),
            cut=row.cut,
            meta={"type": row.meta["type"], "label_source": "proxy:type"},
        )
        for row in rows
    ]


def allowed_items(rows: Sequence[PromptRow], taxonomy: Taxonomy, benchmark: str) -> list[Item]:
    """Prompts through the pseudo-response, under every category that their configuration does not allow.

    Complying is safe iff the prompt's situation is `allowed` (its risks lie within the allowed categories); partly
    allowed prompts are unsafe. A prompt that is safe under one configuration and unsafe under another gives a ranking
    pair, the first such ones of each. The subset is the configuration.

    Raises:
        ValueError: if a situation contradicts the prompt's own categories, where these are known.
    """
    items = [_allowed_item(row, taxonomy, benchmark) for row in rows]
    return _paired(items, benchmark)


def _allowed_item(row: PromptRow, taxonomy: Taxonomy, benchmark: str) -> Item:
    allowed, risks = row.meta["allowed"], row.meta.get("prompt_categories")
    safe = row.meta["situation"] == "allowed"
    if risks is not None and (set(risks) <= set(allowed)) != safe:
        raise ValueError(f"prompt {row.id!r}: situation {row.meta['situation']!r}, but {risks} under allowed {allowed}")
    return Item(
        id=f"{benchmark}:{row.id}",
        prompt_id=row.prompt_id,
        messages=pseudo_messages(row.prompt),
        config=[category.category() for category in taxonomy.categories if category.key not in allowed],
        label=label_of(safe),
        subset=str(row.meta["config_id"]),
        cut=row.cut,
        meta={name: row.meta[name] for name in ("split", "situation", "allowed")},
    )


def _paired(items: Sequence[Item], benchmark: str) -> list[Item]:
    first: dict[tuple[str, str], str] = {}
    for item in items:
        first.setdefault((item.prompt_id, str(item.label)), item.id)
    ranks = {"safe": "chosen", "unsafe": "rejected"}
    return [
        item.model_copy(update={"pair": f"{benchmark}:{item.prompt_id}", "rank": ranks[str(item.label)]})
        if first[item.prompt_id, str(item.label)] == item.id
        and all((item.prompt_id, label) in first for label in ranks)
        else item
        for item in items
    ]


def _config(row: Row | PromptRow, configs: Configs) -> Sequence[Category]:
    scenario = str(row.meta.get("scenario"))
    if scenario not in configs:
        raise ValueError(f"row {row.id!r}: scenario {scenario!r} is not one of {sorted(configs)}")
    return configs[scenario]
