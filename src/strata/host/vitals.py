"""What a stream shows of itself: whether media comes, and what it takes of the machine.

It outlives each of its workers: a worker that has just begun knows nothing of the media that
came to the one before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from strata.host import health
from strata.host.admission import Cost, Share
from strata.settings import Settings
from strata.wire import worker as wire


class Vitals:
    """Of one stream.

    Args:
        first_media_s: how long its first media may take, 0 for ever.

    Attributes:
        share: what it takes of the machine.
        had_media: whether any has ever arrived.
        media_at: when it arrived last, or when the waiting for it began (monotonic s).
        measured_from: since when there has been media, and no forward has come or gone.
    """

    def __init__(
        self, share: Share, settings: Settings, *, had_media: bool, first_media_s: float
    ) -> None:
        self.share = share
        self.had_media = had_media
        self.media_at = time.monotonic()
        self.measured_from: float | None = None
        self._settings = settings
        self._first_media_s = first_media_s

    def hear(self, event: wire.Event) -> None:
        """Takes in what a worker says."""
        now = time.monotonic()
        match event:
            case wire.Input(state="waiting"):
                if not self.had_media:
                    self.media_at = now - event.since_s
            case wire.Input(state="stalled"):
                stall_s = self._settings.worker.stall_timeout_s
                self.media_at = min(self.media_at, now - event.since_s - stall_s)
                self.had_media = True
            case wire.Input():
                self._hear_media(now)
            case wire.Stats():
                if event.bitrate_in_kbps > 0:
                    self._hear_media(now)
                self._measure(event, now)

    def _hear_media(self, now: float) -> None:
        self.media_at = now
        self.had_media = True
        if self.measured_from is None:
            self.measured_from = now

    def _measure(self, stats: wire.Stats, now: float) -> None:
        since, settle_s = self.measured_from, self._settings.admission.settle_s
        self.share.is_settled = since is not None and now - since >= settle_s
        cost = Cost(stats.cpu_percent / 100.0, stats.rss_mb, stats.bitrate_out_kbps)
        self.share.measure(cost)

    def expect(self, outward: int) -> None:
        """It has so many forwards to the network now: it counts with what is reserved for
        them until what it takes has been measured again for a while."""
        expected = self._settings.admission.reserve_egress_kbps * outward
        self.share.reserved = replace(self.share.reserved, egress_kbps=expected)
        self.share.is_settled = False
        if self.measured_from is not None:
            self.measured_from = time.monotonic()

    def judge(self, latest: Iterable[wire.Event], heard_at: float) -> health.Verdict:
        """What a look at it finds.

        Args:
            latest: of each of its worker's events.
            heard_at: when the worker last reported (monotonic s).
        """
        now = time.monotonic()
        events = list(latest)
        stats = next((e for e in events if isinstance(e, wire.Stats)), None)
        program = next((e for e in events if isinstance(e, wire.Program)), None)
        idle = {f.forward: f.last_progress_age_s for f in stats.forwards} if stats else {}
        report = health.Report(
            heard_s=now - heard_at,
            quiet_s=now - self.media_at,
            had_media=self.had_media,
            is_fed=program is not None and program.video != "none",
            forwards=tuple(
                health.ForwardReport(e.forward, e.state, e.message, idle.get(e.forward))
                for e in events
                if isinstance(e, wire.Forward)
            ),
        )
        return health.judge(report, self._rules)

    @property
    def _rules(self) -> health.Rules:
        host = self._settings.host
        return health.Rules(
            silence_s=host.silence_timeout_s,
            stall_s=self._settings.worker.stall_timeout_s,
            no_input_s=host.no_input_timeout_s,
            first_media_s=self._first_media_s,
        )
