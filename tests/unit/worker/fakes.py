"""The two ends of a worker's intake, made by hand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final

import pytest

from strata.rist import Counters, LinkCounters
from strata.worker import intake
from strata.worker import worker as worker_module
from strata.worker.units import AccessUnit, Program

PACKET: Final = b"\x47\x1f\xff\x10" + bytes(184)
"""A packet of stuffing: after some seconds without any tables it passes as it is."""


class FakeReceiver:
    """Gives out what a test puts in."""

    made: ClassVar[list[FakeReceiver]] = []
    start_error: ClassVar[Exception | None] = None

    def __init__(self, ports: tuple[int, ...], psk: Any, **settings: Any) -> None:
        self.ports = ports
        self.settings = settings
        self.waiting = b""
        self.packets = 0
        self.logs: list[tuple[str, str]] = []
        self.reports: list[dict[str, Any]] = []
        self.closed = False
        self.take_error: Exception | None = None
        self._event = os.eventfd(0, os.EFD_NONBLOCK)
        self.made.append(self)

    def start(self) -> None:
        if self.start_error is not None:
            raise self.start_error

    def receive(self, batch: bytes = PACKET) -> None:
        self.waiting += batch
        self.packets += 1
        os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        return self._event

    def take(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
        taken, self.waiting = self.waiting, b""
        return taken

    def take_logs(self) -> list[tuple[str, str]]:
        taken, self.logs = self.logs, []
        return taken

    def take_reports(self) -> list[dict[str, Any]]:
        if self.take_error is not None:
            raise self.take_error
        taken, self.reports = self.reports, []
        return taken

    def counters(self) -> Counters:
        links = tuple(LinkCounters(port, None, 0, 0, 0, 0) for port in self.ports)
        return Counters(self.packets, self.packets * 188, 0, 0, 0, 0, 0, 0, links)

    def close(self) -> None:
        if not self.closed:
            os.close(self._event)
        self.closed = True


class FakeIngest:
    """Parses nothing: a test says what comes out."""

    made: ClassVar[list[FakeIngest]] = []

    def __init__(
        self,
        on_failure: Callable[[str], None],
        on_unusable: Callable[[str], None],
        zero_s: float | None = None,
    ) -> None:
        self.zero_s = zero_s
        self.on_failure = on_failure
        self.on_unusable = on_unusable
        self.pushed: list[bytes] = []
        self.units: list[AccessUnit] = []
        self.whole: Program | None = None
        self.part = Program(None, None)
        self.ended = False
        self.stopped = False
        self.made.append(self)

    def start(self) -> None:
        pass

    def push(self, packets: bytes, stamp_s: float) -> None:
        if self.zero_s is None:
            self.zero_s = stamp_s
        self.pushed.append(packets)

    def pull(self) -> Iterator[AccessUnit]:
        units, self.units = self.units, []
        return iter(units)

    def program(self) -> Program | None:
        return self.whole

    def known(self) -> Program:
        return self.part

    def end(self) -> None:
        self.ended = True

    def stop(self) -> None:
        self.stopped = True


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts them in the place of the real ones, for one test."""
    monkeypatch.setattr(FakeReceiver, "made", [])
    monkeypatch.setattr(FakeReceiver, "start_error", None)
    monkeypatch.setattr(FakeIngest, "made", [])
    monkeypatch.setattr(worker_module, "Receiver", FakeReceiver)
    monkeypatch.setattr(intake, "Ingest", FakeIngest)
