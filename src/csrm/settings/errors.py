"""Validation errors of settings in words: the key, its value, and what is allowed."""

from collections.abc import Sequence

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, root: type[BaseModel]) -> str:
    """One line an error; an unknown key comes with the nearest known one and all keys of its section.

    Args:
        error: what pydantic raised.
        root: the model that was validated.
    """
    return "\n".join(_line(found["loc"], found["type"], found["msg"], found["input"], root) for found in error.errors())


def _line(place: Sequence[int | str], kind: str, message: str, value: object, root: type[BaseModel]) -> str:
    name = ".".join(map(str, place))
    if kind == "extra_forbidden":
        from difflib import get_close_matches

        known = _keys(root, place[:-1])
        near = get_close_matches(str(place[-1]), known, n=1)
        hint = f", perhaps {near[0]!r}" if near else ""
        return f"{name}: unknown key{hint}; the keys of {'.'.join(map(str, place[:-1])) or 'the settings'}: {known}"
    if kind == "value_error":
        return ": ".join(part for part in (name, message.removeprefix("Value error, ")) if part)
    return f"{name}: {message[0].lower()}{message[1:]}, got {value!r}"


def _keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    for key in place:
        field = model.model_fields.get(str(key))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        model = kind
    return sorted(model.model_fields)
