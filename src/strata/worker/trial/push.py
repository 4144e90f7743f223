"""A test push: colour bars through the code that carries a broadcast, to one destination.

    bars -> intake -> on air -> hub -> forward

What a destination answers here, it would answer a broadcast; but for its first refusal, which
ends a push at once, where a forward would try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from strata.errors import DestinationError, HostError, StrataError, TooSlow
from strata.wire import forward_url
from strata.wire.forward_url import ForwardUrl
from strata.wire.helpers import Push, Pushed
from strata.worker import forwards, ingest
from strata.worker.config import SlateSettings
from strata.worker.forward import Forward
from strata.worker.hub import Hub
from strata.worker.intake import Intake
from strata.worker.onair import OnAir
from strata.worker.trial.bars import Bars

log = logging.getLogger(__name__)

PROVE_S: Final = 17.0
"""For the destination to take the first media: what a forward gives it, and what the bars take
to begin."""
ON_AIR_UNTIL_S: Final = 20.0
"""From the start. A forward takes up to 9 s to end, and all is to be over in 30."""
DISK_S: Final = 0.5
"""A disk that has taken anything takes more."""
TAKEN_AT_LEAST: Final = 0.88
"""Of what was offered. Without the framing of a transport stream, 0.94 of it is left."""
SEGMENT_S: Final = 2
"""Of a playlist on the disk, which need not be waited for as long as it says."""


async def push(request: Push) -> Pushed:
    """Sends the bars and says what came of it; leaves nothing behind."""
    try:
        url = forward_url.parse(request.url)
        if url.path is None:
            forwards.require((url,), ingest.ELEMENTS)
            return await _Trial(url, request.seconds).run()
        with _aside(url) as beside:
            return await _Trial(beside, min(DISK_S, request.seconds)).run()
    except StrataError as error:
        return Pushed(False, error.message, error.code)


class _Trial:
    """One push."""

    def __init__(self, url: ForwardUrl, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._began_at = time.monotonic()
        self._offered = 0
        self._idle = ""
        loop = asyncio.get_running_loop()
        self._trouble: asyncio.Future[StrataError] = loop.create_future()
        self._bars = Bars()
        self._hub = Hub()
        self._on_air = OnAir(
            self._hub, SlateSettings(wanted=False), lambda _: None, self._on_own_error
        )
        self._intake = Intake(self._bars, self._hub, self._on_air, lambda: None, self._on_own_error)
        self._forward = Forward("test", url, lambda _: None, self._on_error)

    async def run(self) -> Pushed:
        self._intake.start()
        self._hub.add(self._forward)
        self._bars.start()
        try:
            error = await self._send()
        finally:
            self._intake.stop()
            self._on_air.stop()
            await self._on_air.close()
            self._bars.close()
            await self._forward.discard()
        return self._verdict(error)

    async def _send(self) -> StrataError | None:
        """What went wrong, if anything did."""
        forward = self._forward
        try:
            await forward.proven(PROVE_S)
        except StrataError as error:
            return self._trouble.result() if self._trouble.done() else error
        if forward.state != "live":
            self._idle = forward.message
            return None
        if forward.totals.dropped:  # it took long to connect, which is no fault of the way
            self._offered = -self._bars.taken
        left_s = ON_AIR_UNTIL_S - (time.monotonic() - self._began_at)
        await asyncio.wait({self._trouble}, timeout=min(self._seconds, left_s))
        if self._trouble.done():
            return self._trouble.result()
        self._offered += self._bars.taken
        await forward.stop()
        return self._trouble.result() if self._trouble.done() else None

    def _verdict(self, error: StrataError | None) -> Pushed:
        totals, url = self._forward.totals, self._url
        live_s = round(totals.live_s, 1)
        if error is None and totals.bytes < self._offered * TAKEN_AT_LEAST:
            error = TooSlow(
                f"{url.shown} took {totals.bytes // 1000} kB of {self._offered // 1000} kB in "
                "time; it is slower than 1.7 Mbit/s, so look at the way there"
            )
        if error is not None:
            return Pushed(False, error.message, error.code, live_s, totals.bytes)
        if not live_s:
            code = "waiting" if url.listens else "unconfirmed"
            return Pushed(url.listens, self._idle, code)
        if url.path is not None:
            said = "it can be written to, and what was written was removed again"
        else:
            said = f"{url.shown} took {live_s:.0f} s of colour bars, {totals.bytes // 1000} kB"
        return Pushed(True, said, "ok", live_s, totals.bytes)

    def _on_error(self, forward: Forward, error: StrataError) -> None:
        if not self._trouble.done():
            self._trouble.set_result(error)

    def _on_own_error(self, error: StrataError) -> None:
        self._on_error(self._forward, HostError(f"the test picture is broken: {error.message}"))


@contextlib.contextmanager
def _aside(url: ForwardUrl) -> Iterator[ForwardUrl]:
    """The same kind of output in a folder of its own beside where a broadcast would write: what
    lies there is not touched, and nothing is left of this.

    Raises:
        BadUrl, DestinationError: it cannot be written to.
    """
    assert url.path is not None
    real = Path(time.strftime(url.path))
    folder = real if url.kind == "hls" else real.parent
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        forwards.require((url,))
        with tempfile.TemporaryDirectory(prefix=".strata-test-", dir=folder) as beside:
            path = beside if url.kind == "hls" else str(Path(beside, real.name))
            options = dict(url.options)
            if url.kind == "hls":
                options["target-duration"] = str(SEGMENT_S)
            yield replace(url, path=path, options=options)
    except OSError as error:
        raise DestinationError(f"cannot write to {folder}: {error.strerror or error}") from None
    finally:
        for each in made:
            with contextlib.suppress(OSError):  # not made after all, or others use it by now
                each.rmdir()
