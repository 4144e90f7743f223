"""What would not work, before a broadcast begins: what is known, judged. Pure.

What makes a start fail, or a destination refuse what it gets, is an error; what works here and
may not be taken elsewhere is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from strata.wire import worker as wire
from strata.wire.host import Load

Severity: TypeAlias = Literal["error", "warning"]

KEYFRAME_S_MAX: Final = 4.0
"""YouTube asks for a key frame every 2 s and warns from 4 s on; players of HLS begin at one."""

FPS_USUAL: Final = 25.0
AUDIO_KBPS: Final = 128.0

RECORDING_H: Final = 4.0
"""A disk that is full sooner is worth a word."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or may be.

    Attributes:
        code: for programs; of an error in :mod:`strata.errors` where a start would have that.
        field: of the request.
        message: what, what it means and what to do.
    """

    severity: Severity
    code: str
    message: str
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where it would go.

    Attributes:
        field: of the request that named it.
        shown: without its key.
        kind: as in :class:`strata.wire.forward_url.ForwardUrl`.
        host: that it leads to; None for this machine's disk.
        used_by: streams that lead there at the moment.
    """

    field: str
    shown: str
    kind: str
    host: str | None = None
    used_by: Sequence[str] = ()

    @property
    def is_outward(self) -> bool:
        return self.kind not in ("file", "hls")

    @property
    def wants_short_groups(self) -> bool:
        """Whether whoever watches there has to wait for key frames."""
        is_youtube = "youtube" in (self.host or "").lower()
        return self.kind in ("hls", "http") or is_youtube


@dataclass(frozen=True, slots=True)
class Encoder:
    """What the encoder in the field would be told."""

    codec: str = "h264"
    bitrate_kbps: float | None = None
    keyint_max: int | None = None
    fps: float = FPS_USUAL


@dataclass(frozen=True, slots=True)
class Room:
    """What a host has for one more stream.

    Attributes:
        load: None before the host has told.
        cpu_cores, memory_mb, egress_kbps: what a stream reserves; the latter for each forward.
        fill_percent: of cores and memory, what streams may use.
        min_disk_mb: what has to stay free where something is recorded.
    """

    connected: bool
    why_drained: str | None
    load: Load | None
    cpu_cores: float
    memory_mb: float
    egress_kbps: float
    fill_percent: float
    min_disk_mb: float


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known.

    Attributes:
        refused: what was found while they were gathered.
        encoder: None where the request says nothing of it.
        has_audio: of the source, or of what runs; None where that is not known.
        media: what a stream that runs carries, as measured; None: nothing is yet.
        media_kbps: of it.
        max_egress_kbps: what a worker may send; 0: no limit.
        is_running: whether the targets would join a stream that runs.
    """

    refused: Sequence[Finding]
    targets: Sequence[Target]
    room: Room
    links: int = 2
    records: bool = False
    encoder: Encoder | None = None
    has_audio: bool | None = None
    media: wire.Media | None = None
    media_kbps: float | None = None
    max_egress_kbps: int = 0
    is_running: bool = False

    @property
    def codec(self) -> str | None:
        """Of the picture."""
        if self.media is not None and self.media.video is not None:
            return self.media.video.codec
        return self.encoder.codec if self.encoder is not None else None

    @property
    def keyframe_s(self) -> float | None:
        """Between two key frames, at most."""
        if self.media is not None and self.media.video is not None:
            return self.media.video.keyframe_interval_s
        if self.encoder is None or self.encoder.keyint_max is None:
            return None
        return self.encoder.keyint_max / self.encoder.fps

    @property
    def kbps(self) -> float | None:
        """Of one copy of the stream."""
        if self.media_kbps:
            return self.media_kbps
        if self.encoder is None or self.encoder.bitrate_kbps is None:
            return None
        return self.encoder.bitrate_kbps + AUDIO_KBPS

    @property
    def outward(self) -> int:
        return sum(target.is_outward for target in self.targets)


def findings(facts: Facts) -> list[Finding]:
    """What would not work and what may not, errors first."""
    found = [
        *facts.refused,
        *_of_targets(facts),
        *_of_room(facts),
        *_of_egress(facts),
        *_of_media(facts),
    ]
    return sorted(found, key=lambda each: each.severity != "error")


def _of_targets(facts: Facts) -> Iterator[Finding]:
    for target in facts.targets:
        if target.used_by:
            yield Finding(
                "error",
                "in_use",
                f"{target.shown} is on the air already ({', '.join(target.used_by)}), and the two "
                "would put each other off; stop that one, or use another key",
                target.field,
            )


def _of_room(facts: Facts) -> Iterator[Finding]:
    room = facts.room
    if not room.connected:
        yield Finding(
            "error",
            "host_unreachable",
            "no host is connected, so nothing can be started; see whether strata host runs",
        )
        return
    load = room.load
    if facts.is_running or load is None:
        return
    if room.why_drained:
        yield Finding("error", "no_capacity", room.why_drained)
    share = room.fill_percent / 100.0
    if load.used_cpu_cores + room.cpu_cores > load.cpu_cores * share + 1e-9:
        yield _full(
            f"streams use {load.used_cpu_cores:.2f} of the {load.cpu_cores * share:.2f} cores "
            "that they may"
        )
    if load.used_memory_mb + room.memory_mb > load.memory_mb * share:
        yield _full(
            f"streams use {load.used_memory_mb:.0f} of the {load.memory_mb * share:.0f} MB of "
            "memory that they may"
        )
    if facts.links > load.free_ports:
        yield Finding(
            "error",
            "no_capacity",
            f"{facts.links} ports would be needed, and {load.free_ports} are free; stop a stream, "
            "ask for fewer links or widen host.port_range",
            "links",
        )
    if facts.records:
        yield from _of_disk(facts, load)


def _of_disk(facts: Facts, load: Load) -> Iterator[Finding]:
    spare_mb = load.free_disk_mb - facts.room.min_disk_mb
    if spare_mb < 0:
        yield Finding(
            "error",
            "no_capacity",
            f"only {load.free_disk_mb:.0f} MB of disk are free, and {facts.room.min_disk_mb:.0f} "
            "MB have to stay free for a recording to be begun; delete old recordings",
            "record",
        )
    elif facts.kbps and spare_mb * 8000 / facts.kbps / 3600 < RECORDING_H:
        hours = spare_mb * 8000 / facts.kbps / 3600
        yield Finding(
            "warning",
            "disk_small",
            f"a recording would fill the disk in {hours:.1f} h; delete old recordings first",
            "record",
        )


def _of_egress(facts: Facts) -> Iterator[Finding]:
    kbps, cap = facts.kbps, facts.max_egress_kbps
    if cap and kbps and kbps * facts.outward > cap:
        yield Finding(
            "error",
            "over_cap",
            f"{facts.outward} forwards of {kbps:.0f} kbit/s are {kbps * facts.outward:.0f} kbit/s, "
            f"and a stream may send {cap} (worker.max_egress_kbps): those that do not fit would "
            "fail; send less, to fewer destinations, or raise the cap",
        )
    load = facts.room.load
    if load is None or load.egress_kbps is None or not facts.outward:
        return
    more = facts.outward * (max(kbps or 0.0, facts.room.egress_kbps))
    if load.used_egress_kbps + more > load.egress_kbps:
        yield _full(
            f"{(load.used_egress_kbps + more) / 1000:.1f} Mbps would go out, and host.egress_mbps "
            f"is {load.egress_kbps / 1000:g}"
        )


def _of_media(facts: Facts) -> Iterator[Finding]:
    if facts.codec == "h265":
        for target in facts.targets:
            if target.kind == "rtmp":
                yield Finding(
                    "error",
                    "unsupported_media",
                    f"the picture is H.265, which plain RTMP does not carry, so {target.shown} "
                    "would get nothing; have the encoder send H.264, or send there by SRT or HLS",
                    target.field,
                )
    seconds = facts.keyframe_s
    if seconds is not None and seconds > KEYFRAME_S_MAX:
        for target in facts.targets:
            if target.wants_short_groups:
                yield Finding(
                    "warning",
                    "keyframes_far_apart",
                    f"there is a key frame every {seconds:.1f} s only: {target.shown} begins "
                    f"segments there, and viewers wait for it; set the encoder to one every 2 s, "
                    f"{KEYFRAME_S_MAX:.0f} s at most",
                    target.field,
                )
    if facts.has_audio is False:
        yield Finding(
            "warning",
            "no_audio",
            "there is no sound: RTMP, HLS and recordings other than .ts get silence in its place, "
            "SRT and .ts nothing, which some platforms refuse; see whether a microphone should be "
            "on",
            "source",
        )


def _full(why: str) -> Finding:
    return Finding(
        "error",
        "no_capacity",
        f"the host has no room for this: {why}; stop a stream, or use another host",
    )
