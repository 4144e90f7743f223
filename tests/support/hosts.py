"""A host with real workers, over the socket that control uses."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from strata import ids, settings
from strata.cluster.unix import HostClient, HostServer
from strata.host import limits
from strata.host.host import Host, name_of
from strata.settings import split_range
from strata.wire import host as wire
from support.children import until
from support.control import Place, free_port_range
from support.ports import free_tcp_port, udp_port_is_bound

PSK: Final = "canary-psk-0123456789"
DEADLINE_S: Final = 60.0
DAY_S: Final = 86_400.0
CGROUPS: Final = Path("/sys/fs/cgroup")


@functools.cache
def why_no_groups() -> str:
    """Why workers cannot be limited here; empty where they can."""
    found = limits.best("strata-tests")
    asyncio.run(found.close())
    return found.warning if isinstance(found, limits.NoLimits) else ""


needs_groups = pytest.mark.skipif(bool(why_no_groups()), reason=why_no_groups() or "never")


class Stage:
    """Both ends of the socket, and a host behind it."""

    def __init__(
        self,
        here: Place,
        ports: int = 8,
        *,
        limits: dict[str, Any] | None = None,
        admission: dict[str, Any] | None = None,
        **host: Any,
    ) -> None:
        self.here = here
        defaults = {"ready_timeout_s": 30.0, "port_rest_s": DAY_S}
        self.settings = settings.load(
            data_dir=here.data,
            host={
                "runtime_dir": here.run,
                "port_range": free_port_range(ports),
                **defaults,
                **host,
            },
            limits=limits or {},
            admission=admission or {},
        )
        self.ports = split_range(self.settings.host.port_range)
        self.notices: list[wire.Notice] = []
        here.run.mkdir(exist_ok=True)
        self.path = path = here.folder / "host.sock"
        self.server = HostServer(path)
        settings.make_folders(self.settings)
        self.host = Host(self.settings, self.server.notify)
        self.client = HostClient(path, self._nothing, self.notices.append, DEADLINE_S)

    async def _nothing(self) -> None:
        return None

    async def open(self) -> None:
        await self.host.open()
        await self.server.start(self.host.handle)
        self.client.start()
        await until(lambda: self.client.connected, DEADLINE_S, "connected")

    async def close(self) -> None:
        await self.host.close()
        await self.client.close()
        await self.server.close()

    async def start(
        self, *forwards: str, links: int = 2, stream_id: str | None = None, psk: str = PSK
    ) -> tuple[str, wire.Started]:
        stream_id = stream_id or ids.new("str")
        reply = await self.client.request(wire.Start(stream_id, psk, list(forwards), links))
        assert isinstance(reply, wire.Started)
        return stream_id, reply

    async def stop(self, stream_id: str) -> wire.Stopped:
        reply = await self.client.request(wire.Stop(stream_id))
        assert isinstance(reply, wire.Stopped)
        return reply

    async def list(self) -> wire.Streams:
        """What runs and what has ended; how full the machine is, is nobody's to foresee."""
        reply = await self.client.request(wire.List())
        assert isinstance(reply, wire.Streams)
        return msgspec.structs.replace(reply, load=None)

    async def ended(self, stream_id: str) -> wire.Ended:
        def found() -> list[wire.Ended]:
            return [
                notice
                for notice in self.notices
                if isinstance(notice, wire.Ended) and notice.stream_id == stream_id
            ]

        await until(found, DEADLINE_S, f"{stream_id} has ended")
        [ended] = found()
        return ended

    def bound(self) -> list[int]:
        return [port for port in self.ports if udp_port_is_bound(port)]

    def groups(self) -> list[Path]:
        """The control groups of this host's workers."""
        name = f"strata-{name_of(self.settings.data_dir)}"
        folders = (*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}"))
        return [group for folder in folders for group in folder.iterdir() if group.is_dir()]

    @property
    def table(self) -> str:
        """Of nftables, with this host's rules."""
        return f"inet strata_{name_of(self.settings.data_dir)}"

    def records(self) -> list[str]:
        return sorted(path.name for path in (self.settings.data_dir / "workers").glob("*"))

    def nothing_is_left(self) -> bool:
        here = self.here
        return not (
            here.workers() or here.sockets() or self.bound() or self.groups() or self.records()
        )

    async def replace_host(self) -> None:
        """The host goes and another one comes, as when it is upgraded; workers stay."""
        await self.host.leave()
        await self.server.close()
        self.server = HostServer(self.path)
        self.host = Host(self.settings, self.server.notify)
        await self.host.open()
        await self.server.start(self.host.handle)
        await until(lambda: self.client.connected, DEADLINE_S, "connected again")


@asynccontextmanager
async def stage(here: Place, **more: Any) -> AsyncIterator[Stage]:
    one = Stage(here, **more)
    try:
        await one.open()
        yield one
    finally:
        await one.close()


def nowhere() -> str:
    """A forward to a port that nobody listens on."""
    return f"rtmp://127.0.0.1:{free_tcp_port()}/live/canary-stream-key"
