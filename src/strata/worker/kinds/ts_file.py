"""A recording of the transport stream, packet for packet as it came, of whole pictures.

appsrc packets -> filesink
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import ClassVar

from strata.errors import BadUrl, DestinationError, StrataError
from strata.wire.forward_url import ForwardUrl, Kind
from strata.worker.gst import Gst, make
from strata.worker.output import Feed, Output
from strata.worker.ts_end import OVER_AFTER_S, TsEnd

NAMES_MAX = 10_000

_UNBUFFERED = 2
"""``GST_FILE_SINK_BUFFER_MODE_UNBUFFERED``: each batch goes to the kernel, so that
a killed worker loses no more than that."""


class TsFile(Output):
    KIND: ClassVar[Kind] = "file"
    FEED: ClassVar[Feed] = "packets"
    ELEMENTS: ClassVar[tuple[str, ...]] = ("appsrc", "filesink")

    _path: Path
    _end: TsEnd
    _pushed_at = 0.0

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

    def build(self, pipeline: Gst.Pipeline) -> None:
        assert self.url.path is not None
        self._path = claim(Path(time.strftime(self.url.path)))
        # append: the file exists by now, empty and ours; filesink would otherwise truncate
        # whatever has the name at that moment.
        sink = make("filesink", location=str(self._path), append=True, sync=False)
        sink.set_property("async", False)
        sink.set_property("buffer-mode", _UNBUFFERED)
        pipeline.add(sink)
        self._end = TsEnd()
        caps = Gst.Caps.from_string("video/mpegts,systemstream=true")
        self.add_source("packets", caps).link(sink)

    def push_packets(self, batch: bytes) -> None:
        self._pushed_at = time.monotonic()
        whole = self._end.pass_on(batch)
        if whole:
            super().push_packets(whole)

    def end(self) -> None:
        rest = self._end.close(time.monotonic() - self._pushed_at > OVER_AFTER_S)
        if rest:
            super().push_packets(rest)
        super().end()

    def bytes_out(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0  # moved away by somebody: no progress that we can see

    def explain(self, text: str, debug: str) -> StrataError:
        return DestinationError(
            f"the recording {self.url.path} failed: {text}; check the disk (df -h) and the "
            "rights on its folder"
        )


def claim(path: Path) -> Path:
    """Creates ``path``, or where that exists ``name-1.ts``, ``name-2.ts`` ..., empty.

    Raises:
        BadUrl: the folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in range(NAMES_MAX):
            name = path if not number else path.with_stem(f"{path.stem}-{number}")
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
            except FileExistsError:
                continue
            return name
    except OSError as error:
        raise _cannot_record(path, error) from error
    raise BadUrl(f"{path} exists {NAMES_MAX} times already; choose another name")


def _cannot_record(path: Path, error: OSError) -> BadUrl:
    what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
    return BadUrl(f"cannot record to {path}: {what}; choose a folder that this user may write to")
