"""What comes with the right key and is nonsense: it may spoil its own time on the air, and no
other."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from support.children import output_of
from support.nginx import Nginx
from support.ts import (
    AUDIO_PID,
    HZ,
    NULL,
    PACKET,
    PAT_PID,
    PMT_PID,
    VIDEO_PID,
    Flv,
    Stamp,
    Track,
    TsSender,
    Units,
    at_s,
    in_packet,
    make_clip,
    packets,
    pat,
    payload_at,
    pid_of,
    pmt,
    read_flv,
    restamped,
    units_of_ts,
)
from support.worker import Event, WorkerProcess

CLIP_S: Final = 12.0
BAD_S: Final = (2.0, 4.0)
"""Which part of the clip is spoilt."""
BACK_S: Final = 6.0
"""After the last bad packet, at most; they are in the recovery buffer for a moment, and the
next key frame is a second away."""
SKEW_S_MAX: Final = 0.05
AHEAD_S: Final = 3.0
"""A stamp is believed up to 2 s ahead of the passing of time."""
AT_ONCE: Final = 12
"""Broadcasts that two cores carry beside each other."""

Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True, slots=True)
class Aired:
    """What became of one broadcast."""

    recordings: list[Path]
    flv: Flv
    events: list[Event]
    stats: Event
    log: str
    errors: str


async def broadcast(folder: Path, stream: bytes) -> Aired:
    """Sends a stream to a worker of its own, which must live through it."""
    folder.mkdir()
    async with Nginx(folder / "nginx") as nginx:
        async with WorkerProcess(folder, [nginx.url("key")]) as worker:
            ready = await worker.client.event("ready")
            async with TsSender(worker) as sender:
                await sender.send(stream)
                await asyncio.sleep(1.6)  # through the recovery buffer and out
                stats = await worker.ask("stats")
            assert worker.child.status is None, worker.log()
            assert ready["pid"] == worker.pid
            assert await worker.stop() == 0
        recordings = await nginx.finished()
        errors = await complaints(recordings[0])
    return Aired(
        recordings, read_flv(recordings[0]), worker.client.events, stats, worker.log(), errors
    )


async def complaints(path: Path) -> str:
    """What a decoder says of the coding. Stamps are looked at elsewhere: of those that are a
    millisecond apart ffmpeg makes the same one for its output, and complains of that."""
    said = await output_of(
        *("ffmpeg", "-v", "error", "-i", path, "-fps_mode", "passthrough"),
        *("-enc_time_base", "1:1000", "-f", "null", "-"),
    )
    lines = (line for line in said.splitlines() if "Last message repeated" not in line)
    return "\n".join(line for line in lines if "non monotonically increasing dts" not in line)


def all_of(folder: Path, streams: dict[str, bytes]) -> dict[str, Aired | BaseException]:
    """Several broadcasts beside each other."""

    async def run() -> dict[str, Aired | BaseException]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> Aired:
            async with turn:
                return await broadcast(folder / name.replace(" ", "-"), streams[name])

        found = await asyncio.gather(*map(one, streams), return_exceptions=True)
        return dict(zip(streams, found, strict=True))

    return asyncio.run(run())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return asyncio.run(make_clip(tmp_path_factory.mktemp("hostile") / "clip.ts", CLIP_S))


@pytest.fixture(scope="module")
def source(clip: bytes) -> Units:
    return units_of_ts(clip)


def never_goes_back(flv: Flv) -> None:
    for track, stamps in flv.at_ms.items():
        back = [pair for pair in pairwise(stamps) if pair[1] <= pair[0]]
        assert not back, f"{track} goes back: {back[:3]}"


def is_one_session(aired: Aired) -> None:
    """The worker has taken it in its stride."""
    assert "Traceback" not in aired.log
    assert len(aired.recordings) == 1
    states = {event["state"] for event in aired.events if event["event"] == "forward"}
    assert states <= {"connecting", "live", "stopped"}
    never_goes_back(aired.flv)
    # Nor does the broadcast run away from the passing of time.
    assert aired.flv.row_ms[-1] <= (CLIP_S + AHEAD_S) * 1000


def comes_back(aired: Aired, source: Units, bad_until_s: float = BAD_S[1]) -> None:
    """Picture and sound are the sender's again, whole and together, and stay so."""
    begin_s = min(source.dts_s["video"][0], source.dts_s["audio"][0])
    for track in ("video", "audio"):
        sent_s = [stamp - begin_s for stamp in source.dts_s[track]]
        there = aired.flv.where(source, track)
        missing = [at for number, at in enumerate(sent_s[:-3]) if number not in there]
        away_s = max(missing, default=0.0) - bad_until_s
        assert away_s <= BACK_S, f"{track} is away for {away_s:.1f} s"
    assert abs(skew_s(aired.flv, source)) <= SKEW_S_MAX


def skew_s(flv: Flv, source: Units) -> float:
    """How much later the sound is than it should be beside the picture, at the end."""
    shifts = {}
    for track in ("video", "audio"):
        there = flv.where(source, track)
        number = max(there)
        shifts[track] = flv.at_ms[track][there[number]] / 1000 - source.dts_s[track][number]
    return shifts["audio"] - shifts["video"]


# --- absurd stamps -------------------------------------------------------------------

FAR: Final = 107 * HZ
DAY: Final = 26 * 3600 * HZ


def is_bad(stamp: Stamp) -> bool:
    return BAD_S[0] <= stamp.at_s < BAD_S[1]


def changed(
    kinds: Iterable[str],
    to: Callable[[Stamp, random.Random], int | None],
    tracks: Iterable[Track] = ("video", "audio"),
) -> Damage:
    """Other stamps in the bad part of a stream."""

    def damage(clip: bytes, chance: random.Random) -> bytes:
        return restamped(
            clip,
            lambda s: (
                to(s, chance) if is_bad(s) and s.kind in kinds and s.track in tracks else None
            ),
        )

    return damage


def one_unit(kinds: Iterable[str], track: Track, by: int) -> Damage:
    """Another stamp on one unit, in the middle of the bad part."""

    def damage(clip: bytes, chance: random.Random) -> bytes:
        done: dict[str, int] = {}

        def to(stamp: Stamp) -> int | None:
            if stamp.kind not in kinds or stamp.track != track or stamp.at_s < BAD_S[0] + 0.5:
                return None
            return (
                stamp.ticks + by if done.setdefault(stamp.kind, stamp.unit) == stamp.unit else None
            )

        return restamped(clip, to)

    return damage


def from_then_on(kinds: Iterable[str], by: int) -> Damage:
    """A clock that is set anew, for good."""
    return lambda clip, chance: restamped(
        clip, lambda s: s.ticks + by if s.kind in kinds and s.at_s >= BAD_S[0] else None
    )


def at_zero(clip: bytes, chance: random.Random) -> bytes:
    """Begins anew at zero, which is where the bad part begins."""
    first: list[int] = []

    def to(stamp: Stamp) -> int | None:
        if stamp.at_s < BAD_S[0]:
            return None
        first.append(stamp.ticks)
        return stamp.ticks - first[0]

    return restamped(clip, to)


ALL: Final = ("pcr", "pts", "dts")
TIMES: Final = ("pts", "dts")

ABSURD: Final[dict[str, Damage]] = {
    "one picture 107 s ahead": one_unit(TIMES, "video", FAR),
    "one picture 107 s back": one_unit(TIMES, "video", -FAR),
    "one picture shown 107 s late": one_unit(("pts",), "video", FAR),
    "one frame of sound 107 s ahead": one_unit(TIMES, "audio", FAR),
    "one clock reference 107 s ahead": one_unit(("pcr",), "video", FAR),
    "one clock reference 107 s back": one_unit(("pcr",), "video", -FAR),
    "all 26 h ahead and back again": changed(ALL, lambda s, _: s.ticks + DAY),
    "all 107 s ahead and back again": changed(ALL, lambda s, _: s.ticks + FAR),
    "all 107 s ahead for good": from_then_on(ALL, FAR),
    "all 26 h ahead for good": from_then_on(ALL, DAY),
    "back to zero for good": at_zero,
    "all at zero": changed(ALL, lambda s, _: 0),
    "all random": changed(ALL, lambda s, chance: chance.getrandbits(33)),
    "times random": changed(TIMES, lambda s, chance: chance.getrandbits(33)),
    "times random by a second": changed(
        TIMES, lambda s, chance: s.ticks + chance.randrange(-HZ, HZ)
    ),
    "clock references random": changed(("pcr",), lambda s, chance: chance.getrandbits(33)),
    "times 26 h ahead": changed(TIMES, lambda s, _: s.ticks + DAY),
    "clock references stand still": changed(("pcr",), lambda s, _: 90_000),
    "pictures stand still": changed(TIMES, lambda s, _: 3 * HZ, ["video"]),
    "sound stands still": changed(TIMES, lambda s, _: 3 * HZ, ["audio"]),
}


# --- damage --------------------------------------------------------------------------


def each(
    change: Callable[[bytes, random.Random], bytes], pids: Iterable[int] = (VIDEO_PID, AUDIO_PID)
) -> Damage:
    """Other packets in the bad part of a stream, or fewer."""
    wanted = frozenset(pids)

    def damage(clip: bytes, chance: random.Random) -> bytes:
        begin, end = (at_s(clip, seconds) for seconds in BAD_S)
        spoilt = b"".join(
            change(packet, chance) if pid_of(packet) in wanted else packet
            for packet in packets(clip[begin:end])
        )
        return clip[:begin] + spoilt + clip[end:]

    return damage


def noise(packet: bytes, chance: random.Random) -> bytes:
    """All but the first byte."""
    return b"\x47" + chance.randbytes(PACKET - 1)


def one_in(of: int, change: Callable[[bytes, random.Random], bytes]) -> Damage:
    return each(lambda packet, chance: packet if chance.randrange(of) else change(packet, chance))


def noisy_payload(packet: bytes, chance: random.Random) -> bytes:
    start = payload_at(packet) + (19 if packet[1] & 0x40 else 0)
    return packet[:start] + chance.randbytes(max(0, PACKET - start))


def noisy_head(packet: bytes, chance: random.Random) -> bytes:
    """Of a packet that begins a picture or sound."""
    start = payload_at(packet)
    if not packet[1] & 0x40 or start > PACKET - 16:
        return packet
    return packet[: start + 4] + chance.randbytes(12) + packet[start + 16 :]


def any_header(packet: bytes, chance: random.Random) -> bytes:
    return packet[:1] + chance.randbytes(5) + packet[6:]


def without_tails(clip: bytes, chance: random.Random) -> bytes:
    """Each picture breaks off after its first two packets, and no counter tells of it."""
    left: dict[int, int] = {}
    counters: dict[int, int] = {}
    out = bytearray(clip)
    for at in range(at_s(clip, BAD_S[0]), len(clip), PACKET):
        packet = clip[at : at + PACKET]
        pid = pid_of(packet)
        if pid != VIDEO_PID:
            continue
        left[pid] = 2 if packet[1] & 0x40 else left.get(pid, 0) - 1
        if left[pid] < 0 and at < at_s(clip, BAD_S[1]):
            out[at : at + PACKET] = NULL
            continue
        counter = counters.get(pid, (packet[3] - 1) & 15)
        if packet[3] & 0x10:  # without a payload it stands still
            counter = (counter + 1) & 15
        counters[pid] = counter
        out[at + 3] = packet[3] & 0xF0 | counter
    return bytes(out)


def tables(pid: int, *data: bytes) -> Damage:
    """Other sections, in turns."""
    turn = itertools.cycle(data)
    return each(lambda packet, _: in_packet(packet, next(turn)), [pid])


def wrong_sum(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


USUAL: Final = {VIDEO_PID: 0x1B, AUDIO_PID: 0x0F}
NONSENSE: Final = {0x1AB: 0x1B, 0x1CD: 0x0F}

DAMAGED: Final[dict[str, Damage]] = {
    "noise in one packet of twenty": one_in(20, noise),
    "nothing but noise": each(noise, range(0x2000)),
    "noise in one payload of ten": one_in(10, noisy_payload),
    "nothing but noisy payloads": each(noisy_payload),
    "noisy heads": each(noisy_head),
    "any header": one_in(10, any_header),
    "no sync bytes": each(lambda packet, chance: chance.randbytes(PACKET), range(0x2000)),
    "pictures without their tails": without_tails,
    "adaptation fields that are too long": one_in(
        10, lambda p, _: p[:3] + bytes((p[3] | 0x20, 0xFF)) + p[5:]
    ),
    "counters that jump": each(
        lambda p, chance: p[:3] + bytes((p[3] & 0xF0 | chance.randrange(16),)) + p[4:]
    ),
    "scrambled": each(lambda p, _: p[:3] + bytes((p[3] | 0xC0,)) + p[4:]),
    "errors told": each(lambda p, _: p[:1] + bytes((p[1] | 0x80,)) + p[2:]),
    "PAT with a wrong sum": tables(PAT_PID, wrong_sum(pat({1: 0x1FF0}))),
    "PAT without programs": tables(PAT_PID, pat({}, 3)),
    "PAT that changes": tables(PAT_PID, *(pat({1: 0x1000 + v}, v) for v in range(8))),
    "PAT with another program first": tables(PAT_PID, pat({7: 0x1F00, 1: PMT_PID}, 9)),
    "PMT with a wrong sum": tables(PMT_PID, wrong_sum(pmt(NONSENSE))),
    "PMT of nonsense": tables(PMT_PID, pmt(NONSENSE, 0x1AB, 5)),
    "PMT of nothing": tables(PMT_PID, pmt({}, version=6)),
    "PMT with other codecs": tables(PMT_PID, pmt({VIDEO_PID: 0x24, AUDIO_PID: 0x03}, version=7)),
    "PMT with sound and picture exchanged": tables(
        PMT_PID, pmt({VIDEO_PID: 0x0F, AUDIO_PID: 0x1B}, version=8)
    ),
    "PMT that comes and goes": tables(PMT_PID, pmt(NONSENSE, version=9), pmt(USUAL, version=10)),
    "PMT without sound": tables(PMT_PID, pmt({VIDEO_PID: 0x1B}, version=11)),
    "PMT without picture": tables(PMT_PID, pmt({AUDIO_PID: 0x0F}, version=12)),
    "PMT and PAT of noise": each(noisy_payload, [PAT_PID, PMT_PID]),
}


# --- anything ------------------------------------------------------------------------

FUZZ_S: Final = (2.0, 6.0)
FUZZED: Final = tuple(f"seed {number}" for number in range(40))


def fuzz(clip: bytes, chance: random.Random) -> bytes:
    """A quarter of a second each of anything, one after the other."""
    stream, at = clip, FUZZ_S[0]
    while at < FUZZ_S[1]:
        begin, end = at_s(clip, at), at_s(clip, at + 0.25)
        stream = stream[:begin] + spoilt(stream[begin:end], chance) + stream[end:]
        at += 0.25
    return stream


def spoilt(part: bytes, chance: random.Random) -> bytes:
    pids = chance.sample([PAT_PID, PMT_PID, VIDEO_PID, AUDIO_PID], chance.randrange(1, 5))
    of = chance.choice((1, 2, 10, 30))
    change = chance.choice((noise, noisy_payload, noisy_head, any_header, any_bit, gone, twice))
    kinds = chance.sample(ALL, chance.randrange(0, 4))
    spread = chance.choice((HZ // 10, HZ, FAR, DAY))

    def to(stamp: Stamp) -> int | None:
        if stamp.kind not in kinds or chance.randrange(of):
            return None
        return stamp.ticks + chance.randrange(-spread, spread)

    size = len(part)
    stamped = restamped(part, to)
    out = b"".join(
        change(packet, chance) if pid_of(packet) in pids and not chance.randrange(of) else packet
        for packet in packets(stamped)
    )
    return out[:size].ljust(size, b"\0") if chance.randrange(8) == 0 else out


def any_bit(packet: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(1, PACKET)
    return packet[:at] + bytes((packet[at] ^ 1 << chance.randrange(8),)) + packet[at + 1 :]


def gone(packet: bytes, chance: random.Random) -> bytes:
    return NULL


def twice(packet: bytes, chance: random.Random) -> bytes:
    return packet + packet


# --- all together --------------------------------------------------------------------


@pytest.fixture(scope="module")
def aired(
    clip: bytes, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, Aired | BaseException]:
    """All that the tests of this run ask for."""
    streams = {}
    for item in request.session.items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if name in ABSURD | DAMAGED:
            streams[name] = (ABSURD | DAMAGED)[name](clip, random.Random(name))
        elif name in FUZZED:
            streams[name] = fuzz(clip, random.Random(name))
    return all_of(tmp_path_factory.mktemp("aired"), streams)


def result(found: Aired | BaseException) -> Aired:
    if isinstance(found, BaseException):
        raise found
    return found


def cases(names: Iterable[str], quick: Iterable[str]) -> list[object]:
    """The quick ones, and all others only where there is time."""
    unknown = set(quick) - set(names)
    assert not unknown, unknown
    return [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in names]


ABSURD_QUICK: Final = (
    "one picture 107 s ahead",
    "one clock reference 107 s ahead",
    "all 26 h ahead and back again",
    "all 107 s ahead for good",
    "back to zero for good",
    "all random",
    "times random by a second",
    "clock references stand still",
    "sound stands still",
)
DAMAGED_QUICK: Final = (
    "noise in one packet of twenty",
    "nothing but noisy payloads",
    "any header",
    "pictures without their tails",
    "PAT that changes",
    "PAT without programs",
    "PMT with a wrong sum",
    "PMT of nonsense",
    "PMT that comes and goes",
)
LIMIT: Final = pytest.mark.timeout(600)


@pytest.mark.parametrize("name", cases(ABSURD, ABSURD_QUICK))
@LIMIT
def test_absurd_stamps_pass(
    name: str, aired: dict[str, Aired | BaseException], source: Units
) -> None:
    found = result(aired[name])
    is_one_session(found)
    comes_back(found, source)
    assert found.errors == ""


@pytest.mark.parametrize("name", cases(DAMAGED, DAMAGED_QUICK))
@LIMIT
def test_damage_passes(name: str, aired: dict[str, Aired | BaseException], source: Units) -> None:
    found = result(aired[name])
    is_one_session(found)
    comes_back(found, source)


@pytest.mark.parametrize("name", cases(FUZZED, FUZZED[:3]))
@LIMIT
def test_anything_passes(name: str, aired: dict[str, Aired | BaseException], source: Units) -> None:
    found = result(aired[name])
    is_one_session(found)
    comes_back(found, source, FUZZ_S[1])


@pytest.mark.parametrize("name", ["sound stands still"])
@LIMIT
def test_the_stamps_of_the_sound_do_not_take_the_picture_away(
    name: str, aired: dict[str, Aired | BaseException], source: Units
) -> None:
    there = result(aired[name]).flv.where(source, "video")
    assert [number for number in range(len(source.sums["video"])) if number not in there] == []
