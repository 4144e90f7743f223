"""The agent as a program: its parts, from start to end."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import strata
from strata.alone import Alone
from strata.ending import Ending
from strata.errors import StrataError
from strata.impair.profile import Profile
from strata.secrets import Secret
from strata.sender import settings as settings_module
from strata.sender.agent import Agent
from strata.sender.identity import Identity
from strata.sender.interfaces import Watch
from strata.sender.network import Interfaces
from strata.sender.rehearsal import Rehearsed
from strata.sender.settings import SenderSettings
from strata.tasks import TaskGroup

log = logging.getLogger(__name__)

LOCK: Final = "lock"
INTERNAL: Final = 70
WHY: Final = "the program strata-sender was told to end"


def load(config: Path | None) -> tuple[SenderSettings, Identity]:
    """What it needs to begin.

    Raises:
        BadArguments: with that it cannot.
    """
    settings = settings_module.load(config)
    if (problem := settings_module.exposure(config, settings)) is not None:
        log.warning("%s", problem)
    token = settings.enrollment_token
    identity = Identity(settings.state_dir, Secret(token.get_secret_value()) if token else None)
    log.info("strata-sender %s, control is at %s", strata.__version__, settings.url)
    identity.open()
    return settings, identity


async def run(
    settings: SenderSettings, identity: Identity, rehearsed: Profile | None = None
) -> int:
    """Runs until a signal comes; returns the exit status.

    Raises:
        StrataError: it cannot go on, and starting it again does not help.
    """
    from strata.sender.broadcast import beginning  # GStreamer: not for what ends before

    ending = Ending()
    lock = Alone(settings.state_dir / LOCK, program="strata-sender", other="state_dir")
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(agent: Agent) -> None:
        try:
            await agent.run()
        except StrataError as error:
            failed.set_exception(error)

    def fail(name: str, error: BaseException) -> None:
        if not failed.done():
            failed.set_result(INTERNAL)

    tasks = TaskGroup(fail)
    async with lock:
        watch = Watch()
        network = Rehearsed(rehearsed) if rehearsed is not None else Interfaces(settings, watch)
        agent = Agent(settings, identity, watch, beginning(network))
        tasks.spawn("network", watch.run())
        tasks.spawn("agent", serve(agent))
        ended = tasks.spawn("ending", ending.wait())
        waiting: set[asyncio.Future[Any]] = {ended, failed}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        ending.close()
        await agent.close(WHY)
        if isinstance(network, Rehearsed):
            await network.close()
        await tasks.close()
    if failed.done():
        return await failed
    log.info("stopped")
    return 0
