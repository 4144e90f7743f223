"""Real media: a test file, the encoder's side of the field, and what came out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, Self

from support.children import Child, output_of, until
from support.ports import free_udp_port, udp_port_is_bound
from support.udp import give_room

GOP_S: Final = 2.0
FPS: Final = 25
FILE_S: Final = 12
VIDEO_KBPS: Final = 4800
MUX_KBPS: Final = 5400
"""Of the usual test file."""

HANDSHAKE_S: Final = 1.0
"""From the start of ristsender until all its links carry media: it answers no question about
that, and media that it is given before is lost at the sender."""


def mux_kbps(video_kbps: int) -> int:
    """Of a transport stream that holds such a picture, and sound."""
    return video_kbps * MUX_KBPS // VIDEO_KBPS


async def make_test_file(
    path: Path,
    video_kbps: int = VIDEO_KBPS,
    seconds: float = FILE_S,
    *,
    size: str = "1280x720",
    sound: bool = True,
) -> Path:
    """H.264 and AAC in a transport stream of constant rate, a key frame each 2 s."""
    rate = f"{video_kbps}k"
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000") if sound else ()
    await output_of(
        "ffmpeg",
        *("-hide_banner", "-loglevel", "error", "-y"),
        *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={FPS}"),
        *tone,
        *("-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
        *("-pix_fmt", "yuv420p", "-g", str(int(GOP_S * FPS)), "-keyint_min", "50"),
        *("-sc_threshold", "0", "-b:v", rate, "-maxrate", rate, "-bufsize", f"{video_kbps // 2}k"),
        *("-x264-params", "nal-hrd=cbr"),
        *("-c:a", "aac", "-b:a", "128k", "-ac", "2"),
        *("-f", "mpegts", "-muxrate", f"{mux_kbps(video_kbps)}k", path),
        deadline_s=90.0,
    )
    return path


@dataclass(frozen=True, slots=True)
class Link:
    """Where Debian's ristsender sends; ``psk`` None sends in the clear."""

    port: int
    psk: str | None
    more: str = ""

    @property
    def url(self) -> str:
        secret = f"secret={self.psk}&aes-type=256&" if self.psk is not None else ""
        return f"rist://127.0.0.1:{self.port}?{secret}weight=100{self.more}"


class RistSender:
    """Debian's ristsender over some links, fed by ffmpeg in real time.

    Args:
        more: options for each link, such as ``&key-rotation=1000``.
    """

    def __init__(
        self, folder: Path, ports: Sequence[int], psk: str | None, *, more: str = ""
    ) -> None:
        self._folder = folder
        self._links = [Link(port, psk, more) for port in ports]
        self._port = free_udp_port()
        self._child: Child | None = None
        self._feeder: Child | None = None

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._child = Child(
            [
                "ristsender",
                *("-p", "1", "-v", "3"),
                *("-i", f"udp://127.0.0.1:{self._port}"),
                *("-o", ",".join(link.url for link in self._links)),
            ],
            self._folder / "ristsender.log",
        )
        try:
            await until(
                lambda: udp_port_is_bound(self._port), 10.0, "ristsender listens for ffmpeg"
            )
            give_room(self._child.pid, self._port)
        except BaseException:
            await self.__aexit__()
            raise
        self._started_at = asyncio.get_running_loop().time()
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in (self._feeder, self._child):
            if child is not None:
                await child.__aexit__()

    async def begin(self, file: Path, seconds: float, video_kbps: int = VIDEO_KBPS) -> None:
        """Starts to send ``seconds`` of ``file``, over and over, at the pace of its clock."""
        assert self._feeder is None or self._feeder.status is not None
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._started_at + HANDSHAKE_S - loop.time()))
        # Without "bitrate" ffmpeg sends each key frame as one burst, which overflows the
        # socket buffer of ristsender.
        paced = "pkt_size=1316&bitrate=24000000&burst_bits=100000&fifo_size=50000"
        self._feeder = Child(
            [
                *("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-re"),
                *(
                    "-stream_loop",
                    "-1",
                    "-t",
                    str(seconds),
                    "-i",
                    str(file),
                    "-map",
                    "0",
                    "-c",
                    "copy",
                ),
                *("-f", "mpegts", "-muxrate", f"{mux_kbps(video_kbps)}k"),
                f"udp://127.0.0.1:{self._port}?{paced}",
            ],
            self._folder / "ffmpeg.log",
        )

    async def sent(self, deadline_s: float = 60.0) -> None:
        """Returns when all has been sent."""
        assert self._feeder is not None
        status = await self._feeder.wait(deadline_s)
        assert status == 0, self._feeder.said()

    async def send(self, file: Path, seconds: float) -> None:
        await self.begin(file, seconds)
        await self.sent(seconds + 30.0)


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded picture or frame of sound, as ffprobe sees it; times in seconds."""

    track: Literal["video", "audio"]
    pts: float
    dts: float
    key: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file holds."""

    packets: tuple[Packet, ...]

    def of(self, track: Literal["video", "audio"]) -> list[Packet]:
        return [packet for packet in self.packets if packet.track == track]

    @property
    def video_s(self) -> float:
        """Length of the picture: from its first frame to the end of its last."""
        stamps = [packet.pts for packet in self.of("video")]
        return max(stamps) - min(stamps) + 1 / FPS

    @property
    def longest_step_s(self) -> float:
        """Longest pause between two pictures; more than a frame is a hole."""
        stamps = sorted(packet.pts for packet in self.of("video"))
        return max(after - before for before, after in pairwise(stamps))


async def probe(path: Path) -> Probe:
    """Every packet of a file, as ffprobe finds them."""
    entries = "stream=index,codec_type:packet=stream_index,pts_time,dts_time,flags"
    said = await output_of(
        *("ffprobe", "-v", "error", "-of", "json", "-show_entries", entries), path
    )
    found = json.loads(said)
    kinds = {stream["index"]: stream["codec_type"] for stream in found["streams"]}
    return Probe(
        tuple(
            Packet(
                track=kinds[packet["stream_index"]],
                pts=float(packet["pts_time"]),
                dts=float(packet.get("dts_time", packet["pts_time"])),
                key=packet["flags"].startswith("K"),
            )
            for packet in found["packets"]
        )
    )


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file, as it is decoded: by the sum over each picture or frame of sound, the
    times in s at which it is shown."""

    video: dict[str, list[float]]
    audio: dict[str, list[float]]


async def content_of(path: Path) -> Content:
    said = await output_of(
        *("ffmpeg", "-v", "error", "-i", path, "-map", "0"),
        *("-fps_mode", "passthrough", "-f", "framehash", "-hash", "md5", "-"),
    )
    bases: dict[str, Fraction] = {}
    kinds: dict[str, Literal["video", "audio"]] = {}
    found = Content({}, {})
    for line in said.splitlines():
        if line.startswith("#tb"):
            stream, base = line[3:].split(":")
            bases[stream.strip()] = Fraction(base.strip())
        elif line.startswith("#media_type"):
            stream, kind = line[11:].split(":")
            kinds[stream.strip()] = "video" if kind.strip() == "video" else "audio"
        elif not line.startswith("#"):
            stream, _, pts, _, _, sum_ = (part.strip() for part in line.split(","))
            table = found.video if kinds[stream] == "video" else found.audio
            table.setdefault(sum_, []).append(float(int(pts) * bases[stream]))
    return found


def skew_s(source: Content, result: Content, last_s: float = 2.0) -> float:
    """How much later the sound is than it should be beside the picture, in the last seconds
    of what came out."""
    end = max(max(times) for times in result.video.values())

    def shifts(was: dict[str, list[float]], came: dict[str, list[float]]) -> list[float]:
        return [
            at - then
            for sum_, times in came.items()
            for at in times
            if at > end - last_s and sum_ in was
            for then in was[sum_]
        ]

    video = shifts(source.video, result.video)
    audio = shifts(source.audio, result.audio)
    assert video, "none of the last pictures is in the source"
    assert audio, "none of the last sound is in the source"
    # What repeats in the source (a tone does) fits in several places: the nearest counts.
    nearest = [min((sound - picture for sound in audio), key=abs) for picture in video]
    return max(nearest, key=abs)


async def shape_of(path: Path | str) -> list[str]:
    """The codecs in a file or behind a URL, sorted."""
    said = await output_of(
        *("ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "stream=codec_name"), path
    )
    return sorted(set(said.split()))  # those of a transport stream are told twice


async def decode_errors(path: Path) -> str:
    """What ffmpeg complains of when it decodes the whole file; empty if nothing."""
    # Passed through: to a constant rate, ffmpeg would complain of two pictures in one step.
    return await output_of(
        "ffmpeg", "-v", "error", "-i", path, "-fps_mode", "passthrough", "-f", "null", "-"
    )
