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
{http}rtmp {{
    access_log off;
    server {{
        listen {address}:{port};
        application live {{
            live on;
            record all;
            record_unique on;
            record_path {folder}/flv;
        }}
    }}
}}
"""


_HTTP: Final = """\
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""

_HLS: Final = Path(__file__).parents[2] / "deploy" / "nginx-hls.conf"
"""The configuration that operators are given, but for the folder."""


class Nginx:
    """One nginx that records what is published to ``rtmp://127.0.0.1:port/live/...``.

    A free port is chosen at once; nothing listens on it before :meth:`start`.

    Args:
        hls: a folder of that name to serve over HTTP, too.
        address, network: where it listens, and the network namespace that this is in.
    """

    def __init__(
        self,
        folder: Path,
        hls: Path | None = None,
        *,
        address: str = "127.0.0.1",
        network: str | None = None,
    ) -> None:
        self._address = address
        self._network = network
        self.port = free_tcp_port()
        self._http_port = free_tcp_port()
        self._hls = hls
        self._folder = folder
        self._child: Child | None = None

    def url(self, key: str) -> str:
        return f"rtmp://{self._address}:{self.port}/live/{key}"

    def hls_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._http_port}/hls/{name}"

    async def start(self) -> None:
        """Returns when it listens."""
        http = ""
        if self._hls is not None:
            locations = _HLS.read_text().replace("/srv/strata;", f"{self._hls.parent};")
            http = _HTTP.format(port=self._http_port, locations=locations)
        (self._folder / "flv").mkdir(parents=True, exist_ok=True)
        config = self._folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                module=_MODULE,
                folder=self._folder,
                port=self.port,
                address=self._address,
                http=http,
                # As root it would otherwise record as www-data, into a folder of root's.
                user="user root;" if os.geteuid() == 0 else "",
            )
        )
        log = self._folder / "error.log"
        child = self._child = Child(
            [
                *(("ip", "netns", "exec", self._network) if self._network else ()),
                *("nginx", "-p", self._folder, "-e", log, "-c", config),
            ],
            self._folder / "output.log",
        )

        def listens() -> bool:
            assert child.status is None, f"nginx ended: {child.said()} {self.log()}"
            return _accepts(self._address, self.port)

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


def _accepts(address: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((address, port)) == 0


def _open_files(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.fspath(entry.readlink()))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found
