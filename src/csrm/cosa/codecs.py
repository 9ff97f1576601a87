"""String encodings of category sets in the CoSAlign files: `-A-B-`, `(-A-B-, 1)`, and their inverses.

Sets are sets of labels inside the package; strings appear only at import and export.
"""

from collections.abc import Iterable

from csrm.cosa.synthesis import Harm, Harms, Response

INVALID = "INVALID"

NAMES: dict[Harm, str] = {
    Harm.DISCRIMINATION: "Discrimination and Verbal Abuse",
    Harm.FINANCIAL: "Financial Crime and Theft",
    Harm.DRUGS: "Illegal Drug-Related Activities and Substance Abuse",
    Harm.PRIVACY: "Privacy Violations",
    Harm.SEXUAL: "Sexual Misconduct, Exploitation, and Infidelity",
    Harm.VIOLENCE: "Violence",
    Harm.WEAPONS: "Weapons, Explosives, Arson, and Illegal Firearm Transactions",
    Harm.OTHER: "Other Harms",
}

_HYPHENATED = ("Drug-Related", "Non-Violent", "Self-Harm")


def canonical(text: str) -> str:
    """Protect the separator: hyphens inside names become `_`, and so does every `, `."""
    for name in _HYPHENATED:
        text = text.replace(name, name.replace("-", "_"))
    return text.replace(", ", "_")


_BY_NAME = {canonical(name): harm for harm, name in NAMES.items()}


def encode_set(harms: Iterable[str]) -> str:
    """`-A-B-` in the order of the labels; the empty set is `--`."""
    return f"-{'-'.join(canonical(NAMES[h]) for h in sorted({Harm(h) for h in harms}, key=list(Harm).index))}-"


def decode_set(text: str) -> Harms:
    """Inverse of `encode_set`; names that were not made canonical are accepted too.

    Raises:
        ValueError: if the text is not enclosed in hyphens or holds an unknown name.
    """
    if len(text) < 2 or not (text.startswith("-") and text.endswith("-")):
        raise ValueError(f"category set {text!r} must look like '-A-B-' or '--'")
    names = [name for name in canonical(text)[1:-1].split("-") if name]
    unknown = [name for name in names if name not in _BY_NAME]
    if unknown:
        raise ValueError(f"category set {text!r} holds unknown names {unknown}; known: {sorted(_BY_NAME)}")
    return frozenset(_BY_NAME[name] for name in names)


def encode_group(response: Response | None) -> str:
    """`(<category set>, <0|1>)`; None, an unparsable verdict, is `INVALID`."""
    return INVALID if response is None else f"({encode_set(response.harms)}, {response.addressed})"


def decode_group(text: str) -> Response | None:
    """Inverse of `encode_group`; split from the right, because names may contain `, `.

    Raises:
        ValueError: if the key is malformed.
    """
    if text == INVALID:
        return None
    head, separator, flag = text.removeprefix("(").removesuffix(")").rpartition(", ")
    if not separator or flag not in {"0", "1"}:
        raise ValueError(f"group key {text!r} must look like '(-A-B-, 1)' or {INVALID!r}")
    return Response(decode_set(head), int(flag))
