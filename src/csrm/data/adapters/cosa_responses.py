"""Responses labelled for CoSAlign, in both files of its release: one judged response a row, and `prompt2response`."""

import json
import re
from collections.abc import Iterator
from typing import Any

from csrm.cosa.codecs import decode_group
from csrm.cosa.records import labels
from csrm.cosa.synthesis import Response
from csrm.data.adapters.common import Drops, blank, choose, flag, labelled
from csrm.data.adapters.cosa import TITLES
from csrm.data.sources import Parts
from csrm.rows import Row


def labelled_responses(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """A judge's two answers to each response: its harms (JSON after a rationale) and `[[YES]]` or `[[NO]]`.

    A row without a verdict that can be read is left out and counted.
    """
    for number, row in enumerate(parts["rows"]):
        if blank(drops, row, "prompt", "response"):
            continue
        harms = _harms(row["harm_categorization_response"])
        tags = re.findall(r"\[\[(YES|NO)\]\]", str(row["addressed_imp_response"]))
        if harms is None or not tags:
            drops["no verdict on harms" if harms is None else "no verdict on addressing"] += 1
            continue
        drops["note: both [[YES]] and [[NO]], the last counts"] += len(set(tags)) > 1
        group = Response(frozenset(harms), int(tags[-1] == "YES"))
        yield _row(name, number, row["prompt"], row["response"], group)


def prompt2response(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Prompt -> group -> responses; those of the group INVALID are left out and counted."""
    for number, row in enumerate(parts["rows"]):
        if blank(drops, row, "key"):
            continue
        for key, responses in row["value"].items():
            group = decode_group(key)
            for place, response in enumerate(responses):
                if group is None:
                    drops["invalid verdict"] += 1
                elif not blank(drops, {"response": response}, "response"):
                    yield _row(name, f"{number}-{key}-{place}", row["key"], response, group)


def _row(name: str, number: int | str, prompt: str, response: str, group: Response) -> Row:
    harms = dict.fromkeys(labels(group.harms), 1.0)
    found: dict[str, Any] = {"harms": harms, "exhaustive": True, "safe": not harms, "label_source": "judge"}
    return labelled(name, number, prompt, response, "cosalign", meta={"addressed": group.addressed}, **found)


def _harms(text: Any) -> list[str] | None:
    """Categories that the last JSON object of a judge's answer affirms, or None where there is none."""
    for found in reversed(re.findall(r"\{[^{}]*\}", str(text))):
        try:
            verdict = json.loads(found)
        except ValueError:
            continue
        return [choose(title, TITLES, "harm") for title, value in verdict.items() if flag(value, f"harm {title!r}")]
    return None
