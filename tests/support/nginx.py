"""Debian's nginx with its RTMP module: the server that a forward is sent to."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final, Self

from support.children import Child, until
from support.ports import free_tcp_port

_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")

_CONFIG: Final = """\
load_module {module};
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 64; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        application live {{
            live on;
            record all;
            record_unique on;
            record_path {folder}/flv;
        }}
    }}
}}
"""


class Nginx:
    """One nginx that records what is published to ``rtmp://127.0.0.1:port/live/...``.

    A free port is chosen at once; nothing listens on it before :meth:`start`.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_tcp_port()
        self._folder = folder
        self._child: Child | None = None

    def url(self, key: str) -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/{key}"

    async def start(self) -> None:
        """Returns when it listens."""
        (self._folder / "flv").mkdir(parents=True, exist_ok=True)
        config = self._folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                module=_MODULE,
                folder=self._folder,
                port=self.port,
                # As root it would otherwise record as www-data, into a folder of root's.
                user="user root;" if os.geteuid() == 0 else "",
            )
        )
        log = self._folder / "error.log"
        child = self._child = Child(
            ["nginx", "-p", self._folder, "-e", log, "-c", config], self._folder / "output.log"
        )

        def listens() -> bool:
            assert child.status is None, f"nginx ended: {child.said()} {self.log()}"
            return _accepts(self.port)

        await until(listens, 10.0, f"nginx listens on {self.port}")

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.__aexit__()
            self._child = None

    def log(self) -> str:
        path = self._folder / "error.log"
        return path.read_text() if path.exists() else ""

    def recordings(self) -> list[Path]:
        """Every FLV that holds anything so far, the oldest first.

        For a publisher that it refuses, nginx leaves an empty one.
        """
        found = [path for path in (self._folder / "flv").glob("*.flv") if path.stat().st_size]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    async def finished(self, count: int = 1) -> list[Path]:
        """The recordings, once there are ``count`` of them and all have been closed."""
        await until(
            lambda: len(self.recordings()) >= count and not self._open_recordings(),
            10.0,
            f"{count} recordings are closed; {self.recordings()}",
        )
        return self.recordings()

    def _open_recordings(self) -> list[str]:
        assert self._child is not None
        children = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children")
        return [
            target
            for pid in children.read_text().split()
            for target in _open_files(int(pid))
            if target.endswith(".flv")
        ]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _open_files(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.fspath(entry.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found
