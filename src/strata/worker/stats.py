"""From running totals to the numbers of one ``stats`` event."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from typing import Any

from strata.rist import Counters, LinkCounters
from strata.wire import worker as wire
from strata.worker.average import Average
from strata.worker.forward import Forward
from strata.worker.hub import Hub
from strata.worker.links import LinkWatch, Verdict


class StatsMeter:
    """Turns totals into rates: over the time since the last call of :meth:`measure`, and of
    forwards as :mod:`strata.worker.average` says.

    Attributes:
        links: what the reports say of the links.
    """

    def __init__(self) -> None:
        self.links = LinkWatch()
        self._started_at = time.monotonic()
        self._last_at = self._started_at
        self._last_cpu_s = _cpu_s()
        self._last: dict[str, int] = {}
        self._averages: dict[str, Average] = {}
        self._buffer_ms: float | None = None
        self._recovered = 0
        self._late = 0
        self._duplicates = 0
        self._rtt_ms: dict[int, float] = {}

    def add_report(self, report: dict[str, Any]) -> None:
        """Takes in one report of librist, whose counters cover the time since the last."""
        self.links.add_report(report, time.monotonic())
        stats = report["stats"]
        self._recovered += int(stats["recovered_total"])
        self._late += int(stats["dropped_late"])
        self._duplicates += int(stats["duplicates"])
        for peer in report["peers"]:
            if peer["stats"]["received_rtcp"]:
                self._rtt_ms[int(peer["id"])] = float(peer["stats"]["avg_rtt"])
        if stats["received"] and stats["avg_buffer_time"]:
            self._buffer_ms = float(stats["avg_buffer_time"])

    def measure(self, counters: Counters, hub: Hub, all_forwards: Sequence[Forward]) -> wire.Stats:
        now = time.monotonic()
        passed_s = max(now - self._last_at, 1e-3)
        cpu_s = _cpu_s()
        self._averages = {
            forward.id: self._averages.get(forward.id) or Average(self._last_at)
            for forward in all_forwards
        }
        forwards = [self._forward(forward, now) for forward in all_forwards]
        link_bytes = [self._since(f"link-{link.port}", link.bytes) for link in counters.links]
        stats = wire.Stats(
            bitrate_in_kbps=_kbps(self._since("in", counters.bytes), passed_s),
            bitrate_out_kbps=round(sum(forward.bitrate_kbps for forward in forwards), 1),
            buffer_ms=self._buffer_ms,
            uptime_s=round(now - self._started_at, 3),
            cpu_percent=round(100.0 * (cpu_s - self._last_cpu_s) / passed_s, 1),
            rss_mb=_rss_mb(),
            media=_media(hub),
            flow=self._flow(counters),
            links=[
                self._link(link, verdict, size, sum(link_bytes), passed_s, now)
                for link, verdict, size in zip(
                    counters.links,
                    self.links.verdicts(counters.links, now),
                    link_bytes,
                    strict=True,
                )
            ],
            forwards=forwards,
        )
        self._last_at = now
        self._last_cpu_s = cpu_s
        return stats

    def _since(self, name: str, total: int) -> int:
        grown = total - self._last.get(name, 0)
        self._last[name] = total
        return grown

    def _flow(self, counters: Counters) -> wire.Flow:
        due = counters.packets + counters.lost
        return wire.Flow(
            received=counters.packets,
            recovered=self._recovered,
            lost=counters.lost,
            late=self._late,
            duplicates=self._duplicates,
            quality_percent=round(100.0 * counters.packets / due, 3) if due else 100.0,
        )

    def _forward(self, forward: Forward, now: float) -> wire.ForwardStats:
        age_s = forward.progress_age_s
        totals = forward.totals
        kbps = self._averages[forward.id].kbps(totals.bytes, now, forward.pieces)
        return wire.ForwardStats(
            forward=forward.id,
            kind=forward.url.kind,
            state=forward.state,
            bitrate_kbps=round(kbps, 1),
            bytes=totals.bytes,
            dropped_frames=totals.dropped,
            reconnects=totals.reconnects,
            live_s=round(totals.live_s, 1),
            last_progress_age_s=None if age_s is None else round(age_s, 2),
        )

    def _link(
        self,
        link: LinkCounters,
        verdict: Verdict,
        size: int,
        total: int,
        passed_s: float,
        now: float,
    ) -> wire.LinkStats:
        age_s = now - link.last_packet_ns / 1e9 if link.last_packet_ns else None
        return wire.LinkStats(
            port=link.port,
            peer=link.peer,
            bitrate_kbps=_kbps(size, passed_s),
            share_percent=round(100.0 * size / total, 1) if total else 0.0,
            received=link.packets,
            last_packet_age_s=None if age_s is None else round(age_s, 3),
            state=verdict.state,
            rtt_ms=self._rtt_ms.get(link.peer_id),
            reason=verdict.reason,
        )


def _media(hub: Hub) -> wire.Media:
    program = hub.flow.program
    if program is None:
        return wire.Media()
    video = audio = None
    if program.video is not None:
        fps = program.video.fps
        video = wire.VideoMedia(
            codec=program.video.codec,
            width=program.video.width,
            height=program.video.height,
            fps=None if fps is None else round(float(fps), 3),
            keyframe_interval_s=hub.keyframe_interval_s,
        )
    if program.audio is not None:
        audio = wire.AudioMedia(program.audio.codec, program.audio.rate, program.audio.channels)
    return wire.Media(video=video, audio=audio)


def _kbps(size: int, passed_s: float) -> float:
    return round(size * 8 / 1000 / passed_s, 1)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _rss_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
