from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control import addresses
from strata.control.addresses import check, file_url, is_public
from strata.errors import AddressRefused, BadUrl, OperatorError
from strata.settings import Forward
from strata.wire import forward_url

RULES = Forward(resolve_timeout_s=10.0)

PRIVATE_V4 = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",  # carrier-grade NAT
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",  # the cloud's metadata
    "172.16.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_V6 = [
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",  # the cloud's metadata
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "64:ff9b:1::1",
    "100::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2001:4860:4860::8888"]


@pytest.mark.parametrize("text", [*PRIVATE_V4, *PRIVATE_V6])
def test_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", [*PUBLIC, "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public(text: str) -> None:
    assert is_public(ip_address(text))


def wrapped(address: IPv4Address) -> dict[str, IPv6Address]:
    """Every way to write an IPv4 address as an IPv6 one that some machine understands."""
    number = int(address)
    return {
        "mapped": IPv6Address(0xFFFF << 32 | number),
        "compatible": IPv6Address(number),
        "6to4": IPv6Address(0x2002 << 112 | number << 80),
        "nat64": IPv6Address(0x0064_FF9B << 96 | number),
        "local nat64": IPv6Address(0x0064_FF9B_0001 << 80 | number),
        "teredo server": IPv6Address(0x2001_0000 << 96 | number << 64 | 0xF7F7_F7F7),
        "teredo client": IPv6Address(0x2001_0000 << 96 | 0x0808_0808 << 64 | number ^ 0xFFFF_FFFF),
        "isatap": IPv6Address(0xFE80 << 112 | 0x5EFE << 32 | number),
    }


@given(address=st.ip_addresses(v=4))
def test_no_private_address_hides_in_an_ipv6_one(address: IPv4Address) -> None:
    if not is_public(address):
        assert not [name for name, each in wrapped(address).items() if is_public(each)]


@pytest.mark.parametrize("text", PRIVATE_V4)
def test_no_known_private_address_hides_in_an_ipv6_one(text: str) -> None:
    found = wrapped(ip_address(text))  # type: ignore[arg-type]
    assert not [name for name, each in found.items() if is_public(each)]


@given(address=st.ip_addresses(v=6))
def test_only_what_is_given_out_for_the_internet_is_public(address: IPv6Address) -> None:
    if is_public(address):
        inner = address.ipv4_mapped
        assert address.is_global or (inner is not None and inner.is_global)
        assert not address.is_multicast


async def refused(url: str, folder: Path, rules: Forward = RULES) -> OperatorError:
    with pytest.raises((BadUrl, AddressRefused)) as raised:
        await asyncio.wait_for(check(url, rules, folder), 30.0)
    return raised.value


@pytest.mark.parametrize(
    "host",
    [
        *PRIVATE_V4,
        *(f"[{each}]" for each in PRIVATE_V6),
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:169.254.169.254]",
        "[fe80::1%25lo]",
        "2130706433",  # 127.0.0.1 in decimal
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "user:word@127.0.0.1",
    ],
)
async def test_a_host_inside_is_refused(host: str, tmp_path: Path) -> None:
    error = await refused(f"rtmp://{host}/live/stream-key", tmp_path)
    assert "stream-key" not in error.message
    assert "word" not in error.message


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1"])
async def test_the_refusal_says_where_it_leads_and_what_to_do(host: str, tmp_path: Path) -> None:
    error = await refused(f"rtmp://{host}/live/stream-key", tmp_path)
    assert type(error) is AddressRefused
    assert "not on the public internet" in error.message
    assert "STRATA_FORWARD__ALLOW_PRIVATE=true" in error.message
    assert "127.0.0.1" in error.message or "::1" in error.message


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700:4700::1111]", "[::ffff:8.8.8.8]"])
async def test_a_host_outside_is_let_through_as_it_was_given(host: str, tmp_path: Path) -> None:
    url = f"rtmp://{host}:1936/live/stream-key"
    assert await check(url, RULES, tmp_path) == url


def resolving_to(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    async def getaddrinfo(host: str, port: int, *, type: int) -> list[tuple[Any, ...]]:
        return [(0, type, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def test_one_private_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolving_to(monkeypatch, "8.8.8.8", "10.0.0.7", "192.168.0.1")
    error = await refused("rtmp://rebinding.example/live/key", tmp_path)
    assert "leads to 10.0.0.7, 192.168.0.1, which" in error.message


async def test_a_scope_does_not_hide_an_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolving_to(monkeypatch, "fe80::1%eth0")
    assert type(await refused("rtmp://scoped.example/live/key", tmp_path)) is AddressRefused


async def test_a_public_name_is_let_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolving_to(monkeypatch, "8.8.8.8", "2606:4700:4700::1111")
    url = "rtmp://live.example/app/key"
    assert await check(url, RULES, tmp_path) == url


@pytest.mark.parametrize("raised", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
async def test_a_name_that_does_not_resolve_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: Exception
) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    error = await refused("rtmp://nowhere.example/live/stream-key", tmp_path)
    assert type(error) is BadUrl
    assert error.message == (
        "the host of rtmp://nowhere.example/live/**** does not resolve; check its spelling"
    )


async def test_a_name_server_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        await asyncio.Future()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    rules = Forward(resolve_timeout_s=0.05)
    error = await refused("rtmp://slow.example/live/stream-key", tmp_path, rules)
    assert type(error) is BadUrl
    assert "did not resolve in 0 s" in error.message
    assert "stream-key" not in error.message


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "169.254.169.254"])
async def test_the_administrator_may_allow_them_all(host: str, tmp_path: Path) -> None:
    url = f"rtmp://{host}/live/key"
    assert await check(url, Forward(allow_private=True), tmp_path) == url


async def test_or_one_of_them_on_one_port(tmp_path: Path) -> None:
    rules = Forward(allow=("127.0.0.1:1936",))
    url = "rtmp://127.0.0.1:1936/live/demo"
    assert await check(url, rules, tmp_path) == url
    for other in ("rtmp://127.0.0.1/live/demo", "rtmp://127.0.0.2:1936/live/demo"):
        assert type(await refused(other, tmp_path, rules)) is AddressRefused


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no url",
        "rtmp://host",
        "rtmp:///live/key",
        "http:///x",
        "udp://host/x",
        "file:///x.avi",
        "srt://h",
    ],
)
async def test_what_is_no_forward_url_is_refused(url: str, tmp_path: Path) -> None:
    assert type(await refused(url, tmp_path, Forward(allow_private=True))) is BadUrl


# Files.


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "media"
    folder.mkdir(parents=True)
    return folder


async def test_a_relative_path_is_taken_from_the_media_folder(media: Path) -> None:
    assert await check("file:show.ts", RULES, media) == f"file://{media}/show.ts"
    assert await check("file:a/b/%Y.ts", RULES, media) == f"file://{media}/a/b/%Y.ts"


async def test_an_absolute_path_may_lie_in_the_media_folder(media: Path) -> None:
    url = f"file://{media}/show.ts"
    assert await check(url, RULES, media) == url
    assert await check(f"file://localhost{media}/show.ts", RULES, media)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/cron.d/x.ts",
        "file:///x.ts",
        "file:../x.ts",
        "file:a/../../x.ts",
        "file:a/../b.ts",
        "file:%2e%2e/x.ts",
        "file:..%2fx.ts",
        "file://{media}/../x.ts",
        "file://{media}2/x.ts",
        "file://{data}/x.ts",
        "file:////etc/x.ts",
    ],
)
@pytest.mark.parametrize("allow_private", [False, True])
async def test_a_path_outside_is_refused_whatever_is_allowed(
    url: str, media: Path, allow_private: bool
) -> None:
    full = url.format(media=media, data=media.parent)
    error = await refused(full, media, Forward(allow_private=allow_private))
    assert type(error) is AddressRefused
    assert f"what streams write lies in {media}; write file:name.ts" in error.message


@pytest.mark.parametrize("target", ["folder", "file", "nowhere yet"])
async def test_a_link_does_not_lead_out(target: str, media: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    if target == "file":
        outside.touch()
        (media / "x.ts").symlink_to(outside)
        url = "file:x.ts"
    else:
        if target == "folder":
            outside.mkdir()
        (media / "link").symlink_to(outside)
        url = "file:link/x.ts"
    assert type(await refused(url, media)) is AddressRefused


async def test_a_link_inside_is_followed(media: Path) -> None:
    (media / "there").mkdir()
    (media / "here").symlink_to(media / "there")
    assert await check("file:here/x.ts", RULES, media)


async def test_the_media_folder_itself_may_be_a_link(media: Path, tmp_path: Path) -> None:
    link = tmp_path / "media"
    link.symlink_to(media)
    assert await check("file:x.ts", RULES, link) == f"file://{link}/x.ts"


@pytest.mark.parametrize("name", ["my films", "100%20", "a#b", "a?b", "ä", "a&b;c"])
async def test_the_media_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    media = tmp_path / name
    media.mkdir()
    url = await check("file:show.ts", RULES, media)
    assert url == file_url(media, "show.ts")
    assert forward_url.parse(url).path == f"{media}/show.ts"


async def test_nothing_is_resolved_for_a_file(monkeypatch: pytest.MonkeyPatch, media: Path) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        raise AssertionError("a file has no host")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await check(f"file://localhost{media}/x.ts", RULES, media)


async def test_a_playlist_lies_in_the_media_folder_too(tmp_path: Path) -> None:
    rules = Forward()
    assert await check("hls:show", rules, tmp_path) == f"hls://{tmp_path}/show"
    inside = f"hls://{tmp_path}/show?target-duration=2"
    assert await check(inside, rules, tmp_path) == inside
    for outside in ("hls:///etc", "hls:../show", f"hls://{tmp_path}/../show"):
        with pytest.raises(AddressRefused, match="what streams write lies in"):
            await check(outside, rules, tmp_path)


async def test_callers_may_be_waited_for_on_ports_that_nobody_else_needs(tmp_path: Path) -> None:
    rules, senders = Forward(), range(15_000, 16_001)
    url = "srt://:9000?mode=listener&passphrase=correct-horse"
    assert await check(url, rules, tmp_path, senders) == url
    for port, kept_for in ((161, "the system"), (15_000, "senders"), (16_000, "senders")):
        with pytest.raises(AddressRefused, match=f"kept for {kept_for}"):
            await check(f"srt://:{port}", rules, tmp_path, senders)
    local = "srt://127.0.0.1:9000?mode=listener"
    with pytest.raises(AddressRefused, match="names an address of this machine"):
        await check(local, rules, tmp_path, senders)
    assert await check(local, Forward(allow_private=True), tmp_path, senders) == local


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_slate_that_is_on_or_off_is_no_file(tmp_path: Path, setting: str) -> None:
    assert addresses.slate(setting, tmp_path) == setting


def test_a_slate_of_the_operators_lies_in_the_media_folder(tmp_path: Path) -> None:
    assert addresses.slate("logo.png", tmp_path) == str(tmp_path / "logo.png")


@pytest.mark.parametrize("setting", ["/etc/passwd", "../logo.png", "a/../../logo.png"])
def test_a_slate_elsewhere_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(AddressRefused):
        addresses.slate(setting, tmp_path)
