"""Segments of a stream as transport streams, one after the other without a seam.

A segment is written when it is complete, in one go: that takes some milliseconds every few
seconds, where a pipeline that runs along would wake up for every picture (decision 6).
"""

from __future__ import annotations

from typing import Final

from strata.errors import StrataError
from strata.worker import elementary
from strata.worker.elementary import Adts, BadMedia, VideoForm
from strata.worker.formats import Format, Program
from strata.worker.ts_write import CLOCK_HZ, TsWriter
from strata.worker.units import AccessUnit

_FORMS: Final = {"h264": elementary.h264, "h265": elementary.h265}
_NS: Final = 1_000_000_000


class TsMuxer:
    """Writes the segments of one stream; from one thread at a time.

    Args:
        program: the tracks. The formats of their units may change, their codecs may not.
    """

    def __init__(self, program: Program) -> None:
        self._writer = TsWriter(*program.codecs)
        self._tracks = {format.track for format in program.tracks()}
        self._formats: dict[str, Format] = {}
        self._video: VideoForm | None = None
        self._audio: Adts | None = None

    def mux(self, units: list[AccessUnit]) -> bytes:
        """The segment's file.

        Raises:
            StrataError: the units cannot be written.
        """
        self._writer.tables()
        try:
            for unit in units:
                if unit.track in self._tracks:
                    self._write(unit)
        except BadMedia as error:
            self._writer.take()
            raise StrataError(f"a segment could not be made: {error}") from None
        return self._writer.take()

    def _write(self, unit: AccessUnit) -> None:
        if not unit.format.is_same(self._formats.get(unit.track)):
            self._learn(unit.format)
        if unit.track == "video":
            assert self._video is not None
            picture = self._video.convert(unit.data, unit.key)
            self._writer.picture(picture, _clock(unit.pts_ns), _clock(unit.dts_ns), unit.key)
        else:
            assert self._audio is not None
            self._writer.sound(self._audio.convert(unit.data), _clock(unit.pts_ns))

    def _learn(self, format: Format) -> None:
        if not format.config:
            raise BadMedia("a track came without its configuration")
        if format.track == "video":
            self._video = _FORMS[format.codec](format.config)
        else:
            self._audio = elementary.aac(format.config)
        self._formats[format.track] = format


def _clock(ns: int) -> int:
    return ns * CLOCK_HZ // _NS
