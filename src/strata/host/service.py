"""``strata host``: the host as a process."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import time
from pathlib import Path
from typing import Final

from strata.cluster.unix import HostServer
from strata.ending import Ending
from strata.errors import Conflict
from strata.host.host import Host, name_of, runtime_dir
from strata.settings import Settings, make_folders

log = logging.getLogger(__name__)

LOCK_DEADLINE_S: Final = 3.0
"""An earlier host may be about to end, because what had started both is gone."""
LOCK_AGAIN_S: Final = 0.05


def socket_path(settings: Settings) -> Path:
    """Where this installation's host listens."""
    return socket_path_in(runtime_dir(settings), settings)


def socket_path_in(folder: Path, settings: Settings) -> Path:
    return folder / f"host-{name_of(settings.data_dir)}.sock"


async def run(settings: Settings, parent: int | None = None) -> None:
    """Serves control until a signal comes.

    SIGTERM and SIGINT end the streams and then the host. SIGHUP, or the end of ``parent``,
    ends the host alone: what is on the air stays there, for the next host to adopt.

    Args:
        parent: the process without which this one should not go on.

    Raises:
        Conflict: another host runs on the same data folder.
    """
    make_folders(settings)
    async with Alone(settings.data_dir / "host.lock"):
        ending = Ending(parent)
        server = HostServer(socket_path(settings))
        host = Host(settings, server.notify)
        await host.open()
        await server.start(host.handle)
        log.info("the host serves ports %s", settings.host.port_range)
        try:
            keeps = await ending.wait() == "keep"
        except BaseException:
            await host.leave()
            raise
        finally:
            ending.close()
        if keeps:
            log.info("the host ends, and its streams stay on the air")
            await server.close()  # first: what is being started is given up
            await host.leave()
        else:
            log.info("the host stops its streams")
            await host.close()
            await server.close()


class Alone:
    """Holds a lock file for as long as the process lives, however it ends.

    Raises (on entering):
        Conflict: another process holds it, and does not end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> None:
        self._file = self._path.open("w")
        give_up_at = time.monotonic() + LOCK_DEADLINE_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    break
            await asyncio.sleep(LOCK_AGAIN_S)
        self._file.close()
        raise Conflict(
            f"another strata runs on {self._path.parent}; stop it, or choose another --data-dir"
        )

    async def __aexit__(self, *_: object) -> None:
        self._file.close()
