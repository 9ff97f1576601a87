"""A real server as a process of its own, for the duration of a block."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from csrm.model.backends.server import ServerBackend, ServerError
from csrm.model.verbalizer import Verbalizer
from csrm.settings import ScoreSettings


@contextmanager
def serving_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start `command`, which serves a model `tiny`, on a free port; yields its address when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **(environment or {}), "PATH": path, "PYTHONPATH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _ready(server, f"http://127.0.0.1:{port}/v1")
    finally:
        server.terminate()
        server.wait(60)


def _ready(server: "subprocess.Popen[bytes]", url: str, seconds: int = 300) -> str:
    settings = ScoreSettings(backend="openai", base_url=url, retries=0)
    for _ in range(seconds):
        assert server.poll() is None, "the server ended"
        try:
            ServerBackend(settings, Verbalizer((5,), (6,)), ["tiny"])
            return url
        except ServerError:
            time.sleep(1)
    raise TimeoutError(f"the server is not ready after {seconds} s")
