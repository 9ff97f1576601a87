"""Recognising refusals by their wording."""

import re

_PATTERNS = (
    r"\b(?:i|we)(?:'m| am| are)? (?:really |very |so |truly )?(?:sorry|afraid)\b[^.!?]{0,60}"
    r"\b(?:can(?:no|')?t|cannot|not able|unable|won't|don't)\b",
    r"\b(?:i|we) (?:can(?:no|')?t|cannot|can not|could not|couldn't|won't|will not|must not|shouldn't|should not)"
    r" (?:really |in good conscience |possibly )?"
    r"(?:help|assist|answer|provide|give|offer|discuss|recommend|suggest|share|support|comply|do that|write|talk|advise"
    r"|fulfil|engage|respond)\b",
    r"\b(?:i|we)(?:'m| am| are) (?:not able|unable|not allowed|not permitted|not in a position) to\b",
    r"\b(?:i|we) (?:must|have to|need to) (?:decline|refuse)\b",
    r"\b(?:i|we) (?:respectfully )?(?:decline|refuse) to\b",
    r"\b(?:this|that|it)(?:'s| is) against (?:the|my|our) (?:content )?(?:policy|rules|guidelines)\b",
    r"\bas an ai\b[^.!?]{0,60}\b(?:can't|cannot|unable|don't|do not|not able)\b",
)
_REFUSAL = re.compile("|".join(_PATTERNS), re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
OPENING_SENTENCES = 2


def is_refusal(response: str) -> bool:
    """Whether one of the first two sentences refuses."""
    return any(map(_refuses, sentences(response)[:OPENING_SENTENCES]))


def without_refusals(response: str) -> str:
    """The response without its refusing sentences: naming a topic in order to decline it is not touching it."""
    return " ".join(s for s in sentences(response) if not _refuses(s))


def sentences(text: str) -> list[str]:
    """The non-empty sentences and lines of a text."""
    return [s.strip() for s in _SENTENCE.split(text) if s.strip()]


def _refuses(sentence: str) -> bool:
    return bool(_REFUSAL.search(sentence.replace("’", "'")))
