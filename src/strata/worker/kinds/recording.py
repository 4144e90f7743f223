"""Recordings: files on this machine, in parts where they are to be split.

    appsrc packets -> fdsink                                    .ts, packet for packet
    appsrc video, appsrc audio -> matroskamux | mp4mux -> fdsink    .mkv, .mp4

Whatever happens to this process, a file plays up to its last second or two: packets and
Matroska clusters go to the kernel as they come, and an MP4 is written in fragments of a
second, and made an ordinary one when it is closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from strata.errors import BadUrl, DestinationError, DiskFull, StrataError
from strata.media.gst import SECOND_NS, Gst, make
from strata.tasks import TaskGroup, in_thread
from strata.wire.forward_url import ForwardUrl
from strata.worker import elementary
from strata.worker.caps import caps_of
from strata.worker.elementary import BadMedia
from strata.worker.formats import Format, Program, Track, VideoFormat
from strata.worker.output import QUEUE_BYTES_MAX, Feed, Gate, Output
from strata.worker.pipeline import START_DEADLINE_S, Pipeline
from strata.worker.ts_end import OVER_AFTER_S, TsEnd
from strata.worker.ts_keys import Packets
from strata.worker.units import AccessUnit

log = logging.getLogger(__name__)

NAMES_MAX: Final = 10_000
FLUSH_DEADLINE_S: Final = 4.0
"""For the end of a part that is complete; within a forward's own deadline for its end."""
PIECE_BYTES: Final = 128 * 1024
PIECE_S: Final = 0.25
"""At most so much of a recording is not yet with the kernel."""
FRAGMENT_MS: Final = 1000
_FINALISE: Final = 1
"""``first-moov-then-finalise``: fragments while it is written, an index when it is closed."""
_FORMS: Final = {"h264": elementary.h264, "h265": elementary.h265}
_LEAD_NS: Final = SECOND_NS
"""Sound may begin a little before the picture; stamps cannot go below zero."""


class Part:
    """One file: a pipeline that takes media at once, and a file that is opened meanwhile."""

    def __init__(self, pattern: str, on_end: Callable[[tuple[str, str] | None], None]) -> None:
        self._pattern = pattern
        self._sink: Any = make("fdsink", sync=False, enable_last_sample=False)
        self._sink.set_property("async", False)
        self._fd: int | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tell = on_end
        self._pushed = 0
        self._is_stopped = False
        self.pipeline = Pipeline(pattern, self._on_end)
        self.pipeline.add(self._sink)
        self.began_at = time.monotonic()

    @property
    def sink(self) -> Any:
        return self._sink

    async def open(self) -> None:
        """Raises BadUrl, DiskFull or TimeoutError; the file is not kept open then."""
        self._fd, name = await in_thread("open", self._claim, START_DEADLINE_S)
        log.info("recording to %s", name)
        self._sink.set_property("fd", self._fd)
        await self.pipeline.start()

    def _claim(self) -> tuple[int, Path]:
        fd, name = claim(Path(time.strftime(self._pattern)))
        if self._is_stopped:  # nobody waits for it any more
            os.close(fd)
            name.unlink()
        return fd, name

    def push_bytes(self, data: bytes) -> None:
        self._pushed += len(data)
        self.pipeline.push_bytes("packets", data)

    def push_unit(self, unit: AccessUnit, shift_ns: int, data: bytes) -> None:
        self._pushed += len(data)
        self.pipeline.push_unit(unit, shift_ns, data)

    def bytes_out(self) -> int:
        """What has left the queue for the disk. The disk is not asked: one that hangs would
        hold up whoever asks."""
        return self._pushed - self.pipeline.queued_in_all

    async def end(self) -> None:
        """Writes what is left, within a deadline."""
        self.pipeline.end()
        await asyncio.wait({self._done}, timeout=FLUSH_DEADLINE_S)
        if not self._done.done():
            log.warning(
                "the recording %s was not closed in time; its end is missing", self._pattern
            )

    async def stop(self) -> None:
        self._is_stopped = True
        await self.pipeline.stop()
        fd, self._fd = self._fd, None
        if fd is not None:
            await in_thread("close", lambda: os.close(fd), START_DEADLINE_S)

    def _on_end(self, failure: tuple[str, str] | None) -> None:
        if not self._done.done():
            self._done.set_result(None)
        if failure is not None:
            self._tell(failure)


class Recording(Output):
    """What all containers share: parts, one after the other."""

    PROGRESS_S: ClassVar[float] = 10.0

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        share_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        super().__init__(url, program, share_kbps, on_end)
        self._part: Part | None = None
        self._earlier: list[Part] = []
        self._bytes_before = 0
        self._tasks = TaskGroup(self._on_task_failure)
        self._segment_s = float(url.options.get("segment-s", "inf"))

    @classmethod
    def prepare(cls, url: ForwardUrl) -> None:
        assert url.path is not None
        folder = Path(time.strftime(url.path)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise _cannot_record(folder, error) from error

    @abstractmethod
    def build_part(self, part: Part) -> None:
        """Adds and links the elements between the sources and the part's sink."""

    async def start(self) -> None:
        """Nothing to do: a part begins with the first media."""

    def begin_part(self) -> Part:
        """Another file, which takes media at once; the one before is closed meanwhile."""
        assert self.url.path is not None
        before, part = self._part, Part(self.url.path, self._on_part_end)
        self.build_part(part)
        self._part = part
        if before is not None:
            self._earlier.append(before)
            self._tasks.spawn("close-part", self._retire(before))
        self._tasks.spawn("open-part", self._open(part))
        return part

    def is_due(self) -> bool:
        """Whether the file is long enough for another one to begin."""
        return self._part is not None and (
            time.monotonic() - self._part.began_at >= self._segment_s - 0.5
        )

    def has_room(self, feeder: Any) -> bool:
        assert self._part is not None
        return self._part.pipeline.queued_bytes(feeder) < QUEUE_BYTES_MAX

    def bytes_out(self) -> int:
        parts = [*self._earlier, *([self._part] if self._part is not None else [])]
        return self._bytes_before + sum(part.bytes_out() for part in parts)

    def end(self, *, is_over: bool = True) -> None:
        self._tasks.spawn("end", self._finish())

    async def stop(self) -> None:
        self._ended = True
        await self._tasks.close()
        parts = [*self._earlier, *([self._part] if self._part is not None else [])]
        await asyncio.gather(*(part.stop() for part in parts))

    async def _open(self, part: Part) -> None:
        try:
            await part.open()
        except TimeoutError:
            self.finish(DestinationError(f"{self.url.shown}: the disk does not answer"))
        except StrataError as error:
            self.finish(error)

    async def _retire(self, part: Part) -> None:
        await part.end()
        await part.stop()
        self._earlier.remove(part)
        self._bytes_before += part.bytes_out()

    async def _finish(self) -> None:
        if self._part is not None:
            await self._part.end()
        while self._earlier:
            await asyncio.sleep(0.05)
        self.finish(None)

    def _on_part_end(self, failure: tuple[str, str] | None) -> None:
        assert failure is not None
        log.info("%s: %s (%s)", self.url, failure[0], " ".join(failure[1].split()))
        self.finish(self.explain(*failure))

    def explain(self, text: str, debug: str) -> StrataError:
        if "no space left" in f"{text} {debug}".lower():
            return _disk_full(self.url.path)
        return DestinationError(
            f"the recording {self.url.path} failed: {text}; check the disk (df -h) and the "
            "rights on its folder"
        )

    def _on_task_failure(self, name: str, error: BaseException) -> None:
        self.finish(StrataError(f"the recording {self.url.path} failed: {error}"))


class TsRecording(Recording):
    FEED: ClassVar[Feed] = "packets"
    ELEMENTS: ClassVar[tuple[str, ...]] = ("appsrc", "fdsink")

    _pushed_at = 0.0
    _gathered: bytearray
    _gathered_at = 0.0

    def build_part(self, part: Part) -> None:
        caps = Gst.Caps.from_string("video/mpegts,systemstream=true")
        part.pipeline.add_source("packets", caps).link(part.sink)

    def push_packets(self, packets: Packets) -> None:
        self._pushed_at = time.monotonic()
        if self._part is None:
            if not packets.key:
                return
            self.begin_part()
            self._rest, self._gathered = TsEnd(), bytearray()
            self._write(packets.tables)
        elif packets.key and self.is_due():
            here, there = self._rest.cut(packets.video_pid)
            self._write(here)
            self._flush()
            self.begin_part()
            self._write(packets.tables + there)
        self._write(self._rest.pass_on(packets.data))

    def end(self, *, is_over: bool = True) -> None:
        if self._part is not None:
            self._write(self._rest.close(time.monotonic() - self._pushed_at > OVER_AFTER_S))
            self._flush()
        super().end(is_over=is_over)

    def _write(self, data: bytes) -> None:
        """Gathers a little: each piece that goes to the disk wakes a thread."""
        if not self._gathered:
            self._gathered_at = self._pushed_at
        self._gathered += data
        if len(self._gathered) >= PIECE_BYTES or self._pushed_at - self._gathered_at >= PIECE_S:
            self._flush()

    def _flush(self) -> None:
        data, self._gathered = bytes(self._gathered), bytearray()
        if not data or self._part is None:
            return
        if self.has_room("packets"):
            self._part.push_bytes(data)
        else:
            self.dropped += 1  # a disk that hangs; nobody looks for the pictures in it


class MuxedRecording(Recording):
    """Base of the containers that hold access units."""

    MUXER: ClassVar[str]
    SETTINGS: ClassVar[dict[str, Any]]

    def __init__(
        self,
        url: ForwardUrl,
        program: Program,
        share_kbps: int,
        on_end: Callable[[StrataError | None], None],
    ) -> None:
        super().__init__(url, program, share_kbps, on_end)
        self._gate = Gate(program)
        self._newest: dict[Track, Format] = {each.track: each for each in program.tracks()}
        self._of_part: dict[Track, Format] = {}
        self._shift_ns = 0

    def build_part(self, part: Part) -> None:
        mux: Any = make(self.MUXER, **self.SETTINGS)
        part.pipeline.add(mux)
        mux.link(part.sink)
        for track, format in self._newest.items():
            source = part.pipeline.add_source(track, caps_of(format))
            source.link_pads("src", mux, mux.request_pad_simple(f"{track}_%u").get_name())
        self._of_part = dict(self._newest)
        self._is_mixed = False

    def push(self, *units: AccessUnit) -> None:
        for unit in units:
            self._push(unit)

    def _push(self, unit: AccessUnit) -> None:
        if unit.track not in self._newest:
            return  # it was not announced
        self._newest[unit.track] = unit.format
        starts = unit.key and (unit.track == "video" or self.program.video is None)
        if starts and (self._part is None or self.is_due() or not self._fits()):
            # Each file begins at its own beginning, not at that of the stream.
            self._shift_ns = _LEAD_NS - unit.dts_ns
            self.begin_part()
        if self._part is None:
            return  # before the first key frame
        if self._gate.passes(unit, self.has_room(unit.track)):
            if _is_alike(unit.format, self._of_part[unit.track]):
                self._part.push_unit(unit, self._shift_ns, self._data_of(unit))
        else:
            self.dropped += unit.track == "video"

    def _fits(self) -> bool:
        """Whether this file can hold what comes now: a container says once for each track
        how it is coded."""
        return all(
            _is_alike(format, self._of_part[track]) for track, format in self._newest.items()
        )

    def _data_of(self, unit: AccessUnit) -> bytes:
        """With the parameter sets, where they are not those that the file began with."""
        is_foreign = self._is_mixed or unit.format != self._of_part[unit.track]
        if not (is_foreign and unit.key and unit.track == "video"):
            return unit.data
        self._is_mixed = True
        try:
            return _FORMS[unit.format.codec](unit.format.config).bare_sets + unit.data
        except BadMedia:
            return unit.data


def _is_alike(one: Format, other: Format) -> bool:
    """Whether units of both can be in one track of a file."""
    if one is other:
        return True
    if isinstance(one, VideoFormat) and isinstance(other, VideoFormat):
        return (one.codec, one.width, one.height) == (other.codec, other.width, other.height)
    return (one.codec, one.config) == (other.codec, other.config)


class MkvRecording(MuxedRecording):
    MUXER: ClassVar[str] = "matroskamux"
    ELEMENTS: ClassVar[tuple[str, ...]] = ("appsrc", "matroskamux", "fdsink")
    SETTINGS: ClassVar[dict[str, Any]] = {
        "offset_to_zero": True,
        "max_cluster_duration": SECOND_NS,
        "writing_app": "Strata",
    }


class Mp4Recording(MuxedRecording):
    MUXER: ClassVar[str] = "mp4mux"
    ELEMENTS: ClassVar[tuple[str, ...]] = ("appsrc", "mp4mux", "fdsink")
    SETTINGS: ClassVar[dict[str, Any]] = {
        "fragment_duration": FRAGMENT_MS,
        "fragment_mode": _FINALISE,
    }


def claim(path: Path) -> tuple[int, Path]:
    """Creates ``path``, or where that exists ``name-1.ts``, ``name-2.ts`` ..., and opens it.

    Raises:
        BadUrl: the folder cannot be made or written to.
        DiskFull: not a byte more fits.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in range(NAMES_MAX):
            name = path if not number else path.with_stem(f"{path.stem}-{number}")
            try:
                flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
                return os.open(name, flags, 0o640), name
            except FileExistsError:
                continue
    except OSError as error:
        raise _cannot_record(path, error) from error
    raise BadUrl(f"{path} exists {NAMES_MAX} times already; choose another name")


def _cannot_record(path: Path, error: OSError) -> StrataError:
    if error.errno == errno.ENOSPC:
        return _disk_full(str(path))
    return BadUrl(
        f"cannot record to {path}: {error.strerror}; choose a folder that this user may write to"
    )


def _disk_full(path: str | None) -> DiskFull:
    return DiskFull(
        f"the disk is full, so the recording {path} has ended; make room, then set the "
        "forward again. What has been recorded so far is kept"
    )
