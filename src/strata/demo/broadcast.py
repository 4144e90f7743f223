"""The demonstration's broadcast, from start to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from strata.control.platform import Platform
from strata.control.roles import User
from strata.control.streams import StartRequest, Streams, View
from strata.demo.nginx import LocalPlatform, end, spawn
from strata.errors import HostError, StrataError
from strata.secrets import Secret
from strata.settings import Settings
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

LIVE_DEADLINE_S: Final = 30.0
HOST_DEADLINE_S: Final = 30.0
POLL_S: Final = 0.2


@asynccontextmanager
async def running(
    settings: Settings, destination: LocalPlatform, platform: Platform
) -> AsyncIterator[None]:
    """While inside, a test picture is on its way to the local platform."""
    tasks = TaskGroup()
    tasks.spawn("demo", _broadcast(settings, destination, platform))
    try:
        yield
    finally:
        await tasks.close()


async def _broadcast(settings: Settings, destination: LocalPlatform, platform: Platform) -> None:
    streams = platform.streams
    try:
        async with AsyncExitStack() as undo:
            await destination.start()
            undo.push_async_callback(destination.stop)
            user = await platform.users.first_admin()
            view = await _begin(destination, streams, user)
            undo.push_async_callback(_stop, streams, user, view.row.id)
            assert view.psk is not None
            sender = await _send(settings.host.receive_urls(view.row.ports), view.psk)
            undo.push_async_callback(end, sender)
            await _until_live(streams, user, view.row.id)
            _tell(settings, destination, view)
            await sender.wait()
            log.error("the demonstration's sender ended; see its messages above")
    except StrataError as error:
        log.error("the demonstration cannot go on: %s", error.message)


async def _begin(destination: LocalPlatform, streams: Streams, user: User) -> View:
    async with asyncio.timeout(HOST_DEADLINE_S):
        while not streams.can_start:
            await asyncio.sleep(POLL_S)
    request = StartRequest((destination.rtmp_url,), links=2, name="Demonstration", record=True)
    return await streams.begin(user, request)


async def _stop(streams: Streams, user: User, stream_id: str) -> None:
    await streams.stop(user, stream_id)


async def _send(urls: list[str], psk: Secret) -> asyncio.subprocess.Process:
    targets = [part for url in urls for part in ("--to", url)]
    command = [sys.executable, "-I", "-m", "strata.sender", "--secrets-stdin", *targets]
    process = await spawn(*command, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"psk": psk.reveal()}).encode() + b"\n")
    process.stdin.close()
    return process


async def _until_live(streams: Streams, user: User, stream_id: str) -> None:
    try:
        async with asyncio.timeout(LIVE_DEADLINE_S):
            while (await streams.view(user, stream_id)).row.state != "live":
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        view = await streams.view(user, stream_id)
        raise HostError(
            f"the demonstration is not on the air after {LIVE_DEADLINE_S:.0f} s but "
            f"{view.row.state} {view.row.detail or ''}; see {stream_id}.log in the logs folder"
        ) from None


def _tell(settings: Settings, destination: LocalPlatform, view: View) -> None:
    pages = f"http://{settings.server.listen}"
    print(
        f"""
  On the air: a test picture over two bonded, encrypted RIST links.

    Watch it     {destination.page_url}          (a browser that plays HLS, such as Chromium)
                 ffplay {destination.rtmp_url}
    Recording    {settings.media_dir}/{view.row.id}-*.ts
    Operate it   {pages}/               (the first start shows the password)
    Worker log   {settings.log_dir}/{view.row.id}.log

  Ctrl-C ends the broadcast and everything else.
""",
        flush=True,
    )
