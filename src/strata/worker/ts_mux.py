"""Segments of a stream as transport streams, one after the other without a seam.

A segment is written when it is complete, in one go: that takes some milliseconds every few
seconds, where a pipeline that runs along would wake up for every picture (decision 6).
"""

from __future__ import annotations

from typing import Any, Final

from strata.errors import StrataError
from strata.worker import elementary
from strata.worker.elementary import BadMedia
from strata.worker.gst import Gst
from strata.worker.ts_write import CLOCK_HZ, TsWriter
from strata.worker.units import AccessUnit, Program, Track, codec_of

_FORMS: Final = {"h264": elementary.h264, "h265": elementary.h265}
_NS: Final = 1_000_000_000


class TsMuxer:
    """Writes the segments of one stream; from one thread at a time."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._writer: TsWriter | None = None

    def mux(self, units: list[AccessUnit]) -> bytes:
        """The segment's file.

        Raises:
            StrataError: the units cannot be written.
        """
        try:
            writer = self._writer = self._writer or self._begin()
            writer.tables()
            for unit in units:
                self._write(writer, unit)
        except BadMedia as error:
            raise StrataError(f"a segment could not be made: {error}") from None
        return writer.take()

    def _begin(self) -> TsWriter:
        codecs: dict[Track, str] = {}
        for track, caps in self._program.tracks():
            codecs[track] = codec_of(caps)
            if track == "video":
                self._video = _FORMS[codecs[track]](_config_of(caps))
            else:
                self._audio = elementary.aac(_config_of(caps))
        return TsWriter(codecs.get("video"), codecs.get("audio"))

    def _write(self, writer: TsWriter, unit: AccessUnit) -> None:
        buffer: Any = unit.sample.get_buffer()
        pts = unit.dts_ns if buffer.pts == Gst.CLOCK_TIME_NONE else buffer.pts
        data = buffer.extract_dup(0, unit.size)
        if unit.track == "video" and self._program.video is not None:
            picture = self._video.convert(data, unit.key)
            writer.picture(picture, _clock(pts), _clock(unit.dts_ns), unit.key)
        elif unit.track == "audio" and self._program.audio is not None:
            writer.sound(self._audio.convert(data), _clock(pts))


def _clock(ns: int) -> int:
    return ns * CLOCK_HZ // _NS


def _config_of(caps: Gst.Caps) -> bytes:
    """The parser's ``codec_data``."""
    value = caps.get_structure(0).get_value("codec_data")
    if value is None:
        raise BadMedia("a track came without its configuration")
    return bytes(value.extract_dup(0, value.get_size()))
