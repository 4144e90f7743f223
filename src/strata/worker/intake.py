"""From the receiver to the hub, twenty-five times a second while media comes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from strata.errors import SenderError, UnsupportedMedia
from strata.rist import Mark
from strata.worker.hub import Hub
from strata.worker.ingest import Ingest
from strata.worker.onair import OnAir
from strata.worker.pace import Pace
from strata.worker.ts_end import OVER_AFTER_S
from strata.worker.ts_gaps import TsGaps
from strata.worker.ts_start import TsStart

log = logging.getLogger(__name__)

PROGRAM_DEADLINE_S: Final = 2.0
"""Sound that was announced and has not come after this long is done without."""

VIDEO_DEADLINE_S: Final = 12.0
"""Video is known from its first key frame, and a sender may be joined just after one: the
longest interval in use is 10 s. Going on the air without it would be for good."""

INGEST_RESTARTS_S: Final = 1.0
"""A stream that breaks the demuxer is demuxed anew this often at most."""


class Source(Protocol):
    """What has received media: :class:`strata.rist.Receiver`, mostly."""

    def fileno(self) -> int:
        """Can be read when there is something to take."""

    def take_marked(self) -> tuple[bytes, list[Mark]]:
        """All that waits, and where in it something is missing."""


class Intake:
    """Moves media from a started receiver to the hub: packets as they are, units by way of
    what is on the air.

    Args:
        on_media: called with each batch.
        on_error: called with what is wrong with the sender's stream; the intake goes on.
    """

    def __init__(
        self,
        receiver: Source,
        hub: Hub,
        on_air: OnAir,
        on_media: Callable[[], None],
        on_error: Callable[[SenderError], None],
    ) -> None:
        self._receiver = receiver
        self._hub = hub
        self._on_air = on_air
        self._on_media = on_media
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._start = TsStart()
        self._pace = Pace()
        self._gaps = TsGaps()
        self._first_unit_at: float | None = None
        self._last_batch_at = 0.0
        self._unusable: set[str] = set()
        self._restart_later: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._ingest = self._new_ingest()
        self._loop.add_reader(self._receiver.fileno(), self._carry)

    def stop(self) -> None:
        """Ends the intake: all that has been received whole goes on the air first.

        Of a sender that is still sending, the newest picture is not whole, and is left out.
        """
        self._loop.remove_reader(self._receiver.fileno())
        if self._restart_later is not None:
            self._restart_later.cancel()
        self._carry()
        if time.monotonic() - self._last_batch_at > OVER_AFTER_S:
            self._ingest.end()
        self._on_air.push(self._ingest.pull(), time.monotonic())
        self._ingest.stop()

    def _carry(self) -> None:
        """Moves one batch from the inbox onto the air."""
        batch, marks = self._receiver.take_marked()
        if not batch:
            return
        self._last_batch_at = time.monotonic()
        self._on_media()
        begin = 0
        for mark in marks:
            self._pass_on(batch[begin : mark.offset])
            begin = mark.offset
            self._note(mark)
        self._pass_on(batch[begin:] if begin else batch)
        if not self._on_air.has_begun:
            self._learn_program()

    def _note(self, mark: Mark) -> None:
        """What comes next does not follow what came before."""
        # What the sender itself was not given shows in the counters; no more is known of it.
        self._gaps.note(mark.missing if mark.missing or mark.new_flow else 1)
        if mark.new_flow:
            log.info("another sender, or the same one begun anew: its clock is set again")
            self._on_air.restarted()
        else:
            self._on_air.missed()

    def _pass_on(self, batch: bytes) -> None:
        if not batch:
            return
        for at_s, passed in self._start.pass_on(batch, self._last_batch_at):
            if passed:
                self._carry_on(passed, at_s)

    def _carry_on(self, packets: bytes, at_s: float) -> None:
        self._hub.push_packets(packets)
        mended = self._gaps.mend(packets)
        stamp_s = at_s
        for stamp_s, piece in self._pace.split(mended, at_s):
            self._ingest.push(piece, stamp_s)
        units = list(self._ingest.pull())
        if units:
            self._first_unit_at = self._first_unit_at or time.monotonic()
        self._on_air.push(units, at_s)
        self._hub.measure(stamp_s, len(packets), sum(unit.size for unit in units))

    def _learn_program(self) -> None:
        program = self._ingest.program()
        if program is None and self._first_unit_at is not None:
            waited_s = time.monotonic() - self._first_unit_at
            known = self._ingest.known()
            if waited_s > (VIDEO_DEADLINE_S if known.video is None else PROGRAM_DEADLINE_S):
                program = known
        if program is not None:
            self._on_air.begin(program)

    def _new_ingest(self, zero_s: float | None = None) -> Ingest:
        fresh = Ingest(self._on_ingest_failure, self._tell_unusable, zero_s)
        fresh.start()
        return fresh

    def _on_ingest_failure(self, message: str) -> None:
        """The stream broke the demuxer. Forwards stay; a new demuxer takes over."""
        if self._restart_later is not None:
            return
        self._restart_later = self._loop.call_later(INGEST_RESTARTS_S, self._replace_ingest)
        self._on_error(
            SenderError(
                f"the sender's stream cannot be read ({message}); reading it anew, check the "
                "encoder if this repeats"
            )
        )

    def _replace_ingest(self) -> None:
        self._restart_later = None
        old, self._ingest = self._ingest, self._new_ingest(self._ingest.zero_s)
        old.stop()

    def _tell_unusable(self, name: str) -> None:
        if name not in self._unusable:
            self._unusable.add(name)
            self._on_error(
                UnsupportedMedia(
                    f"the sender's stream holds {name}, which no forward can carry; it is left "
                    "out of all but .ts recordings. Send H.264 or H.265 video and AAC audio"
                )
            )
