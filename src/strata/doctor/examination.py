"""One examination: every look, in the order of the table."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path

from strata.doctor import judge, looks
from strata.doctor.finding import Finding
from strata.settings import Settings, split_listen, split_range


async def examine(settings: Settings | None, problem: str = "") -> list[Finding]:
    """What is found.

    Args:
        settings: None: they cannot be used, and what depends on them is not looked at.
        problem: why not.
    """
    found = [
        Finding("settings", "ok", f"they can be used; data folder {settings.data_dir}")
        if settings is not None
        else Finding("settings", "error", problem, "correct them; deploy/strata.toml has them all")
    ]
    found += judge.media(await asyncio.to_thread(looks.parts))
    found += [
        judge.fonts(looks.fonts()),
        judge.buffers("rmem_max", looks.core_setting("rmem_max")),
        judge.buffers("wmem_max", looks.core_setting("wmem_max")),
        judge.open_files(looks.open_files()),
        judge.clock(looks.clock_is_synchronised()),
    ]
    if settings is not None:
        found += await _storage(settings)
        found += await _network(settings)
    return found


async def _storage(settings: Settings) -> list[Finding]:
    folder = settings.data_dir
    owner = looks.owner(folder)
    key = folder / "seal.key"
    return [
        judge.data_folder(str(folder), looks.unusable(folder), looks.foreign(folder), owner),
        judge.disk(looks.free_mb(settings.media_dir), settings.admission.min_disk_mb, str(folder)),
        judge.database(*await looks.database(settings)),
        *judge.seal(_is_there(folder / "strata.db"), _is_there(key), str(key)),
        judge.sockets(*looks.sockets(settings)),
    ]


async def _network(settings: Settings) -> list[Finding]:
    listen, text = settings.server.listen, settings.host.port_range
    state = await asyncio.to_thread(looks.listening, listen)
    found = [
        *judge.listening(listen, state, is_loopback=_is_loopback(split_listen(listen)[0])),
        judge.public_host(settings.host.public_host),
        *judge.firewall(looks.dropping_chains(), text),
    ]
    running = await looks.running_host(settings)
    if running is not None and running.load is not None:
        load = running.load
        return found + judge.host(load.streams, load.free_ports, load.limits, load.warnings)
    taken = looks.taken_ports(text, settings.host.bind)
    return [
        *found,
        Finding("host", "ok", "none runs that this user may ask: what follows is looked at here"),
        judge.ports(text, len(split_range(text)), taken),
        *judge.rules(*await looks.rules(settings)),
    ]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # not for this user to know
        return False


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
