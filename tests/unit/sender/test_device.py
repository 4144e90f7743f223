from __future__ import annotations

import platform
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

import strata
from strata.secrets import Secret
from strata.sender import device
from strata.sender.interfaces import Interface
from strata.wire import agent as wire

WWAN0 = Interface("wwan0", "cellular", True, ("10.0.0.1",))
DOCKER0 = Interface("docker0", "ethernet", True, ("172.17.0.1",), is_virtual=True)
TUN0 = Interface("tun0", "other", True, (), is_virtual=True)


def test_it_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "box\n" + 300 * "x")
    found = device.login(Secret("once"), Secret("device"))
    assert (found.enrollment_token, found.device_token) == ("once", None)
    found = device.login(None, Secret("device"))
    assert (found.enrollment_token, found.device_token) == (None, "device")
    assert (found.agent_version, found.arch) == (strata.__version__, platform.machine())
    assert found.hostname == "box" + 250 * "x"
    assert wire.decode_from_agent(wire.encode(wire.frame("1", found), datetime.now(UTC)))


def test_interfaces_that_people_think_of() -> None:
    found = device.told([DOCKER0, TUN0, WWAN0], ["tun0", None], {"wwan0": 62.0, "wlan0": 1.0})
    assert found == [
        wire.NetworkInterface("tun0", "other", True, []),
        wire.NetworkInterface("wwan0", "cellular", True, ["10.0.0.1"], 62.0),
    ]
    assert [each.name for each in device.told([DOCKER0, TUN0], [], {})] == ["docker0", "tun0"]


def test_many_interfaces_fit_a_message() -> None:
    many = [
        Interface(
            f"wwan{number:011}", "cellular", True, ("2001:db8:1111:2222:3333:4444:5555:6666",) * 50
        )
        for number in range(100)
    ]
    status = wire.Status(network_interfaces=device.told(many, [], {}))
    text = wire.encode(wire.frame("1", status), datetime.now(UTC))
    assert len(text) < wire.MAX_FRAME_BYTES / 2
    assert wire.decode_from_agent(text)


def test_how_long_it_runs() -> None:
    assert 0.0 < device.uptime_s() <= device.uptime_s()


def test_how_busy_it_was_since_the_last_look(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n")
    processor = device.Processor(stat)
    assert processor.percent() is None  # no time has passed
    stat.write_text("cpu  130 0 120 740 110 0 0 0 0 0\n")
    assert processor.percent() == 50.0
    stat.write_text("broken\n")
    assert processor.percent() is None
    stat.write_text("cpu  230 0 120 740 110 0 0 0 0 0\n")
    assert processor.percent() is None
    stat.write_text("cpu  330 0 120 740 110 0 0 0 0 0\n")
    assert processor.percent() == 100.0
    assert device.Processor(tmp_path / "none").percent() is None


def test_this_machine_tells() -> None:
    found = device.Processor()._read()
    assert found is not None
    assert 0 < found[0] < found[1]
