"""``strata host``: the host as a process."""

from __future__ import annotations

import logging
from pathlib import Path

from strata.alone import Alone
from strata.cluster.unix import HostServer
from strata.ending import Ending
from strata.host.host import Host, name_of, runtime_dir
from strata.settings import Settings, make_folders

log = logging.getLogger(__name__)


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
