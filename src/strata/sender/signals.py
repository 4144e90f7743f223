"""How strong the signals of wireless interfaces are: of modems as ModemManager says it over D-Bus,
of Wi-Fi as the kernel does. Neither has to be there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from strata.tasks import in_thread

log = logging.getLogger(__name__)

Objects: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Of each object its interfaces, and of these the properties."""

WIFI: Final = Path("/proc/net/wireless")
WIFI_BEST: Final = 70.0
"""Of cfg80211's quality (wext-compat.c)."""
MODEM_MANAGER: Final = "org.freedesktop.ModemManager1"
MODEM: Final = "org.freedesktop.ModemManager1.Modem"
PORT_NET: Final = 2
"""``MM_MODEM_PORT_TYPE_NET``."""

CALL_DEADLINE_MS: Final = 2000
DEADLINE_S: Final = 4.0
AGAIN_S: Final = 60.0
"""Before ModemManager is looked for again where it was not found, or hung."""


def of_wifi(text: str) -> dict[str, float]:
    """Percent by interface, from ``/proc/net/wireless``."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        fields = rest.split()
        try:
            quality = float(fields[1])
        except (IndexError, ValueError):
            continue
        if colon:
            found[name.strip()] = round(min(max(quality / WIFI_BEST, 0.0), 1.0) * 100.0, 1)
    return found


def of_modems(objects: Objects) -> dict[str, float]:
    """Percent by interface, from ModemManager's objects. A signal that was not measured lately
    is not known."""
    found = {}
    for interfaces in objects.values():
        modem = interfaces.get(MODEM, {})
        match modem.get("SignalQuality"):
            case (int() | float() as percent, True):
                for name, kind in modem.get("Ports", ()):
                    if kind == PORT_NET:
                        found[name] = float(percent)
    return found


def ask_modem_manager() -> Objects:
    """Blocks, for two seconds at most once there is a bus.

    Raises:
        OSError: it cannot be asked.
    """
    from gi.repository import Gio, GLib  # only here: a sender by hand does without

    try:
        bus: Any = Gio.bus_get_sync(Gio.BusType.SYSTEM)
        bus.set_exit_on_close(False)  # the end of the bus is not ours
        answer = bus.call_sync(
            MODEM_MANAGER,
            "/org/freedesktop/ModemManager1",
            "org.freedesktop.DBus.ObjectManager",
            "GetManagedObjects",
            None,
            GLib.VariantType("(a{oa{sa{sv}}})"),
            Gio.DBusCallFlags.NO_AUTO_START,
            CALL_DEADLINE_MS,
            None,
        )
    except GLib.Error as error:
        raise OSError(error.message) from None
    objects: Objects = answer.unpack()[0]
    return objects


class Signals:
    """
    Args:
        ask: as :func:`ask_modem_manager`.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        wifi: Path = WIFI,
        ask: Callable[[], Objects] = ask_modem_manager,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wifi = wifi
        self._ask = ask
        self._clock = clock
        self._not_before = 0.0

    async def look(self) -> dict[str, float]:
        """Percent by interface; who is not there is not known."""
        return {**self._look_at_wifi(), **await self._look_at_modems()}

    def _look_at_wifi(self) -> dict[str, float]:
        try:
            return of_wifi(self._wifi.read_text())
        except OSError:
            return {}

    async def _look_at_modems(self) -> dict[str, float]:
        if self._clock() < self._not_before:
            return {}
        try:
            return of_modems(await in_thread("modems", self._ask, DEADLINE_S))
        except (OSError, TimeoutError) as error:
            self._not_before = self._clock() + AGAIN_S
            log.debug("ModemManager does not tell signals: %s", error)
            return {}
