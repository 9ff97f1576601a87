"""A user's own labelled conversations, for the benchmark `own`."""

from collections.abc import Iterator

from csrm.data.adapters.common import Drops, choose, context_id
from csrm.data.conversations import judged_messages
from csrm.data.sources import Parts
from csrm.rows import Row


def own_labels(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Conversations whose last message is labelled `safe` or `unsafe` under one policy; an `id` is kept as it is.

    Raises:
        ValueError: if a row has no messages to judge, or another label.
    """
    for number, row in enumerate(parts["rows"], 1):
        place = f"row {number}"
        messages = judged_messages(row, place)
        safe = choose(row.get("label"), {"safe": True, "unsafe": False}, f"{place}: label")
        if not row.get("label_source"):
            drops["note: no label_source, taken as human"] += 1
        yield Row(
            id=str(row.get("id") or f"{name}-{number}"),
            dataset=name,
            prompt_id=context_id(messages),
            messages=messages,
            taxonomy="none",
            safe=safe,
            label_source=str(row.get("label_source") or "human"),
        )
