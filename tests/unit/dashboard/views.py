"""Streams as the pages are given them, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from strata.control import tables
from strata.control.forwards import Forward
from strata.control.live import Live
from strata.control.streams import View
from strata.wire import worker as wire

BEGUN = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
PICTURE = wire.Program("live", "live")
SLATE = wire.Program("slate", "silence")
RECEIVING = wire.Input("receiving", 0.0)
LIVE = wire.Forward("fwd_1", "rtmp", "live", "rtmp://a.rtmp.youtube.com/live2/****")
RETRYING = wire.Forward(
    "fwd_1", "rtmp", "retrying", "rtmp://a.rtmp.youtube.com/live2/****", "refused"
)


def link(port: int, state: Any = "up", age_s: float | None = 0.0, **more: Any) -> wire.LinkStats:
    fields: dict[str, Any] = {
        "peer": None,
        "bitrate_kbps": 2500.4,
        "share_percent": 50.0,
        "received": 5,
        "rtt_ms": 42.4,
        **more,
    }
    return wire.LinkStats(port=port, state=state, last_packet_age_s=age_s, **fields)


def stats(*links: wire.LinkStats, **more: Any) -> wire.Stats:
    fields: dict[str, Any] = {"media": wire.Media(), "flow": wire.Flow(), "forwards": [], **more}
    return wire.Stats(
        bitrate_in_kbps=5000.4,
        bitrate_out_kbps=10_000.0,
        buffer_ms=1000.0,
        uptime_s=1.0,
        cpu_percent=1.0,
        rss_mb=1.0,
        links=[*links],
        **fields,
    )


def view(
    state: str = "live",
    *events: wire.Event,
    name: str = "Derby",
    is_observed: bool = True,
    forwards: tuple[Forward, ...] = (),
    has_live: bool = True,
    live: dict[str, Any] | None = None,
    **columns: Any,
) -> View:
    row = tables.Stream(
        id="str_1",
        owner_id="usr_owner",
        name=name,
        state=state,
        ports=[15000, 15002],
        request={},
        created_at=BEGUN,
        **columns,
    )
    known = Live(**(live or {}))
    for event in events:
        known.hear(event)
    return View(
        row,
        known if has_live else None,
        [],
        is_observed=is_observed,
        forwards={each.id: each for each in forwards},
    )
