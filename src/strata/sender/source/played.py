"""A source that is played: tried, watched, and tried again when it goes away.

    make ─► feed ─► watched until it fails, is silent or ends ─► made again

A source that fails before it has given anything fails for good, so that who asked for it is told
why at once. One that has played is opened anew, at first at once and then ever more slowly,
until it has been away for too long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from strata.errors import EncoderUnavailable, SourceUnavailable, StrataError
from strata.sender.source.choice import Shape
from strata.sender.source.encoders import Encoder
from strata.sender.source.feeds import Feed
from strata.sender.source.pipeline import Failure
from strata.sender.source.proof import Encoders
from strata.sender.source.reader import Reader
from strata.sender.source.seam import Chunk, End, SourceSettings
from strata.sender.source.tracks import Coding
from strata.tasks import TaskGroup
from strata.wire import agent as wire

log = logging.getLogger(__name__)

RETRY_WAITS_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""The first failure may be no more than a hiccup; a camera takes up to a minute to start."""
LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Nothing failed, but the feed has to be made in another way.

    Attributes:
        shape: an encoder for it is needed first.
    """

    shape: Shape | None = None


Outcome: TypeAlias = Failure | Rebuild | None
Make: TypeAlias = Callable[["Played", Callable[[Outcome], None]], Awaitable[Feed]]
"""Makes a feed, for one try. Raises StrataError where it cannot."""


class Played:
    """One source.

    Args:
        name: for people; holds no secret.
        encoder: how it is encoded, if it has to be.
        is_paced: it comes as fast as it is read.
        is_looped: it begins again where it ends.
        listens: others call: there is nothing that could be opened anew.
    """

    def __init__(
        self,
        name: str,
        make: Make,
        encoder: wire.Encoder,
        encoders: Encoders,
        settings: SourceSettings,
        *,
        is_paced: bool = False,
        is_looped: bool = False,
        listens: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.encoders = encoders
        self.coding = Coding(
            encoder,
            encoders.known,
            lambda shape: loop.call_soon_threadsafe(self._settle, Rebuild(shape)),
        )
        self.recodes = False
        """What comes as a transport stream has to be taken apart and coded anew."""
        self.lacks_sound_device = False
        self._make = make
        self._settings = settings
        self._is_looped = is_looped
        self._listens = listens
        self._reader = Reader(is_paced, self._on_stream)
        self._tasks = TaskGroup(self._on_fault)
        self._feed: Feed | None = None
        self._encoder: Encoder | None = None
        """That of the newest feed."""
        self._outcome: asyncio.Future[Outcome] = loop.create_future()
        self._began = asyncio.Event()
        self._has_media = False
        """Of the newest feed."""
        self._has_played = False
        self._end: asyncio.Future[End] = loop.create_future()
        self._error: StrataError | None = None

    # --- as others see it --------------------------------------------------------------

    @property
    def is_encoding(self) -> bool:
        return self._feed is not None and self._feed.is_encoding

    @property
    def encoder_kbps(self) -> float | None:
        return float(self.coding.total_kbps) if self.is_encoding else None

    @property
    def dropped_groups(self) -> int:
        return self._reader.dropped_groups

    async def start(self) -> None:
        self._reader.media_at = time.monotonic()
        self._tasks.spawn("source", self._run())
        began = asyncio.ensure_future(self._began.wait())
        try:
            await asyncio.wait(
                (began, self._end),
                timeout=self._settings.begin_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except BaseException:
            await self.stop()
            raise
        finally:
            began.cancel()
        if self._end.done():
            await self.stop()
            end = self._end.result()
            if self._error is not None:
                raise self._error
            kind = EncoderUnavailable if end.reason == "encoder" else SourceUnavailable
            raise kind(end.detail or f"{self.name} is empty; give another one")

    def read(self) -> list[Chunk]:
        return self._reader.read(time.monotonic())

    def set_bitrate(self, kbps: int) -> None:
        self.coding.total_kbps = kbps
        if self._feed is not None:
            self._feed.set_bitrate(kbps)

    async def ended(self) -> End:
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        await self._tasks.close()

    # --- attempts ----------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while not self._end.done():
            outcome = await self._attempt()
            if isinstance(outcome, Rebuild):
                if outcome.shape is not None:
                    await self._prove(outcome.shape)
            elif outcome is None and self._reader.timeline is not None:
                await self._next_pass()
            else:
                failure = outcome or Failure("source", "the other end has ended its stream")
                failures = 0 if self._has_media else failures
                if not self._goes_on(failure):
                    self._finish(self._end_of(failure))
                    continue
                log.warning("%s: %s; it is opened anew", self.name, failure.detail)
                await asyncio.sleep(RETRY_WAITS_S[min(failures, len(RETRY_WAITS_S) - 1)])
                failures += 1

    async def _attempt(self) -> Outcome:
        """Plays the source until that ends, for whatever reason."""
        outcome = self._outcome = asyncio.get_running_loop().create_future()

        def on_end(found: Outcome) -> None:
            if not outcome.done():
                outcome.set_result(found)

        feed: Feed | None = None
        try:
            feed = await self._make(self, on_end)
            self._encoder = feed.encoder
            self._has_media = False
            self._feed = feed
            self._reader.begin(feed)
            await feed.start(self._on_media)
            if self._listens:
                self._began.set()
            found = await self._watched(outcome)
            if found is None and self._has_media and self._reader.timeline is not None:
                self._reader.drain()
                await self._reader.drained.wait()
            return found
        except StrataError as error:
            self._error = error
            self._has_media = False
            part: Literal["source", "encoder"] = (
                "encoder" if isinstance(error, EncoderUnavailable) else "source"
            )
            return Failure(part, error.message, "", is_final=not error.can_retry)
        finally:
            self._reader.end()
            self._feed = None
            if feed is not None:
                await feed.stop()

    async def _watched(self, outcome: asyncio.Future[Outcome]) -> Outcome:
        """Waits for the end of a feed, or for too long a silence."""
        began_at = time.monotonic()
        reader = self._reader
        while True:
            await asyncio.wait((outcome,), timeout=LOOK_S)
            if outcome.done():
                return outcome.result()
            if not self._has_media:
                silent_s = time.monotonic() - began_at
            elif reader.timeline is None:
                # Only where somebody reads: otherwise it is not the source that is silent.
                silent_s = reader.looked_at - max(reader.media_at, began_at)
            else:
                silent_s = 0.0
            if silent_s > self._patience_s():
                return Failure("source", f"no media came for {silent_s:.0f} s")

    def _patience_s(self) -> float:
        settings = self._settings
        if self._listens:
            return settings.retry_for_s if self._has_played else settings.listen_s
        return settings.silence_s if self._has_media else settings.first_media_s

    async def _next_pass(self) -> None:
        """The file is through."""
        if not self._has_media:
            detail = f"{self.name} holds no media that can be played; give another file"
            self._finish(End("source", detail))
        elif self._is_looped:
            self._reader.next_pass()
        else:
            await self._reader.play_out()
            self._finish(End("eos"))

    async def _prove(self, shape: Shape) -> None:
        try:
            await self.encoders.choose(self.coding.asked(shape))
        except EncoderUnavailable as error:
            self._error = error
            self._finish(End("encoder", error.message))

    def _goes_on(self, failure: Failure) -> bool:
        """Whether it is tried again after it failed."""
        if failure.part == "encoder":
            if self._encoder is None or failure.is_final:
                return False
            self.encoders.distrust(self._encoder)
            return True
        if failure.part == "sound" and self._has_played:
            # A picture without sound is better than none.
            self.lacks_sound_device = True
            return True
        settings = self._settings
        if not self._has_played:
            if failure.is_final:
                return False
            # A port that is taken is told at once.
            return self._began.is_set() and self._listens and self._away_s() <= settings.listen_s
        self._reader.next_pass()
        return self._away_s() <= settings.retry_for_s

    def _away_s(self) -> float:
        return time.monotonic() - self._reader.media_at

    def _end_of(self, failure: Failure) -> End:
        advice = f"; {failure.remedy}" if failure.remedy else ""
        reason: Literal["source", "encoder"] = "encoder" if failure.part == "encoder" else "source"
        if failure.part == "sound":
            return End(reason, f"{self.name}: its sound device failed: {failure.detail}{advice}")
        named = "" if failure.detail.startswith(self.name) or not failure.remedy else self.name
        detail = f"{named}: {failure.detail}" if named else failure.detail
        since = f" (no media for {self._away_s():.0f} s)" if self._has_played else ""
        return End(reason, f"{detail}{since}{advice}")

    # --- what is told by others --------------------------------------------------------

    def _on_media(self) -> None:
        self._has_media = self._has_played = True
        self._reader.media_at = time.monotonic()
        self._error = None
        self._began.set()

    def _on_stream(self, can_be_passed_on: bool | None) -> None:
        if can_be_passed_on is None:
            detail = (
                f"what comes from {self.name} is no transport stream; have the encoder send "
                "MPEG-TS with H.264 or H.265 and AAC"
            )
            self._finish(End("source", detail))
            self._settle(Rebuild())
        elif not can_be_passed_on and not self.recodes:
            log.info("%s is coded anew: its receiver could not use it as it is", self.name)
            self.recodes = True
            self._settle(Rebuild())

    def _settle(self, outcome: Outcome) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _on_fault(self, name: str, error: BaseException) -> None:
        self._finish(End("source", f"{self.name} ended by a fault of Strata's own: {error!r}"))

    def _finish(self, end: End) -> None:
        if not self._end.done():
            self._end.set_result(end)
