from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from strata.sender import interfaces as module
from strata.sender import netlink
from strata.sender.interfaces import Interface, Watch, look

ADDRESSES = {2: ("192.0.2.1", "2001:db8::1"), 3: ("10.0.0.1",)}


class Tree:
    """A /sys/class/net of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 1

    def add(
        self,
        name: str,
        *,
        type: str = "1",
        state: str = "up",
        flags: str = "0x1043",
        uevent: str = "",
        driver: str | None = None,
        wireless: bool = False,
    ) -> None:
        self.count += 1
        folder = self.folder / name
        folder.mkdir()
        for file, text in (
            ("type", type),
            ("ifindex", str(self.count)),
            ("operstate", state),
            ("flags", flags),
            ("uevent", f"{uevent}\nINTERFACE={name}\nIFINDEX={self.count}"),
        ):
            (folder / file).write_text(f"{text}\n")
        if driver is not None:
            (folder / "device").mkdir()
            (folder / "device/uevent").write_text(f"DEVTYPE=usb_interface\nDRIVER={driver}\n")
        if wireless:
            (folder / "wireless").mkdir()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def seen(tree: Tree) -> list[Interface]:
    return look(tree.folder, lambda: ADDRESSES)


def test_what_is_plugged_in_is_told_by_its_kind(tree: Tree) -> None:
    tree.add("eth0", driver="r8169")
    tree.add("wwan0", type="65534", uevent="DEVTYPE=wwan", driver="qmi_wwan")
    tree.add("lo", type="772")
    tree.add("wlan0", uevent="DEVTYPE=wlan", driver="brcmfmac")
    tree.add("wlx0", wireless=True, driver="rtl8192cu")
    tree.add("enx0", driver="cdc_mbim")
    tree.add("usb0", driver="rndis_host")
    tree.add("rmnet0", type="519", driver="mhi_net")
    tree.add("ppp0", type="512", state="unknown")
    tree.add("wwan1", type="65534")
    tree.add("tun0", type="65534", state="unknown")
    tree.add("br0", uevent="DEVTYPE=bridge")
    tree.add("veth1")
    (tree.folder / "bonding_masters").touch()  # no interface
    assert [(each.name, each.kind, each.is_virtual) for each in seen(tree)] == [
        ("br0", "ethernet", True),
        ("enx0", "cellular", False),
        ("eth0", "ethernet", False),
        ("ppp0", "cellular", False),
        ("rmnet0", "cellular", False),
        ("tun0", "other", True),
        ("usb0", "cellular", False),
        ("veth1", "ethernet", True),
        ("wlan0", "wifi", False),
        ("wlx0", "wifi", False),
        ("wwan0", "cellular", False),
        ("wwan1", "cellular", False),
    ]


def test_addresses_are_those_of_its_number(tree: Tree) -> None:
    tree.add("eth0", driver="r8169")
    tree.add("eth1", driver="r8169")
    tree.add("eth2", driver="r8169")
    assert [each.addresses for each in seen(tree)] == [
        ("192.0.2.1", "2001:db8::1"),
        ("10.0.0.1",),
        (),
    ]


@pytest.mark.parametrize(
    ("state", "flags", "is_up"),
    [
        ("up", "0x1043", True),
        ("down", "0x1003", False),
        ("dormant", "0x1043", False),
        ("unknown", "0x10d1", True),  # as of a modem that passes packets on
        ("unknown", "0x1091", False),  # no carrier
        ("unknown", "", False),
    ],
)
def test_what_is_up(tree: Tree, state: str, flags: str, is_up: bool) -> None:
    tree.add("wwan0", state=state, flags=flags)
    assert seen(tree)[0].is_up is is_up


def test_one_that_goes_meanwhile_is_left_out(tree: Tree) -> None:
    tree.add("eth0", driver="r8169")
    (tree.folder / "wwan0").mkdir()
    assert [each.name for each in seen(tree)] == ["eth0"]


def test_where_nothing_can_be_looked_at_there_is_nothing(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    assert look(tree.folder / "nowhere", dict) == []

    def refuse() -> dict[int, tuple[str, ...]]:
        raise OSError("the kernel does not say")

    assert look(tree.folder, refuse) == []
    assert "the kernel does not say" in caplog.text


def test_this_machine_can_be_looked_at() -> None:
    assert "lo" not in [each.name for each in look()]


class FakeChanges:
    """Changes that the test makes."""

    made: FakeChanges

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        FakeChanges.made = self

    def fileno(self) -> int:
        return self._read

    def happen(self) -> None:
        os.write(self._write, b"x")

    def drain(self) -> None:
        os.read(self._read, 100)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


async def test_a_change_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(netlink, "Changes", FakeChanges)
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    caplog.set_level(logging.INFO)
    eth0 = Interface("eth0", "ethernet", True, ("10.0.0.1",))
    wwan0 = Interface("wwan0", "cellular", True)
    there = [eth0]
    looks: asyncio.Queue[None] = asyncio.Queue()

    def look_there() -> list[Interface]:
        looks.put_nowait(None)
        return list(there)

    watch = Watch(look_there)
    told: asyncio.Queue[list[Interface]] = asyncio.Queue()
    unlisten = watch.listen(lambda: told.put_nowait(watch.now))
    running = asyncio.create_task(watch.run())
    for _ in range(2):
        await asyncio.wait_for(looks.get(), 5.0)
    there.append(wwan0)
    FakeChanges.made.happen()
    FakeChanges.made.happen()
    assert await asyncio.wait_for(told.get(), 5.0) == [eth0, wwan0]
    assert "wwan0 (cellular) is up, -" in caplog.text
    looks.get_nowait()
    FakeChanges.made.happen()  # something that makes no difference
    await asyncio.wait_for(looks.get(), 5.0)
    assert told.empty()
    there[:] = [Interface("eth0", "ethernet", False)]
    FakeChanges.made.happen()
    assert await asyncio.wait_for(told.get(), 5.0) == there
    assert "wwan0 is gone; eth0 (ethernet) is down, -" in caplog.text
    unlisten()
    there.clear()
    while not looks.empty():
        looks.get_nowait()
    FakeChanges.made.happen()
    await asyncio.wait_for(looks.get(), 5.0)
    assert told.empty()
    assert watch.now == []
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_it_looks_again_even_where_nobody_says_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    monkeypatch.setattr(module, "LOOK_EACH_S", 0.01)
    looks: asyncio.Queue[None] = asyncio.Queue()

    def look_there() -> list[Interface]:
        looks.put_nowait(None)
        return []

    running = asyncio.create_task(Watch(look_there).run())
    for _ in range(4):
        await asyncio.wait_for(looks.get(), 5.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
