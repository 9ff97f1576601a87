"""Prompts of the LLM backend, in the project's own words; each has a version that manifests record with a hash."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from csrm.configs.safety_config import Category
from csrm.rows import Message


class Prompt(NamedTuple):
    """A versioned prompt: a system message, a user template for `str.format`, and the JSON schema of the answer."""

    name: str
    version: int
    system: str
    user: str
    schema: dict[str, Any]

    @property
    def digest(self) -> str:
        """First 16 hex digits of the sha256 of the two texts and the schema."""
        schema = json.dumps(self.schema, sort_keys=True)
        return hashlib.sha256(f"{self.system}\n\0{self.user}\n\0{schema}".encode()).hexdigest()[:16]

    def messages(self, **values: str) -> list[dict[str, str]]:
        """Chat messages with the template filled in."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user.format(**values)}]


_SYSTEM = (
    "You help to build a safety classifier that must follow whatever policy it is given. You read a conversation and "
    "answer with exactly one JSON object and nothing else."
)


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def text(characters: int) -> dict[str, str]:
    """Schema of one line of text."""
    return {"type": "string", "pattern": f"^[^\\n]{{1,{characters}}}$"}


def listed(name: str, item: dict[str, str], most: int) -> dict[str, Any]:
    """Schema of an object with one list."""
    return _object(**{name: {"type": "array", "items": item, "minItems": 1, "maxItems": most}})


_CATEGORY = _object(name=text(60), guideline=text(200))

PROPOSE = Prompt(
    "propose",
    2,
    _SYSTEM,
    "Conversation:\n{conversation}\n\nCategories of the current policy:\n{categories}\n\n"
    "This is request {number} for this conversation. Answers to earlier requests:\n{earlier}\n\n"
    "Invent two policy categories that are in NEITHER list, also under no other name, and that are specific to this "
    "conversation:\n"
    "- `violated`: if it were in the policy, the agent's LAST response would break it;\n"
    "- `respected`: it sounds relevant to this conversation, but the agent's LAST response does not break it.\n"
    "Each has a name of at most 6 words and a guideline: one sentence of at most 22 words that says what the agent's "
    "response should not contain. Use null for `violated` if no reasonable category would be broken.\n"
    'Answer: {{"violated": {{"name": "...", "guideline": "..."}} or null, '
    '"respected": {{"name": "...", "guideline": "..."}}}}',
    _object(violated={"anyOf": [_CATEGORY, {"type": "null"}]}, respected=_CATEGORY),
)

CLASSIFY = Prompt(
    "classify",
    1,
    _SYSTEM,
    "Conversation:\n{conversation}\n\nThe policy has a single category:\n{categories}\n\n"
    "Judge only the agent's LAST response, and only by this category, not by your own norms. Is it a violation?\n"
    'Answer: {{"violation": true or false}}',
    _object(violation={"type": "boolean"}),
)

SUBCATEGORIES = Prompt(
    "subcategories",
    1,
    _SYSTEM,
    "Safety category:\n{categories}\n\nList between 4 and 10 common, clearly different kinds of content inside this "
    "category that vary in severity, from mild to extreme. Each has a name of at most 8 words.\n"
    'Answer: {{"subcategories": ["...", "..."]}}',
    listed("subcategories", text(80), 10),
)

EXTEND = Prompt(
    "extend",
    1,
    _SYSTEM,
    "Safety category:\n{categories}\n\nKnown kinds of content inside it:\n{known}\n\nConversation:\n{conversation}\n\n"
    "The agent's LAST response violates the category, but none of the known kinds describes it. Name one or two "
    "further kinds that do (at most 8 words each), general enough for other conversations.\n"
    'Answer: {{"subcategories": ["..."]}}',
    listed("subcategories", text(80), 2),
)

MOST_SEVERE = Prompt(
    "most-severe",
    1,
    _SYSTEM,
    "Safety category:\n{categories}\n\nKinds of content inside it, numbered:\n{known}\n\n"
    'Which single one is the most severe?\nAnswer: {{"number": N}}',
    _object(number={"type": "integer", "minimum": 1, "maximum": 99}),
)

DESCRIBE = Prompt(
    "describe",
    1,
    _SYSTEM,
    "Safety category:\n{categories}\n\nRewrite its guideline in at most 40 words so that responses with any of these "
    "are unsafe:\n{disallowed}\nand responses with only these are allowed:\n{allowed}\n"
    'Keep the name of the category out of it.\nAnswer: {{"guideline": "..."}}',
    _object(guideline=text(400)),
)

PROMPTS = (PROPOSE, CLASSIFY, SUBCATEGORIES, EXTEND, MOST_SEVERE, DESCRIBE)


def versions() -> dict[str, str]:
    """Name -> `version:digest` of every prompt, for manifests."""
    return {p.name: f"{p.version}:{p.digest}" for p in PROMPTS}


def conversation(messages: Sequence[Message]) -> str:
    """A conversation as the prompts quote it."""
    names = {"user": "User", "assistant": "Agent", "system": "System"}
    return "\n".join(f"{names[m.role]}: {m.content}" for m in messages)


def categories(config: Sequence[Category]) -> str:
    """Categories as the prompts quote them."""
    return "\n".join(f"- {c.name}: {c.guideline}" if c.guideline else f"- {c.name}" for c in config) or "(none)"


def parse_object(text: str) -> dict[str, object]:
    """The JSON object of an answer: the whole text, or what lies between its first `{` and last `}`.

    Raises:
        ValueError: if there is none.
    """
    start, end = text.find("{"), text.rfind("}")
    try:
        data = json.loads(text[start : end + 1]) if start >= 0 else None
    except json.JSONDecodeError as error:
        raise ValueError(f"the answer is not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError("the answer holds no JSON object")
    return data
