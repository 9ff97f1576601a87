"""Stand-ins for the alignment tests."""

import re
from typing import NamedTuple


class Family(NamedTuple):
    """A stand-in for a topic family."""

    family: str
    prompts: list[str]
    lexicon: str

    def matches(self, text: str) -> bool:
        return bool(re.search(rf"\b(?:{self.lexicon})\b", text, re.IGNORECASE))
