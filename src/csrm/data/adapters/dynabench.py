"""DynaBench and DynaBenchTrain: transcripts judged under a policy of their own."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import yaml

from csrm.data.adapters.common import Drops, blank, choose, context_id
from csrm.data.sources import Parts
from csrm.rows import Message, Row

LABELS = {"PASS": True, "FAIL": False}
_SPEAKER = re.compile(r"^[ \t]*'?(User|Agent|Assistant|System|Human|Customer|Chatbot|Bot|AI)'?:[ \t]*", re.MULTILINE)
_NUMBER = re.compile(r"([ \t]*)\d+[.)](?!\d)[ \t]*")
_ANSWER = re.compile(r"<answer>\s*(PASS|FAIL)\s*</answer>")


def dynabench(name: str, parts: Parts, drops: Drops) -> Iterator[Row]:
    """Multi-turn transcripts judged under their own policy; `meta["policy"]` lists its rules.

    The label is the verdict on the whole conversation under that policy (PASS is safe).
    """
    for part in sorted(parts):
        for number, row in enumerate(parts[part]):
            safe = choose(row["label"], LABELS, "label")
            if blank(drops, row, "transcript"):
                continue
            messages = _until_response(turns(row["transcript"], drops), drops)
            policy = rules(row["policy"], drops)
            if not messages or not policy:
                drops["policy without a rule" if messages else "transcript without a response"] += 1
                continue
            _compare_answer(row, drops)
            meta = {"policy": policy, "base_id": row.get("base_id"), **metadata(row.get("metadata"), drops)}
            yield Row(
                id=f"{name}-{part}-{number}",
                dataset=name,
                prompt_id=context_id(messages),
                messages=messages,
                taxonomy="none",
                safe=safe,
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
        known = range(1, len(rules(row["policy"], Counter())) + 1)
        if not isinstance(found, list) or any(type(n) is not int or n not in known for n in found):
            raise ValueError(
                f"row {number}: relevant_rules is {found!r}; expected a list of numbers of the policy's rules, "
                f"{known.start} to {len(known)}, [] where none is relevant"
            )
    for made in dynabench(name, parts, drops):
        row = parts["rows"][int(made.id.rpartition("-")[2])]
        more = {"relevant_rules": sorted({*row["relevant_rules"]}), "relevance_source": row["relevance_source"]}
        yield made.model_copy(update={"meta": {**made.meta, **more}})


def turns(transcript: str, drops: Drops) -> list[Message]:
    """Split a transcript at `User:` and `Agent:` at the start of a line (quoted or not).

    `Assistant:` is the agent where no line begins with `Agent:`. A line that begins with yet another speaker stays
    text of the turn that it stands in, and is noticed; so is text before the first turn, which is cut.
    """
    found = list(_SPEAKER.finditer(transcript))
    agent = "Agent" if any(mark[1] == "Agent" for mark in found) else "Assistant"
    roles: dict[str, Literal["user", "assistant"]] = {"User": "user", agent: "assistant"}
    marks = [mark for mark in found if mark[1] in roles]
    drops["note: line that begins with another speaker, kept as text"] += len(found) - len(marks)
    drops["note: text before the first turn, cut"] += bool(marks and transcript[: marks[0].start()].strip())
    ends = [*(mark.start() for mark in marks[1:]), *[len(transcript)] * bool(marks)]
    return [
        Message(role=roles[mark[1]], content=transcript[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    ]


def _until_response(messages: list[Message], drops: Drops) -> list[Message]:
    """The turns up to the last response that says something; none if nothing precedes it."""
    kept = list(messages)
    while kept and (kept[-1].role != "assistant" or not kept[-1].content):
        turn = kept.pop()
        what = "empty response at the end" if turn.role == "assistant" else "user turn after the last response"
        drops[f"note: {what}, cut"] += 1
    return kept if len(kept) > 1 else []


def rules(policy: str | list[str] | None, drops: Drops) -> list[str]:
    """The rules of a policy, a list or numbered lines, without their numbers.

    A line without a number (or indented deeper than the first one) continues the rule before it; where no line is
    numbered, each is a rule. Text before the first rule stays a rule, so that no part of the policy is lost.
    """
    if not isinstance(policy, str):
        stripped = [rule.strip() for rule in policy or []]
        return [rule[mark.end() :] if (mark := _NUMBER.match(rule)) else rule for rule in stripped if rule]
    lines = [line for line in policy.splitlines() if line.strip()]
    first = next((mark for line in lines if (mark := _NUMBER.match(line))), None)
    if first is None:
        return [line.strip() for line in lines]
    found: list[str] = []
    for line in lines:
        mark = _NUMBER.match(line)
        if mark and mark[1] == first[1]:
            found.append(line[mark.end() :].strip())
        elif found:
            found[-1] = f"{found[-1]} {line.strip()}".strip()
            drops["note: line that continues a rule"] += 1
        else:
            found.append(line.strip())
            drops["note: policy text before the first rule, kept as a rule"] += 1
    return [rule for rule in found if rule]


def _compare_answer(row: dict[str, Any], drops: Drops) -> None:
    """Notice where the formatted output of DynaBenchTrain does not give the row's label."""
    if "formatted_output" not in row:
        return
    answers = _ANSWER.findall(str(row["formatted_output"] or ""))
    if not answers:
        drops["note: no answer in formatted_output"] += 1
    elif answers[-1] != row["label"]:
        drops["note: formatted_output contradicts the label"] += 1


def metadata(value: Any, drops: Drops) -> dict[str, Any]:
    """Metadata as a dict, whether it came as a dict, JSON, YAML or a Python literal; -1 and "" mean missing."""
    if isinstance(value, str):
        for parse in (json.loads, ast.literal_eval, yaml.safe_load):
            try:
                value = parse(value)
                break
            except (ValueError, SyntaxError, yaml.YAMLError):
                continue
    if not isinstance(value, dict):
        drops["note: no metadata" if value in (None, "") else "note: metadata that cannot be read"] += 1
        return {}
    return {str(key): entry for key, entry in value.items() if entry not in (-1, "", None)}
