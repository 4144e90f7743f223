"""Transport streams taken apart, and sent as they are, at the pace of their clock."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias

from strata.errors import HostError
from strata.rist import Link, Sender
from strata.secrets import Secret
from support.children import output_of
from support.worker import PSK, WorkerProcess

PACKET: Final = 188
VIDEO_PID: Final = 0x100
AUDIO_PID: Final = 0x101
PAT_PID: Final = 0
PMT_PID: Final = 0x1000
"""As ffmpeg numbers them."""
TRACKS: Final[dict[int, Track]] = {VIDEO_PID: "video", AUDIO_PID: "audio"}
NULL: Final = b"\x47\x1f\xff\x10" + b"\xff" * 184
DATAGRAM: Final = 7 * PACKET
HZ: Final = 90_000
WRAP: Final = 1 << 33

CLIP_KBPS: Final = 900
"""Of a clip as it is sent; constant, so that a place in it is a time."""

Track: TypeAlias = Literal["video", "audio"]


async def make_clip(
    path: Path,
    seconds: float,
    *coding: str,
    rate: str = "25",
    picture: str = "",
    sound: Sequence[str] | None = ("-ar", "48000", "-ac", "2"),
    kbps: int = CLIP_KBPS,
    offset_s: float = 0.0,
) -> bytes:
    """Small pictures and noise, no two alike, in a stream of constant rate.

    Args:
        coding: of the picture; without any, a key frame each second and no B-frames.
        picture: filters before the encoder.
        sound: how it is coded; None for none.
    """
    source = f"testsrc2=size=320x180:rate={rate}{picture}"
    noise = ("-f", "lavfi", "-i", "anoisesrc=amplitude=0.05:seed=1") if sound is not None else ()
    await output_of(
        *("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *noise),
        *("-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
        *(coding or ("-tune", "zerolatency", "-g", "25", "-sc_threshold", "0")),
        *("-b:v", f"{kbps // 2}k", "-maxrate", f"{kbps // 2}k", "-bufsize", f"{kbps // 4}k"),
        *("-c:a", "aac", "-b:a", "64k", *(sound or ())),
        *("-output_ts_offset", str(offset_s), "-f", "mpegts", "-muxrate", f"{kbps}k"),
        *("-pcr_period", "40", path),
    )
    return path.read_bytes()


# --- taken apart ---------------------------------------------------------------------


def packets(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), PACKET):
        yield data[at : at + PACKET]


def pid_of(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def payload_at(packet: bytes) -> int:
    return 4 + (1 + packet[4] if packet[3] & 0x20 else 0)


def at_s(data: bytes, seconds: float, kbps: int = CLIP_KBPS) -> int:
    """The place of a stream of constant rate that is sent at that time."""
    return min(len(data), int(seconds * kbps * 125) // PACKET * PACKET)


def picture_at(data: bytes, seconds: float, kbps: int = CLIP_KBPS) -> int:
    """The same, but where the next picture begins: all before it are whole."""
    for at in range(at_s(data, seconds, kbps), len(data), PACKET):
        if pid_of(data[at : at + PACKET]) == VIDEO_PID and data[at + 1] & 0x40:
            return at
    return len(data)


@dataclass(frozen=True, slots=True)
class Stamp:
    """One time in a stream.

    Attributes:
        ticks: of 90 kHz.
        unit: the number of the unit within its track; of a PCR, how many came before.
        at_s: when it is sent.
    """

    kind: Literal["pcr", "pts", "dts"]
    track: Track
    ticks: int
    unit: int
    at_s: float


def restamped(data: bytes, change: Callable[[Stamp], int | None], kbps: int = CLIP_KBPS) -> bytes:
    """The stream with other times: what ``change`` says, None for no change."""
    out = bytearray(data)
    units: dict[tuple[str, str], int] = {}
    for at in range(0, len(data), PACKET):
        packet = data[at : at + PACKET]
        track = TRACKS.get(pid_of(packet))
        if track is None:
            continue
        for kind, offset in _stamps(packet):
            number = units.get((kind, track), 0)
            units[kind, track] = number + 1
            field_ = packet[offset : offset + (6 if kind == "pcr" else 5)]
            ticks = _read_pcr(field_) if kind == "pcr" else _read(field_)
            wanted = change(Stamp(kind, track, ticks, number, at / (kbps * 125)))
            if wanted is not None:
                new = wanted % WRAP
                written = _pcr(new) if kind == "pcr" else _stamp(field_[0] >> 4, new)
                out[at + offset : at + offset + len(written)] = written
    return bytes(out)


def stamps(data: bytes, kind: Literal["pcr", "pts", "dts"], track: Track) -> list[int]:
    """All of one kind, in ticks of 90 kHz."""
    found: list[int] = []

    def note(stamp: Stamp) -> None:
        if (stamp.kind, stamp.track) == (kind, track):
            found.append(stamp.ticks)

    restamped(data, note)
    return found


def _stamps(packet: bytes) -> Iterator[tuple[Literal["pcr", "pts", "dts"], int]]:
    if packet[3] & 0x20 and packet[4] >= 7 and packet[5] & 0x10:
        yield "pcr", 6
    start = payload_at(packet)
    if packet[1] & 0x40 and packet[3] & 0x10 and start + 19 <= PACKET:
        flags = packet[start + 7] >> 6
        if flags & 2:
            yield "pts", start + 9
        if flags == 3:
            yield "dts", start + 14


def _read_pcr(data: bytes) -> int:
    return int.from_bytes(data[:5], "big") >> 7


def _pcr(ticks: int) -> bytes:
    return (ticks << 15 | 0x3F << 9).to_bytes(6, "big")


def _read(data: bytes) -> int:
    return (
        (data[0] >> 1 & 7) << 30
        | (data[1] << 7 | data[2] >> 1) << 15
        | (data[3] << 7 | data[4] >> 1)
    )


def _stamp(prefix: int, ticks: int) -> bytes:
    high, middle, low = ticks >> 30 & 7, ticks >> 15 & 0x7FFF, ticks & 0x7FFF
    return bytes((prefix << 4 | high << 1 | 1,)) + b"".join(
        (part << 1 | 1).to_bytes(2, "big") for part in (middle, low)
    )


def section(data: bytes) -> bytes:
    """A section with its checksum (ISO/IEC 13818-1 annex A)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C1_1DB7 if crc & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return data + crc.to_bytes(4, "big")


def pat(programs: dict[int, int], version: int = 0) -> bytes:
    """By the number of a program: the PID of its map."""
    rows = b"".join(
        number.to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big")
        for number, pid in programs.items()
    )
    head = (0xB000 | len(rows) + 9).to_bytes(2, "big") + b"\0\1"
    return section(b"\0" + head + bytes((0xC1 | version << 1, 0, 0)) + rows)


def pmt(streams: dict[int, int], pcr_pid: int = VIDEO_PID, version: int = 0) -> bytes:
    """By PID: the type of a stream. Of program 1."""
    rows = b"".join(
        bytes((kind,)) + (0xE000 | pid).to_bytes(2, "big") + b"\xf0\0"
        for pid, kind in streams.items()
    )
    head = (0xB000 | len(rows) + 13).to_bytes(2, "big") + b"\0\1"
    tail = bytes((0xC1 | version << 1, 0, 0)) + (0xE000 | pcr_pid).to_bytes(2, "big")
    return section(b"\2" + head + tail + b"\xf0\0" + rows)


def in_packet(packet: bytes, data: bytes) -> bytes:
    """The section in the place of the one that a packet holds."""
    return (packet[:3] + bytes((0x10 | packet[3] & 0x0F,)) + b"\0" + data).ljust(PACKET, b"\xff")


@dataclass(slots=True)
class Units:
    """What is in a stream or a recording, in decoding order: a sum over each coded picture
    and frame of sound, and when it is decoded and shown, in s."""

    sums: dict[Track, list[bytes]] = field(default_factory=lambda: {"video": [], "audio": []})
    dts_s: dict[Track, list[float]] = field(default_factory=lambda: {"video": [], "audio": []})
    pts_s: dict[Track, list[float]] = field(default_factory=lambda: {"video": [], "audio": []})

    def add(self, track: Track, data: bytes, dts_s: float, pts_s: float) -> None:
        self.sums[track].append(hashlib.blake2b(data, digest_size=12).digest())
        self.dts_s[track].append(dts_s)
        self.pts_s[track].append(pts_s)


def units_of_ts(data: bytes, frame_s: float = 1024 / 48_000) -> Units:
    """Those of a stream; ``frame_s`` is how long a frame of sound lasts."""
    found = Units()
    begun: dict[int, bytearray] = {}

    def take(pid: int) -> None:
        pes = bytes(begun.pop(pid, b""))
        if not pes:
            return
        flags = pes[7] >> 6
        pts = _read(pes[9:14]) / HZ
        dts = _read(pes[14:19]) / HZ if flags == 3 else pts
        body = pes[9 + pes[8] :]
        if pid == VIDEO_PID:
            found.add("video", _slices(_annex_b(body)), dts, pts)
            return
        for number, frame in enumerate(_adts(body)):
            at = pts + number * frame_s
            found.add("audio", frame, at, at)

    for packet in packets(data):
        pid = pid_of(packet)
        if pid not in TRACKS or not packet[3] & 0x10:
            continue
        if packet[1] & 0x40:
            take(pid)
            begun[pid] = bytearray()
        if pid in begun:
            begun[pid] += packet[payload_at(packet) :]
    for pid in tuple(begun):
        take(pid)
    for sums in found.sums.values():
        assert len(set(sums)) == len(sums), "two of the source are alike"
    return found


def _annex_b(data: bytes) -> list[bytes]:
    return [part for part in data.split(b"\0\0\1") if part]


def _slices(nals: Sequence[bytes]) -> bytes:
    """What is coded of the picture, without what stands around it."""
    return b"".join(nal.rstrip(b"\0") for nal in nals if nal[0] & 0x1F in (1, 5))


def _adts(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 7 <= len(data):
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        head = 7 if data[at + 1] & 1 else 9
        yield data[at + head : at + size]
        at += max(size, 7)


@dataclass(slots=True)
class Flv:
    """A recording as the server wrote it.

    Attributes:
        at_ms: the time of each tag with media, in the order of the file, by track.
        row_ms: the same of all tracks, in one row.
    """

    units: Units
    at_ms: dict[Track, list[int]]
    row_ms: list[int]
    configs: dict[Track, list[bytes]]

    def where(self, source: Units, track: Track) -> dict[int, int]:
        """By the number of a unit in the source: its place in the recording."""
        numbers = {sum_: number for number, sum_ in enumerate(source.sums[track])}
        return {
            numbers[sum_]: place
            for place, sum_ in enumerate(self.units.sums[track])
            if sum_ in numbers
        }


def read_flv(path: Path) -> Flv:
    data = path.read_bytes()
    assert data[:3] == b"FLV"
    found = Flv(Units(), {"video": [], "audio": []}, [], {"video": [], "audio": []})
    at = 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        at_ms = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        body = data[at + 11 : at + 11 + size]
        kind = data[at]
        at += 11 + size + 4
        if kind == 9 and body[1] == 1:
            ahead = int.from_bytes(body[2:5], "big", signed=True)
            slices = _slices(list(_length_prefixed(body[5:])))
            found.units.add("video", slices, at_ms / 1000, (at_ms + ahead) / 1000)
        elif kind == 8 and body[1] == 1:
            found.units.add("audio", body[2:], at_ms / 1000, at_ms / 1000)
        elif kind in (8, 9):
            found.configs["video" if kind == 9 else "audio"].append(body)
            continue
        else:
            continue
        found.at_ms["video" if kind == 9 else "audio"].append(at_ms)
        found.row_ms.append(at_ms)
    return found


def _length_prefixed(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


# --- sent ----------------------------------------------------------------------------


class TsSender:
    """Sends a stream byte for byte, with the right key, over all links of a worker.

    Args:
        kbps: the rate of the stream; what it is given takes as long as it would.
    """

    def __init__(self, worker: WorkerProcess, kbps: int = CLIP_KBPS) -> None:
        self._worker = worker
        self._bytes_per_s = kbps * 125
        links = [Link("127.0.0.1", port) for port in worker.ports]
        self._sender = Sender(links, Secret(PSK))
        self._due_s = 0.0
        self._began_s: float | None = None

    async def __aenter__(self) -> Self:
        self._sender.start()
        try:
            async with asyncio.timeout(20.0):
                while not await self._is_heard():
                    await self.send(NULL * 7 * 10)
        except BaseException:
            self._sender.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sender.close()

    async def _is_heard(self) -> bool:
        stats = await self._worker.ask("stats")
        return all(link["received"] for link in stats["links"])

    async def live(self, clip: bytes, until_s: float) -> None:
        """Sends what is made from now on: what was not sent since the last time is lost, as
        when all links are cut."""
        now_s = asyncio.get_running_loop().time()
        self._began_s = now_s if self._began_s is None else self._began_s
        begin = picture_at(clip, now_s - self._began_s) if now_s > self._began_s else 0
        await self.send(clip[begin : picture_at(clip, until_s)])

    async def send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._due_s = max(self._due_s, loop.time() - 0.5)
        for at in range(0, len(data), DATAGRAM):
            if (early_s := self._due_s - loop.time()) > 0:
                await asyncio.sleep(early_s)
            piece = data[at : at + DATAGRAM]
            try:
                self._sender.write(piece)
            except HostError:
                await asyncio.sleep(0.05)
                self._sender.write(piece)
            self._due_s += len(piece) / self._bytes_per_s
