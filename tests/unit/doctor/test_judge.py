from __future__ import annotations

import pytest

from strata.doctor import judge
from strata.doctor.finding import Finding
from strata.doctor.judge import Parts

RTMP = {"rtmp2sink": {"package": "gstreamer1.0-plugins-bad", "needed": True}}
TEXT = {"textoverlay": {"package": "gstreamer1.0-x", "needed": False}}


def levels(*found: Finding) -> list[tuple[str, str]]:
    return [(each.name, each.level) for each in found]


def parts(missing: dict[str, object]) -> Parts:
    return Parts({"gstreamer": "1.22.0", "librist": "0.2.7", "missing": missing})


def test_media_that_is_whole() -> None:
    [found] = judge.media(parts({}))
    assert found == Finding("media", "ok", "GStreamer 1.22.0 and librist 0.2.7 load")


def test_media_that_does_not_load() -> None:
    [found] = judge.media(Parts(None, "the librist binding cannot be loaded"))
    assert (found.level, found.mend) == ("error", "script/bootstrap")
    assert found.text == "the librist binding cannot be loaded"


def test_elements_that_are_missing_are_named_with_their_packages() -> None:
    _, needed, slates = judge.media(parts({**RTMP, **TEXT}))
    assert levels(needed, slates) == [("elements", "error"), ("slates", "warning")]
    assert "rtmp2sink" in needed.text
    assert "textoverlay" not in needed.text
    assert needed.mend == "apt-get install gstreamer1.0-plugins-bad"
    assert slates.mend == "apt-get install gstreamer1.0-x"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (judge.fonts(0), "warning"),
        (judge.fonts(1), "ok"),
        (judge.buffers("rmem_max", 212_992), "warning"),
        (judge.buffers("rmem_max", 1_048_576), "ok"),
        (judge.open_files(1024), "warning"),
        (judge.open_files(4096), "ok"),
        (judge.open_files(-1), "ok"),
        (judge.clock(True), "ok"),
        (judge.clock(False), "warning"),
        (judge.clock(None), "warning"),
        (judge.disk(1023.0, 1024.0, "/d"), "error"),
        (judge.disk(1024.0, 1024.0, "/d"), "warning"),
        (judge.disk(10_240.0, 1024.0, "/d"), "ok"),
        (judge.data_folder("/d", "", [], "strata"), "ok"),
        (judge.data_folder("/d", "root may not write", [], "strata"), "error"),
        (judge.data_folder("/d", "", ["logs"], "strata"), "error"),
        (judge.database("SQLite", ""), "ok"),
        (judge.database("SQLite", "disk I/O error"), "error"),
        (judge.public_host("127.0.0.1"), "warning"),
        (judge.public_host("live.example.org"), "ok"),
        (judge.ports("1-4", 4, []), "ok"),
        (judge.ports("1-4", 4, [1, 2]), "warning"),
        (judge.ports("1-4", 4, [1, 2, 3]), "error"),
        (judge.sockets("/run/strata", ""), "ok"),
        (judge.sockets("/run/strata", "nobody may write to /run"), "error"),
    ],
)
def test_one_thing(found: Finding, wanted: str) -> None:
    assert found.level == wanted
    if wanted == "ok":
        assert not found.mend


def test_a_clock_that_does_not_keep_up_is_mended() -> None:
    assert "timedatectl" in judge.clock(False).mend


def test_a_mend_of_a_kernel_setting_names_it() -> None:
    assert "net.core.wmem_max=4194304" in judge.buffers("wmem_max", 1).mend


def test_many_ports_are_not_all_named() -> None:
    assert "(1, 2, 3, 4, ...)" in judge.ports("1-9", 9, [1, 2, 3, 4, 5]).text
    assert "(1, 2)" in judge.ports("1-9", 9, [1, 2]).text


@pytest.mark.parametrize(
    ("has_database", "has_key", "wanted"),
    [(True, True, 0), (False, False, 0), (False, True, 0), (True, False, 1)],
)
def test_a_database_without_its_key(has_database: bool, has_key: bool, wanted: int) -> None:
    found = judge.seal(has_database, has_key, "/d/seal.key")
    assert levels(*found) == [("seal", "error")] * wanted


@pytest.mark.parametrize(
    ("state", "is_loopback", "wanted"),
    [
        ("free", True, [("api", "ok")]),
        ("ours", True, [("api", "ok")]),
        ("Address already in use", True, [("api", "error")]),
        ("ours", False, [("api", "ok"), ("tls", "warning")]),
    ],
)
def test_the_address_of_the_api(
    state: str, is_loopback: bool, wanted: list[tuple[str, str]]
) -> None:
    found = judge.listening("127.0.0.1:8080", state, is_loopback=is_loopback)
    assert levels(*found) == wanted


def test_a_host_that_runs_tells_itself() -> None:
    found = judge.host(3, 900, "systemd scopes", [])
    assert levels(*found) == [("host", "ok"), ("limits", "ok")]
    assert "3 streams" in found[0].text
    assert "systemd scopes" in found[1].text
    assert levels(*judge.host(3, 1, "x", []))[-1] == ("ports", "error")


@pytest.mark.parametrize(
    ("warning", "mend"),
    [
        ("...: nft is not installed; apt-get install nftables", "apt-get install nftables"),
        ("workers are not limited: limits.enforce is false", "limits.enforce = true"),
        ("workers are not limited in CPU", "script/install"),
    ],
)
def test_what_holds_no_worker_has_its_own_mend(warning: str, mend: str) -> None:
    [found] = judge.rules("nothing", ["", warning])
    assert (found.level, found.text) == ("warning", warning)
    assert mend in found.mend


def test_a_firewall() -> None:
    [unknown] = judge.firewall(None, "15000-16000")
    [none] = judge.firewall([], "15000-16000")
    [drops] = judge.firewall(["inet filter input"], "15000-16000")
    assert [each.level for each in (unknown, none, drops)] == ["ok", "ok", "warning"]
    assert "ufw allow 15000:16000/udp" in drops.mend
