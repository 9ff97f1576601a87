"""A completions server on this machine in front of a real model, in the dialects of the servers that are in use."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import torch

DIALECTS = ("vllm", "vllm-before-token-ids", "llama.cpp", "text")
CAP = 20


class CompletionServer(ThreadingHTTPServer):
    """`vllm` names tokens on request and echoes; an older one does not know `logprob_token_ids`; `llama.cpp` cannot
    echo and lists as many tokens as are asked for; `text` names tokens by their text.

    Attributes:
        failures: so many requests are answered 503 before one is answered at all.
        key: the key that requests must carry (None: any).
        asked: bodies of the requests so far.
    """

    def __init__(self, model: Any, dialect: str, name: str = "tiny") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.dialect, self.name = model, dialect, name
        self.failures, self.key, self.asked, self.lock = 0, None, list[Any](), Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and answer of one request for a completion."""
        ids: list[int] = body["prompt"]
        with self.lock, torch.inference_mode():
            self.asked.append(body)
            if self.failures:
                self.failures -= 1
                return 503, {"error": {"message": "overloaded"}}
            if body["max_tokens"] > 1:
                return 200, self._answer(body, ids)
            log_probs = self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        if self.dialect == "llama.cpp":
            return self._llama_cpp(body, log_probs[-1])
        if body["logprobs"] > CAP:
            return 400, {"error": {"message": f"greater than max allowed: {CAP}", "param": "logprobs"}}
        named = "token_id:{}" if body.get("return_tokens_as_token_ids") and self.dialect != "text" else "<{}>"
        if body.get("echo"):
            values = [None, *(log_probs[i, token].item() for i, token in enumerate(ids[1:]))]
            return 200, _choice({"tokens": [named.format(i) for i in ids], "token_logprobs": values})
        tokens = log_probs[-1].topk(body["logprobs"]).indices.tolist()
        if self.dialect == "vllm":
            tokens = body.get("logprob_token_ids", tokens)
        return 200, _choice({"top_logprobs": [{named.format(t): log_probs[-1, t].item() for t in tokens}]})

    def _answer(self, body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
        """The greedy answer up to its end token, token by token."""
        made: list[int] = []
        while len(made) < body["max_tokens"] and self.model.config.eos_token_id not in made:
            made.append(int(self.model(torch.tensor([ids + made])).logits[0, -1].argmax()))
        if self.dialect == "llama.cpp":
            return _choice({"content": [{"id": token, "logprob": 0.0, "top_logprobs": []} for token in made]})
        named = "token_id:{}" if body.get("return_tokens_as_token_ids") and self.dialect != "text" else "<{}>"
        return _choice({"tokens": [named.format(token) for token in made]})

    def _llama_cpp(self, body: dict[str, Any], last: torch.Tensor) -> tuple[int, dict[str, Any]]:
        if body.get("echo"):
            return 500, {"error": {"message": "Only no echo is supported"}}
        best = last.topk(min(body["logprobs"], len(last)))
        listed = [{"id": i, "logprob": p} for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
        return 200, _choice({"content": [{"id": listed[0]["id"], "top_logprobs": listed}]})


class Handler(BaseHTTPRequestHandler):
    """Requests as HTTP."""

    server: CompletionServer

    def do_GET(self) -> None:
        self._answer(200, {"object": "list", "data": [{"id": self.server.name, "object": "model", "root": "weights"}]})

    def do_POST(self) -> None:
        self._answer(*self.server.complete(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            status, body = 401, {"error": {"message": "no"}}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("retry-after-ms", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@contextmanager
def serving(model: Any, dialect: str = "vllm", name: str = "tiny") -> Iterator[CompletionServer]:
    """A server for the duration of a block."""
    with CompletionServer(model, dialect, name) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _choice(log_probs: dict[str, Any]) -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"index": 0, "text": "", "logprobs": log_probs}]}
