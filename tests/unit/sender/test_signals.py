from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata.sender import signals as module
from strata.sender.signals import MODEM, Objects, Signals, of_modems, of_wifi

WIRELESS = """\
Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   35.  -75.  -256        0      0      0      0      0        0
 wlan1: 0000   99.  -20.  -256        0      0      0      0      0        0
 wlan2: 0000   no
broken
"""


def modem(percent: object, is_recent: object, *ports: tuple[str, int]) -> dict[str, object]:
    return {"SignalQuality": (percent, is_recent), "Ports": list(ports), "State": 11}


def test_wifi() -> None:
    assert of_wifi(WIRELESS) == {"wlan0": 50.0, "wlan1": 100.0}
    assert of_wifi("") == {}


def test_modems() -> None:
    objects: Objects = {
        "/Modem/0": {MODEM: modem(62, True, ("cdc-wdm0", 6), ("wwan0", 2), ("wwan1", 2))},
        "/Modem/1": {MODEM: modem(10, False, ("wwan2", 2))},  # not measured lately
        "/Modem/2": {MODEM: {"State": 1}},
        "/SIM/0": {"org.freedesktop.ModemManager1.Sim": {"Imsi": "1"}},
    }
    assert of_modems(objects) == {"wwan0": 62.0, "wwan1": 62.0}
    assert of_modems({}) == {}


async def test_both_together(tmp_path: Path) -> None:
    (tmp_path / "wireless").write_text(WIRELESS)
    found = Signals(tmp_path / "wireless", lambda: {"/0": {MODEM: modem(62, True, ("wwan0", 2))}})
    assert await found.look() == {"wlan0": 50.0, "wlan1": 100.0, "wwan0": 62.0}


async def test_without_either_nothing_is_known_and_it_is_tried_after_a_while(
    tmp_path: Path,
) -> None:
    now, asked = 0.0, 0

    def ask() -> Objects:
        nonlocal asked
        asked += 1
        raise OSError("no such name")

    signals = Signals(tmp_path / "none", ask, lambda: now)
    assert await signals.look() == {}
    now = module.AGAIN_S - 1.0
    assert await signals.look() == {}
    assert asked == 1
    now = module.AGAIN_S
    assert await signals.look() == {}
    assert asked == 2


async def test_a_modem_manager_that_hangs_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)
    ends = threading.Event()

    def hang() -> Objects:
        ends.wait(10.0)
        return {}

    try:
        assert await Signals(tmp_path / "none", hang).look() == {}
    finally:
        ends.set()


MODEM_MANAGER = """
from gi.repository import Gio, GLib
XML = '''<node><interface name="org.freedesktop.DBus.ObjectManager">
<method name="GetManagedObjects"><arg type="a{oa{sa{sv}}}" direction="out"/></method>
</interface></node>'''
def called(bus, sender, path, interface, method, arguments, invocation):
    modem = {"SignalQuality": GLib.Variant("(ub)", (62, True)),
             "Ports": GLib.Variant("a(su)", [("wwan0", 2), ("cdc-wdm0", 6)])}
    of_it = {"org.freedesktop.ModemManager1.Modem": modem}
    objects = {"/org/freedesktop/ModemManager1/Modem/0": of_it}
    invocation.return_value(GLib.Variant("(a{oa{sa{sv}}})", (objects,)))
bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
node = Gio.DBusNodeInfo.new_for_xml(XML)
bus.register_object("/org/freedesktop/ModemManager1", node.interfaces[0], called, None, None)
Gio.bus_own_name_on_connection(bus, "org.freedesktop.ModemManager1", 0,
                               lambda *_: print("ready", flush=True), None)
GLib.MainLoop().run()
"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A bus of one's own; the environment that leads there."""
    assert shutil.which("dbus-daemon"), "apt-get install dbus-daemon"
    address = f"unix:path={tmp_path / 'bus'}"
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", f"--address={address}", "--print-address", "--nofork"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert daemon.stdout is not None
        assert daemon.stdout.readline()
        yield {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address}
    finally:
        daemon.kill()
        daemon.communicate()


ASKS = """
import asyncio, json
from pathlib import Path
from strata.sender.signals import Signals
print(json.dumps(asyncio.run(Signals(Path("/none")).look())))
"""


def asked(environment: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", ASKS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.strip()


def test_modem_manager_is_asked_over_a_real_bus(bus: dict[str, str]) -> None:
    assert asked(bus) == "{}"  # it is not there
    manager = subprocess.Popen(
        [sys.executable, "-c", MODEM_MANAGER], env=bus, stdout=subprocess.PIPE, text=True
    )
    try:
        assert manager.stdout is not None
        assert manager.stdout.readline() == "ready\n"
        assert asked(bus) == '{"wwan0": 62.0}'
    finally:
        manager.kill()
        manager.communicate()


def test_without_a_bus_nothing_is_known() -> None:
    assert asked({**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere/bus"}) == "{}"
    assert asyncio.run(Signals(Path("/none"), dict).look()) == {}
