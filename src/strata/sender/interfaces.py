"""The network interfaces of this machine: what kind each is, and whether it is up.

Modems come and go. The kernel says that something is different; then all is looked at anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from strata.sender import netlink

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["ethernet", "wifi", "cellular", "other"]

SYSFS: Final = Path("/sys/class/net")
LOOPBACK: Final = "772"
"""``ARPHRD_*`` of linux/if_arp.h, as are the next."""
ETHERNET: Final = "1"
PPP: Final = "512"
RAW_IP: Final = "519"
MODEM_DRIVERS: Final = frozenset(
    (
        *("qmi_wwan", "qmi_wwan_q", "cdc_mbim", "cdc_ncm", "huawei_cdc_ncm", "cdc_ether"),
        *("rndis_host", "ipheth", "sierra_net", "GobiNet", "mtk_t7xx", "iosm", "mhi_net"),
    )
)
"""Of modems on USB and PCIe, and of telephones that share their line."""
IS_UP: Final = 0x1 | 0x40
"""``IFF_UP`` and ``IFF_RUNNING``."""

LOOK_EACH_S: Final = 10.0
"""Whether or not the kernel says that something is different."""
SETTLE_S: Final = 0.3
"""One change is told in several messages."""


@dataclass(frozen=True, slots=True)
class Interface:
    """
    Attributes:
        is_virtual: made of software, such as a bridge, a tunnel or a container's end.
    """

    name: str
    kind: Kind
    is_up: bool
    addresses: tuple[str, ...] = ()
    is_virtual: bool = False


def look(
    sysfs: Path = SYSFS,
    addresses: Callable[[], Mapping[int, tuple[str, ...]]] = netlink.addresses,
) -> list[Interface]:
    """All interfaces but loopback, by name."""
    try:
        folders = sorted(each for each in sysfs.iterdir() if each.is_dir())
        known = addresses()
    except OSError as error:
        log.warning("the network interfaces cannot be looked at: %s", error)
        return []
    found = (_interface(each, known) for each in folders)
    return [each for each in found if each is not None]


def _interface(folder: Path, addresses: Mapping[int, tuple[str, ...]]) -> Interface | None:
    """None: it is loopback, or has gone meanwhile."""
    type, index = _read(folder / "type"), _read(folder / "ifindex")
    if type in ("", LOOPBACK) or not index.isdigit():
        return None
    kind = _kind(folder, type)
    return Interface(
        folder.name,
        kind,
        _is_up(folder),
        addresses.get(int(index), ()),
        is_virtual=not (folder / "device").exists() and kind != "cellular",
    )


def _kind(folder: Path, type: str) -> Kind:
    says = _read(folder / "uevent").splitlines()
    if "DEVTYPE=wlan" in says or (folder / "wireless").exists():
        return "wifi"
    if "DEVTYPE=wwan" in says or type in (PPP, RAW_IP) or folder.name.startswith("wwan"):
        return "cellular"
    device = dict(line.partition("=")[::2] for line in _read(folder / "device/uevent").splitlines())
    if device.get("DRIVER") in MODEM_DRIVERS:
        return "cellular"
    return "ethernet" if type == ETHERNET else "other"


def _is_up(folder: Path) -> bool:
    state = _read(folder / "operstate")
    if state != "unknown":  # as of modems, lines and tunnels that cannot tell
        return state == "up"
    with contextlib.suppress(ValueError):
        return int(_read(folder / "flags"), 16) & IS_UP == IS_UP
    return False


def _read(path: Path) -> str:
    """Empty where there is nothing, or nothing that can be said now."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


class Watch:
    """
    Attributes:
        now: what there is.

    Args:
        look: as :func:`look`.
    """

    def __init__(self, look: Callable[[], list[Interface]] = look) -> None:
        self._look = look
        self._listeners: list[Callable[[], None]] = []
        self.now: list[Interface] = look()

    def listen(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Has ``on_change`` called, without arguments, when :attr:`now` is different. What is
        returned ends that."""
        self._listeners.append(on_change)
        return lambda: self._listeners.remove(on_change)

    async def run(self) -> None:
        """Until it is cancelled."""
        changes = netlink.Changes()
        is_different = asyncio.Event()

        def heard() -> None:
            changes.drain()
            is_different.set()

        loop = asyncio.get_running_loop()
        loop.add_reader(changes.fileno(), heard)
        try:
            while True:
                self._look_again()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EACH_S):
                        await is_different.wait()
                await asyncio.sleep(SETTLE_S)
                is_different.clear()
        finally:
            loop.remove_reader(changes.fileno())
            changes.close()

    def _look_again(self) -> None:
        found = self._look()
        if found == self.now:
            return
        log.info("network: %s", _difference(self.now, found))
        self.now = found
        for each in tuple(self._listeners):
            each()


def _difference(before: list[Interface], now: list[Interface]) -> str:
    old = {each.name: each for each in before}
    new = {each.name: each for each in now}
    words = [f"{name} is gone" for name in old if name not in new]
    for name, each in new.items():
        if old.get(name) != each:
            state = "up" if each.is_up else "down"
            words.append(f"{name} ({each.kind}) is {state}, {', '.join(each.addresses) or '-'}")
    return "; ".join(words)
