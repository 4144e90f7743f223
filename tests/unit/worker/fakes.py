"""The two ends of a worker's intake, destinations and the smallest media there is, made by
hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, ClassVar, Final

import pytest

from strata.errors import StrataError
from strata.rist import Counters, LinkCounters, Mark
from strata.wire.forward_url import ForwardUrl
from strata.worker import intake, kinds
from strata.worker import worker as worker_module
from strata.worker.average import Pieces
from strata.worker.formats import AudioFormat, Format, Program, VideoFormat
from strata.worker.output import Output
from strata.worker.ts_keys import Packets
from strata.worker.units import AccessUnit

SECOND_NS: Final = 1_000_000_000

PACKET: Final = b"\x47\x1f\xff\x10" + bytes(184)
"""A packet of stuffing: after some seconds without any tables it passes as it is."""

SPS: Final = bytes.fromhex("6742c00ada7b011000000300100000030328f1226a")
PPS: Final = bytes.fromhex("68ce0fc8")
KEY_FRAME: Final = bytes.fromhex("6588843a2628000902e0")
FRAMES: Final = (bytes.fromhex("419a202694"), bytes.fromhex("419a402a94"))
"""Black, 16 by 16."""

SILENCE: Final = bytes.fromhex("211004608c1c")
AVCC: Final = b"\x01" + SPS[1:4] + b"\xff\xe1\0" + bytes([len(SPS)]) + SPS + b"\x01\0\x04" + PPS
VIDEO: Final = VideoFormat(
    "h264",
    AVCC,
    "video/x-h264,stream-format=avc,alignment=au,width=16,height=16,framerate=25/1,"
    f"codec_data=(buffer){AVCC.hex()}",
    16,
    16,
    Fraction(25),
    "constrained-baseline",
)
AUDIO: Final = AudioFormat(
    "aac",
    bytes.fromhex("1190"),
    "audio/mpeg,mpegversion=4,stream-format=raw,framed=true,channels=2,rate=48000,"
    "codec_data=(buffer)1190",
    48_000,
    2,
)
H265: Final = VideoFormat("h265", b"", "video/x-h265,stream-format=hvc1,alignment=au")
"""Of which nothing more is known."""
OTHER_VIDEO: Final = VideoFormat("mpeg2", b"", "video/mpeg")
OTHER_AUDIO: Final = AudioFormat("mp2", b"", "audio/mpeg,mpegversion=1,layer=2")
"""What no forward carries."""


class FakeReceiver:
    """Gives out what a test puts in."""

    made: ClassVar[list[FakeReceiver]] = []
    start_error: ClassVar[Exception | None] = None

    def __init__(self, ports: tuple[int, ...], psk: Any, **settings: Any) -> None:
        self.ports = ports
        self.settings = settings
        self.waiting = b""
        self.marks: list[Mark] = []
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

    def lose(self, missing: int = 1, *, new_flow: bool = False) -> None:
        """What is received next does not follow."""
        self.marks.append(Mark(len(self.waiting), missing, new_flow))

    def take_marked(self) -> tuple[bytes, list[Mark]]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
        taken = self.waiting, self.marks
        self.waiting, self.marks = b"", []
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


class FakeOutput(Output):
    """A destination that does what its test says."""

    ELEMENTS: ClassVar[tuple[str, ...]] = ()
    NETWORKED: ClassVar[bool] = True
    OVERHEAD: ClassVar[float] = 1.0

    made: ClassVar[list[FakeOutput]] = []
    prepare_error: ClassVar[StrataError | None] = None
    check_error: ClassVar[StrataError | None] = None
    start_error: ClassVar[BaseException | None] = None

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        share_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        super().__init__(url, program, share_kbps, on_end)
        self.on_end = on_end
        self.taken = 0
        self.waits: str | None = None
        self.cut: Pieces | None = None
        self.copied = 1
        self.units: list[AccessUnit] = []
        self.packets: list[Packets] = []
        self.given_at_start: int | None = None
        self.started = asyncio.Event()
        self.asked_to_end = False
        self.is_over: bool | None = None
        self.ends_when_asked = True
        self.stops = 0
        self.made.append(self)

    @classmethod
    def prepare(cls, url: ForwardUrl) -> None:
        if cls.prepare_error is not None:
            raise cls.prepare_error

    @classmethod
    def check(cls, program: Program, url: ForwardUrl) -> None:
        if cls.check_error is not None:
            raise cls.check_error

    async def start(self) -> None:
        self.given_at_start = len(self.units) + len(self.packets)
        if self.start_error is not None:
            raise self.start_error
        await asyncio.sleep(0.1)
        self.started.set()

    def push(self, *units: AccessUnit) -> None:
        self.units += units

    def push_packets(self, packets: Packets) -> None:
        self.packets.append(packets)

    def bytes_out(self) -> int:
        return self.taken

    def pieces(self) -> Pieces | None:
        return self.cut

    def idle(self) -> str | None:
        return self.waits

    def copies(self) -> int:
        return self.copied

    def end(self, *, is_over: bool = True) -> None:
        self.asked_to_end = True
        self.is_over = is_over
        if self.ends_when_asked:
            self.on_end(None)

    async def stop(self) -> None:
        self.stops += 1


def picture(number: int) -> AccessUnit:
    """The pictures of a stream, three to a group, 25 a second."""
    at_ns = SECOND_NS + number * SECOND_NS // 25
    data = (KEY_FRAME, *FRAMES)[number % 3]
    return unit(VIDEO, len(data).to_bytes(4, "big") + data, at_ns, number % 3 == 0)


def sound(number: int) -> AccessUnit:
    """The frames of sound of a stream, 40 ms apart."""
    return unit(AUDIO, SILENCE, SECOND_NS + number * SECOND_NS // 25)


def unit(format: Format, data: bytes = bytes(1000), at_ns: int = 0, key: bool = True) -> AccessUnit:
    """One that is shown when it is decoded."""
    return AccessUnit(format, data, at_ns, at_ns, key)


def install_output(
    monkeypatch: pytest.MonkeyPatch, kind_of: Callable[[ForwardUrl], type[FakeOutput]]
) -> None:
    """Lets forwards lead to outputs made by hand, for one test."""
    monkeypatch.setattr(FakeOutput, "made", [])
    for name in ("prepare_error", "check_error", "start_error"):
        monkeypatch.setattr(FakeOutput, name, None)
    monkeypatch.setattr(kinds, "of", kind_of)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts them in the place of the real ones, for one test."""
    monkeypatch.setattr(FakeReceiver, "made", [])
    monkeypatch.setattr(FakeReceiver, "start_error", None)
    monkeypatch.setattr(FakeIngest, "made", [])
    monkeypatch.setattr(worker_module, "Receiver", FakeReceiver)
    monkeypatch.setattr(intake, "Ingest", FakeIngest)
