"""The address of a server, checked before anything is planned; its errors never show a password."""

from urllib.parse import urlsplit

from csrm.settings import ScoreSettings

EXAMPLE = "http://localhost:8000/v1"


def server_address(settings: ScoreSettings, model: str) -> str:
    """`score.base_url` of a model.

    Args:
        settings: holds `base_url`.
        model: what `{model}` in it stands for.

    Raises:
        ValueError: if there is none, if it is no http address, or if it holds a user or password.
    """
    if not settings.base_url:
        raise ValueError(f"openai needs score.base_url (csrm score: --base-url): the server's, such as {EXAMPLE}")
    address = settings.base_url.replace("{model}", model)
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise ValueError("score.base_url holds a user or password: take it out, and put the key into OPENAI_API_KEY")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"score.base_url {address!r} is no http address: write it like {EXAMPLE}")
    return address
