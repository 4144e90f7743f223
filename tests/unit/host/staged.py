"""A stream on a host of its own, for the tests of what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest

from strata import settings
from strata.host import process, restarts
from strata.host.admission import Cost, Share
from strata.host.limits import Allowance, NoGroup, NoLimits
from strata.host.machine import Machine
from strata.host.packets import Packets
from strata.host.records import Record, Records
from strata.host.stream import State, Stream
from strata.host.supervised import Outcome
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support import fake_worker
from support.children import until
from support.control import Place, place
from unit.host.spawned import Spawned

DEADLINE_S = 20.0
PORTS = [15000, 15002]
PSK = "a-psk-of-the-tests"
URLS = ["rtmp://127.0.0.1/live/key"]
SECRETS = worker_wire.Secrets(PSK, URLS, ["fwd_1"], 1)


class Group(NoGroup):
    """No limits, but a kernel that kills, and work that takes its time."""

    def __init__(self) -> None:
        self.killed = 0
        self.may_slow_down = asyncio.Event()
        self.may_slow_down.set()

    def kills(self) -> int:
        return self.killed

    async def slow_down(self) -> None:
        await self.may_slow_down.wait()


class OneGroup(NoLimits):
    def __init__(self) -> None:
        super().__init__("")
        self.group = Group()

    async def make(self, name: str, allowance: Allowance) -> Group:
        return self.group

    def adopt(self, name: str, allowance: Allowance) -> Group:
        return self.group


class Stage:
    """A stream whose workers behave as ``modes`` tells, one after the other."""

    def __init__(self, here: Place, monkeypatch: pytest.MonkeyPatch, **host: object) -> None:
        self.here = here
        self.modes = ["obedient"]
        self.urls = URLS
        self.notices: list[wire.Notice] = []
        self.overs: list[Outcome] = []
        self.ports_given: list[list[int]] = []
        self.settings_given: list[dict[str, object]] = []
        self.limits = OneGroup()
        loaded = settings.load(data_dir=here.data, host={"runtime_dir": here.run, **host})
        settings.make_folders(loaded)
        here.run.mkdir(exist_ok=True)
        self.records = Records(here.data / "workers")
        self.machine = Machine(
            loaded,
            here.run,
            self.limits,
            Packets("strata-x", egress=False, nonces=False, classifies=False),
            self.records,
            asyncio.Semaphore(1),
        )
        self.log = loaded.log_dir / "str_1.log"
        self.stream = self.new_stream(Record("str_1", PORTS))
        self.spawned = Spawned(monkeypatch)
        monkeypatch.setattr(process, "argv", self._argv)

    def new_stream(self, record: Record) -> Stream:
        share = Share(Cost(0.1, 64.0, 8000.0))
        return Stream(record, share, self.machine, self.notices.append, self._over)

    def _over(self, stream: Stream, outcome: Outcome) -> None:
        assert stream.state == "over"
        self.overs.append(outcome)

    def _argv(
        self, stream_id: str, ports: Sequence[int], path: Path, *_: object, **more: object
    ) -> list[str]:
        mode = self.modes.pop(0) if len(self.modes) > 1 else self.modes[0]
        self.ports_given.append(list(ports))
        self.settings_given.append(more)
        listed = ",".join(map(str, ports))
        return [
            *(sys.executable, "-I", fake_worker.__file__, mode, str(path), stream_id, listed),
            *("strata.worker", "--control-socket", str(path), "the end"),
        ]

    @property
    def record(self) -> Record:
        [record] = self.records.all()
        return record

    async def start(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.stream.start(PSK, self.urls)

    async def stop(self) -> Outcome:
        async with asyncio.timeout(DEADLINE_S):
            return await self.stream.stop()

    async def crash(self) -> None:
        """Returns when the stream has taken notice."""
        os.kill(self.stream.pid, signal.SIGKILL)
        await until(lambda: self.stream.state != "running", DEADLINE_S, "it is noticed")

    async def becomes(self, state: State) -> None:
        await until(lambda: self.stream.state == state, DEADLINE_S, f"it is {state}")

    async def heir(self, **changes: Any) -> Stream:
        """The stream as the next host has it."""
        await self.stream.leave()
        record = msgspec.structs.replace(self.record, **changes)
        self.stream = self.new_stream(record)
        self.notices.clear()
        self.stream.adopt()
        return self.stream

    def hear(self, *events: worker_wire.Event) -> None:
        assert self.stream._worker is not None
        for event in events:
            self.stream._worker._hear(event)

    def passes(self, heard_s: float = 0.0, quiet_s: float = 0.0) -> None:
        """As if so much more time had passed without a report, or without media."""
        assert self.stream._worker is not None
        self.stream._worker.heard_at -= heard_s
        self.stream._vitals.media_at -= quiet_s

    def told(self, kind: type) -> list[Any]:
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def alarms(self) -> list[list[str]]:
        return [[each.kind for each in notice.alarms] for notice in self.told(wire.Alarms)]

    def secrets_given(self) -> list[str]:
        """A number for each of the secrets that workers were given."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split()[-1] for line in lines if "fake got" in line]

    def nothing_is_left(self) -> bool:
        records = list((self.here.data / "workers").iterdir())
        return not (self.here.processes() or self.here.sockets() or records)

    async def close(self) -> None:
        await self.stream.leave()
        self.spawned.kill()


def number_of(secrets: worker_wire.Secrets) -> str:
    return str(crc32(msgspec.json.encode(secrets) + b"\n"))


@contextlib.asynccontextmanager
async def staged(monkeypatch: pytest.MonkeyPatch, **host: object) -> AsyncIterator[Stage]:
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 0.01)
    with place() as here:
        one = Stage(here, monkeypatch, **host)
        try:
            yield one
        finally:
            await one.close()
