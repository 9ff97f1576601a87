"""Response pairs (RM items of section 4.1): two responses to one prompt under one configuration."""

from collections import Counter
from collections.abc import Iterable, Sequence

from csrm.configs.safety_config import Category
from csrm.rows import Branch, Group, Label, Message, PairRow


def build(rows: Iterable[PairRow], default: Sequence[Category] | None) -> tuple[list[Group], Counter[str]]:
    """One group a pair (chosen, rejected), and counts.

    `meta["chosen_safe"]` and `meta["rejected_safe"]`, where they are booleans, label the branches; otherwise the pair
    only ranks.

    Args:
        rows: response pairs.
        default: configuration of rows that bring none.

    Raises:
        ValueError: if a row has no configuration and there is no default.
    """
    groups: list[Group] = []
    counts: Counter[str] = Counter()
    for row in rows:
        if row.chosen == row.rejected:
            counts["dropped: equal responses"] += 1
            continue
        groups.append(pair_group(row, default))
        counts["groups"] += 1
        counts["labelled branches"] += sum(b.label is not None for b in groups[-1].branches)
    return groups, counts


def pair_group(row: PairRow, default: Sequence[Category] | None) -> Group:
    """The group of one response pair: branch 0 is the chosen response, branch 1 the rejected one."""
    config = row.config if row.config is not None else default
    if config is None:
        raise ValueError(f"pair {row.id} has no configuration; give a default with --config")
    history = [Message(role="user", content=row.prompt)]
    if row.system:
        history.insert(0, Message(role="system", content=row.system))
    branches = [
        Branch(
            config=list(config),
            label=_label(row.meta.get(f"{side}_safe")),
            source="response",
            messages=[*history, Message(role="assistant", content=response)],
        )
        for side, response in (("chosen", row.chosen), ("rejected", row.rejected))
    ]
    messages = branches[0].messages or []
    identity = f"response:{row.id}"
    return Group(id=identity, prompt_id=row.prompt_id, messages=messages, branches=branches, pairs=[(0, 1)])


def _label(safe: object) -> Label | None:
    return ("safe" if safe else "unsafe") if isinstance(safe, bool) else None
