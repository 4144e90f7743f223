"""``strata host``: the host as a process."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import signal
from pathlib import Path

from strata.cluster.unix import HostServer
from strata.errors import Conflict
from strata.host.host import Host, runtime_dir
from strata.settings import Settings, make_folders

log = logging.getLogger(__name__)


def socket_path(settings: Settings) -> Path:
    """Where this installation's host listens; one for each data folder on a machine."""
    name = hashlib.sha256(os.fsencode(settings.data_dir)).hexdigest()[:12]
    return runtime_dir(settings) / f"host-{name}.sock"


async def run(settings: Settings) -> None:
    """Serves control until SIGTERM or SIGINT, then stops the workers and returns.

    Raises:
        Conflict: another host runs on the same data folder.
    """
    make_folders(settings)
    with Alone(settings.data_dir / "host.lock"):
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server = HostServer(socket_path(settings))
        host = Host(settings, server.notify)
        await server.start(host.handle)
        log.info("the host serves ports %s", settings.host.port_range)
        try:
            await stop.wait()
        finally:
            log.info("the host stops its workers")
            await host.close()
            await server.close()


class Alone:
    """Holds a lock file for as long as the process lives, however it ends.

    Raises (on entering):
        Conflict: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Conflict(
                f"another strata runs on {self._path.parent}; stop it, or choose another --data-dir"
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()
