"""An HTTP server that takes uploads, or misbehaves as it is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeAlias

from support.ports import free_tcp_port

Answer: TypeAlias = int | str
"""A status, ``"close"`` (in the middle of the upload), or ``"hang"``."""


class PutServer:
    """Keeps what is put under ``folder``, by the last part of its path.

    Args:
        tls: speaks HTTPS.

    Attributes:
        answer: called with each name: what to do.
        bytes_per_s: how fast it reads; 0 for as fast as it comes.
        names: what was accepted, in order.
        paths: the same with the whole path and query.
    """

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_tcp_port()
        self.answer: Callable[[str], Answer] = lambda name: 200
        self.bytes_per_s = 0
        self.names: list[str] = []
        self.paths: list[str] = []
        self.playlists: list[str] = []
        self.agents: set[str] = set()
        self._folder = folder
        self._tls = tls

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        assert method == "PUT"
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        self.agents.add(headers["user-agent"])
        name = path.rpartition(
            "=" if path.endswith(path.rpartition("file=")[2]) and "file=" in path else "/"
        )[2]
        todo = self.answer(name)
        if todo == "close":
            await reader.read(1000)
            return False
        if todo == "hang":
            await asyncio.sleep(3600)
        body = await self._body(reader, int(headers["content-length"]))
        if todo in (200, 201, 202, 204):
            (self._folder / name).write_bytes(body)
            self.names.append(name)
            self.paths.append(path)
            if name.endswith(".m3u8"):
                self.playlists.append(body.decode())
        writer.write(f"HTTP/1.1 {todo} Told\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return True

    async def _body(self, reader: asyncio.StreamReader, size: int) -> bytes:
        body = b""
        while len(body) < size:
            piece = await reader.read(min(8192, size - len(body)))
            if not piece:
                raise asyncio.IncompleteReadError(body, size)
            body += piece
            if self.bytes_per_s:
                await asyncio.sleep(len(piece) / self.bytes_per_s)
        return body
