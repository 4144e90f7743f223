"""A broadcast that nobody but the command line asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from strata.ending import Ending
from strata.impair.profile import Profile
from strata.secrets import Secret
from strata.sender import post
from strata.sender.network import Network, Straight
from strata.sender.rehearsal import Rehearsed
from strata.sender.settings import SenderSettings
from strata.tasks import TaskGroup
from strata.wire import agent as wire

log = logging.getLogger(__name__)

REPORT_S: Final = 10.0
KEY_FRAME_S: Final = 2.0
FAILED: Final = 1


def order(
    to: Sequence[str], psk: Secret, source: str, fps: int, bitrate_kbps: int, buffer_ms: int
) -> wire.StreamStart:
    """What control would have sent."""
    if source == "test":
        shown = wire.Source("test")
    elif "://" in source:
        shown = wire.Source("uri", uri=source)
    else:
        shown = wire.Source("file", path=source, loop=True)
    encoder = wire.Encoder(bitrate_kbps=bitrate_kbps, keyint_max=round(KEY_FRAME_S * fps))
    return wire.StreamStart("by hand", shown, encoder, list(to), psk.reveal(), buffer_ms=buffer_ms)


async def send(
    start: wire.StreamStart,
    settings: SenderSettings,
    size: tuple[int, int],
    fps: int,
    rehearsed: Profile | None,
) -> int:
    """Sends until a signal comes, or the source ends; returns the exit status.

    Args:
        size, fps: of the test picture.

    Raises:
        StrataError: it cannot be sent.
    """
    from strata.sender.broadcast import Broadcast  # GStreamer: not for what ends before
    from strata.sender.source import SourceSettings, open_source

    width, height = size
    look = SourceSettings(width=width, height=height, fps=fps)
    rehearsal = Rehearsed(rehearsed) if rehearsed is not None else None
    network: Network = rehearsal or Straight()
    source = open_source(start.source, start.encoder, look)
    broadcast = Broadcast(start, settings, network, source)
    ending, tasks = Ending(), TaskGroup()
    over: asyncio.Future[post.Ended] = asyncio.get_running_loop().create_future()

    async def follow() -> None:
        over.set_result(await broadcast.ended())

    try:
        await broadcast.start()
        log.info("sending to %s", ", ".join(start.destinations))
        tasks.spawn("report", _report(broadcast))
        told = tasks.spawn("ending", ending.wait())
        tasks.spawn("ended", follow())
        waiting: set[asyncio.Future[Any]] = {told, over}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            log.info("stopped")
            return 0
        end = over.result()
        log.warning("it has ended by itself: %s: %s", end.reason, end.detail)
        return 0 if end.reason == "eos" else FAILED
    finally:
        ending.close()
        await tasks.close()
        await broadcast.stop()
        if rehearsal is not None:
            await rehearsal.close()


async def _report(broadcast: post.Broadcast) -> None:
    while True:
        await asyncio.sleep(REPORT_S)
        stats = broadcast.stats()
        links = "; ".join(
            f"link {each.id}: {each.state}, rtt {each.rtt_ms or 0:.0f} ms, "
            f"{100 * (each.loss_rate or 0):.1f} % lost"
            for each in stats.links
        )
        log.info("%.0f kbit/s; %s", stats.encoder_bitrate_kbps or 0, links)
