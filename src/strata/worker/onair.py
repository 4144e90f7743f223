"""What the forwards of one stream are fed: a line that never breaks, and its slate."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from strata.errors import BadArguments, SlateUnavailable, StrataError
from strata.tasks import TaskGroup
from strata.wire import worker as wire
from strata.worker import silence
from strata.worker.config import SlateSettings
from strata.worker.formats import Program, VideoFormat
from strata.worker.hub import Hub
from strata.worker.line import Line
from strata.worker.slates.slates import Slates, check_file
from strata.worker.units import AccessUnit

log = logging.getLogger(__name__)

LOOK_S: Final = 0.25
"""How often silences are looked for: a part of the second after which one counts."""
FILL_S: Final = 0.1
"""How often the slate goes on: a few pictures at a time."""


class OnAir:
    """Feeds the hub. Everything happens on the event loop.

    Args:
        keep_damaged, can_silence: see :class:`Line`.
        tell: called with each change of what is on the air.
        on_error: called with what the operator should know.
    """

    def __init__(
        self,
        hub: Hub,
        slate: SlateSettings,
        tell: Callable[[wire.Program], None],
        on_error: Callable[[StrataError], None],
        *,
        keep_damaged: bool = False,
        can_silence: bool = True,
    ) -> None:
        self.line = Line(keep_damaged=keep_damaged, can_silence=can_silence)
        self.program = wire.Program("none", "none")
        self._hub = hub
        self._settings = slate
        self._slates = Slates(slate.cache, slate.name, slate.file)
        self._wanted = slate.wanted
        self.line.liveness.holds = slate.holds and slate.wanted
        self._tell = tell
        self._on_error = on_error
        self._tracks: Program | None = None
        self._slate_for: VideoFormat | None = None
        self._is_over = False
        """Whether the slate has lasted for as long as it may."""
        self._tasks = TaskGroup()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_begun(self) -> bool:
        return self._tracks is not None

    def begin(self, program: Program) -> None:
        """The tracks of the stream are known: forwards may begin."""
        audio = program.audio
        if audio is None and self.line.liveness.can_silence:
            audio = silence.USUAL
        self._tracks = Program(program.video, audio)
        self.line.liveness.begin()
        self._hub.flow.open(self._tracks)
        self._on_tick()

    def push(self, units: Iterable[AccessUnit], at_s: float) -> int:
        """Takes in what was received at that time; returns how many bytes go on."""
        return self._deliver(self.line.push(units, _ns(at_s)))

    def missed(self) -> None:
        """Packets of the sender are missing before what comes next."""
        self.line.missed()

    def restarted(self) -> None:
        """Another sender has taken over, or the same one has begun anew."""
        self.line.restarted()

    def stop(self) -> None:
        """Nothing more comes; what is left goes out."""
        if self._timer is not None:
            self._timer.cancel()
        self._hub.push(self.line.end(_ns(time.monotonic())))

    async def close(self) -> None:
        """Ends what is under way."""
        await self._tasks.close()

    def counts(self) -> wire.Line:
        """What was done to keep the line whole."""
        counts, timeline = self.line.counts, self.line.timeline
        return wire.Line(
            gaps=counts.gaps,
            damaged_frames=counts.damaged_frames,
            bad_stamps=timeline.bad_stamps,
            clock_moves=timeline.moves,
            slates=counts.slates,
            slate_s=round(counts.slate_s, 1),
            silence_s=round(counts.silence_s, 1),
        )

    # The slate.

    def configure(self, slate: str | None, holds: bool | None) -> None:
        """Other settings; None leaves one as it is.

        Args:
            slate: ``on``, ``off`` or the path of a file.
            holds: the slate goes on the air whatever comes in, or lets the picture back.

        Raises:
            BadArguments: there is no such file, or no slate to show. Nothing was changed.
        """
        if slate not in (None, "on", "off"):
            check_file(Path(slate))
        if holds and (self.line.slate is None or slate not in (None, "on")):
            raise BadArguments(
                "there is no slate to show: it is off, or being made, or there has been no "
                "picture yet whose form it could have"
            )
        if slate is not None:
            self._set_slate(slate)
        if holds is not None:
            self.line.liveness.holds = holds
            self._on_tick()

    def _set_slate(self, setting: str) -> None:
        file = None if setting in ("on", "off") else Path(setting)
        self._wanted = setting != "off"
        if file != self._settings.file or not self._wanted:
            self._drop_slate()
        if self._wanted:
            self._settings = replace(self._settings, file=file)
            self._slates = Slates(self._settings.cache, self._settings.name, file)
            self._make_slate()

    def _drop_slate(self) -> None:
        self._slate_for = None
        self.line.slate = None
        self.line.liveness.can_slate = self.line.liveness.holds = False

    def _make_slate(self) -> None:
        format = self.line.video_format
        if format is None and self.line.liveness.holds and self._tracks is not None:
            format = self._tracks.video  # no picture goes out before it
        if self._wanted and format is not None and format != self._slate_for:
            self._slate_for = format
            if self.line.slate is not None and self.line.slate.format.codec != format.codec:
                self.line.slate, self.line.liveness.can_slate = None, False
            self._tasks.spawn("slate", self._fetch_slate(self._slates, format))

    async def _fetch_slate(self, slates: Slates, format: VideoFormat) -> None:
        try:
            slate = await slates.make(format)
        except SlateUnavailable as error:
            log.warning("%s", error.message)
            self._on_error(error)
            return
        if self._slate_for == format and slates is self._slates:
            self.line.slate = slate
            self.line.liveness.can_slate = not self._is_over

    # What goes out.

    @property
    def _lives(self) -> str:
        """What the picture is when all is well."""
        return "live" if self.line.liveness.has_video else "none"

    def _deliver(self, units: list[AccessUnit]) -> int:
        self._follow_formats()
        self._look_at_slate()
        if units:
            self._hub.push(units)
        self._tell_changes()
        return sum(unit.size for unit in units)

    def _on_tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._deliver(self.line.tick(_ns(time.monotonic())))
        is_filling = self.line.liveness.video == "slate"
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(FILL_S if is_filling else LOOK_S, self._on_tick)

    def _follow_formats(self) -> None:
        """Tells forwards of other tracks or codecs; other formats they see for themselves."""
        line, tracks = self.line, self._tracks
        if tracks is None:
            return
        video, audio = line.video_format or tracks.video, line.audio_format or tracks.audio
        if video is not tracks.video or audio is not tracks.audio:
            self._tracks = Program(video, audio)
            if self._tracks.codecs == tracks.codecs or not self._hub.flow.is_open:
                self._hub.flow.update(self._tracks)
            else:
                log.info("the sender's stream has other tracks or codecs: forwards begin anew")
                self._hub.flow.open(self._tracks)
        self._make_slate()

    def _look_at_slate(self) -> None:
        """Ends a slate that has been there for as long as it may, until media returns."""
        liveness = self.line.liveness
        if self._is_over:
            if liveness.video == "live" and self._tracks is not None:
                self._is_over = False
                liveness.can_slate = self.line.slate is not None
                self._hub.flow.open(self._tracks)
        elif liveness.video == "slate" and not liveness.holds and self._lasts_too_long():
            log.warning(
                "the slate has been on the air for %.0f s: forwards end", self._settings.max_s
            )
            self._is_over = True
            liveness.can_slate = False
            self._hub.close()

    def _lasts_too_long(self) -> bool:
        lasted_s = time.monotonic() - self.line.liveness.since / 1e9
        return 0 < self._settings.max_s <= lasted_s

    def _tell_changes(self) -> None:
        liveness = self.line.liveness
        now = wire.Program(liveness.video, liveness.audio)
        if self.has_begun and now != self.program:
            level = logging.INFO if now.video == self._lives else logging.WARNING
            log.log(level, "on the air: video %s, audio %s", now.video, now.audio)
            self.program = now
            self._tell(now)


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
