"""A platform that answers what it is told to, over real HTTP, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "tok_canary.canary-token"


@dataclass
class Asked:
    method: str
    path: str
    query: str
    token: str | None
    body: Any


@dataclass
class Told:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class FakePlatform:
    """
    Attributes:
        asked: the requests so far.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._told: dict[tuple[str, str], list[Told]] = {}
        self.url = ""

    def tells(
        self, method: str, path: str, data: Any = None, status: int = 200, **headers: str
    ) -> None:
        """The answer to that; where there are several, each once, and the last again and again."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        told = Told(status, b"" if data is None else body, headers)
        self._told.setdefault((method, path), []).append(told)

    def refuses(self, method: str, path: str, status: int, detail: str) -> None:
        problem = {"type": "urn:strata:error:x", "title": "x", "status": status, "detail": detail}
        self.tells(method, path, {**problem, "code": "x"}, status)

    def last(self, method: str) -> Asked:
        return [each for each in self.asked if each.method == method][-1]

    def answer(self, asked: Asked) -> Told:
        self.asked.append(asked)
        told = self._told.get((asked.method, asked.path))
        if not told:
            detail = {"detail": f"Not Found: {asked.method} {asked.path}"}
            return Told(404, json.dumps(detail).encode())
        return told.pop(0) if len(told) > 1 else told[0]


@contextmanager
def served() -> Iterator[FakePlatform]:
    one = FakePlatform()

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            super().handle_one_request()
            self.close_connection = True

        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            path, _, query = self.path.partition("?")
            token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
            asked = Asked(self.command, path, query, token, json.loads(body) if body else None)
            told = one.answer(asked)
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
