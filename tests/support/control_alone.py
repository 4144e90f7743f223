"""``strata control`` as a process, on a host that runs streams in the test's memory only."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import Self

from strata import settings
from strata.cluster.unix import HostServer
from strata.host.service import socket_path
from support.children import Child
from support.control import (
    EMAIL,
    PASSWORD,
    READY_DEADLINE_S,
    STOP_DEADLINE_S,
    Api,
    Place,
    environment_of,
    eventually,
    log_in,
    readiness,
)
from support.fake_host import FakeHost
from support.ports import free_tcp_port


class ControlAlone:
    """
    Attributes:
        host: what it is connected to; it speaks through ``server``.
    """

    def __init__(
        self,
        here: Place,
        environment: Mapping[str, str] | None = None,
        host: FakeHost | None = None,
    ) -> None:
        self.place = here
        self.port = free_tcp_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.host = host or FakeHost()
        loaded = settings.load(data_dir=here.data, host={"runtime_dir": here.run})
        self.server = HostServer(socket_path(loaded))
        self._env = (
            environment_of(here)
            | {"STRATA_FORWARD__ALLOW_PRIVATE": "true"}
            | dict(environment or {})
        )
        self.child: Child

    async def __aenter__(self) -> Self:
        await self.server.start(self.host.request)
        self.start()
        try:
            await self.ready()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.child.end(STOP_DEADLINE_S)
        finally:
            await self.server.close()

    def start(self) -> None:
        """Starts the process, the first time or again."""
        listen = f"127.0.0.1:{self.port}"
        self.child = Child(
            [
                *(sys.executable, "-I", "-m", "strata", "control"),
                *("--listen", listen, "--data-dir", str(self.place.data)),
            ],
            self.place.folder / "control.log",
            env=self._env,
            cwd=self.place.folder,
        )

    async def kill(self) -> None:
        self.child.signal(signal.SIGKILL)
        await self.child.wait(STOP_DEADLINE_S)

    async def ready(self) -> None:
        async def is_ready() -> bool:
            assert self.child.status is None, self.child.said()
            return await readiness(self.url) == 200

        await eventually(is_ready, READY_DEADLINE_S, f"{self.url}/readyz: {self.child.said()}")

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> Api:
        return await log_in(self.url, email, password)
