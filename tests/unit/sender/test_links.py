from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.sender.interfaces import Interface
from strata.sender.links import LINKS_MAX, Link, usable_links
from strata.sender.settings import Link as Named

A, B = "rist://192.0.2.1:15000", "rist://192.0.2.1:15002"
NAME = "rist://receiver.example:15000"


def up(name: str, *addresses: str, kind: str = "cellular", virtual: bool = False) -> Interface:
    return Interface(name, kind, True, addresses or ("198.51.100.7",), virtual)  # type: ignore[arg-type]


WWAN0, WWAN1, WLAN0 = up("wwan0", "10.0.0.1"), up("wwan1", "10.1.0.1"), up("wlan0", kind="wifi")
DOWN = Interface("eth0", "ethernet", False, ("10.2.0.1",))


def links(
    interfaces: Sequence[Interface], destinations: Sequence[str] = (A, B), *named: Named
) -> list[tuple[str, str | None, str | None, str]]:
    found = usable_links(named, interfaces, destinations)
    return [(each.id, each.interface, each.address, each.destination) for each in found]


def test_each_interface_of_hardware_that_is_up_is_a_link() -> None:
    assert links([WWAN1, DOWN, WWAN0, WLAN0]) == [
        ("wlan0", "wlan0", "198.51.100.7", A),
        ("wwan0", "wwan0", "10.0.0.1", B),
        ("wwan1", "wwan1", "10.1.0.1", A),
    ]


def test_what_is_made_of_software_is_a_link_only_where_it_is_named() -> None:
    veth = up("veth0", "10.3.0.1", kind="ethernet", virtual=True)
    tun = up("tun0", "10.4.0.1", kind="other", virtual=True)
    assert [each[0] for each in links([veth, tun, WWAN0])] == ["wwan0"]
    named = Named(interface="tun0")
    assert links([veth, tun, WWAN0], (A, B), named) == [("tun0", "tun0", "10.4.0.1", A)]


def test_where_there_is_no_other_the_routes_of_the_machine_decide() -> None:
    veth = up("eth0", "10.3.0.1", kind="ethernet", virtual=True)
    assert links([veth]) == [("default", None, None, A)]
    assert links([DOWN]) == []
    assert links([]) == []


def test_addresses_that_lead_nowhere_make_no_link() -> None:
    assert links([up("eth0", "169.254.3.4", "fe80::1"), up("eth1", "127.0.0.1")]) == []


def test_addresses_are_of_the_kind_of_the_receivers() -> None:
    both = up("wwan0", "2001:db8::1", "10.0.0.1")
    six = "rist://[2001:db8::9]:15000"
    assert links([both], (A,))[0][2] == "10.0.0.1"
    assert links([both], (six,))[0][2] == "2001:db8::1"
    assert links([both], (NAME,))[0][2] == "10.0.0.1"
    assert links([both], (A, six))[0][2] == "10.0.0.1"
    assert links([WWAN0], (six,)) == []
    assert links([up("wwan0", "2001:db8::1")], (NAME,))[0][2] == "2001:db8::1"


def test_named_links() -> None:
    left = Named(id="left", interface="wwan0")
    by_address = Named(address="10.1.0.1")
    both = Named(interface="wwan1", address="10.1.0.1")
    elsewhere = Named(interface="wwan0", address="10.1.0.1")
    gone = Named(interface="wwan9")
    assert links([WWAN0, WWAN1], (A, B), left, gone, by_address) == [
        ("left", "wwan0", "10.0.0.1", A),
        ("10.1.0.1", None, "10.1.0.1", B),
    ]
    assert links([WWAN0, WWAN1], (A,), both) == [("wwan1", "wwan1", "10.1.0.1", A)]
    assert links([WWAN0, WWAN1], (A,), elsewhere) == []
    assert links([up("wwan0", "169.254.1.1")], (A,), left) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_receivers_on_this_machine_have_one_link_each(host: str) -> None:
    here = [f"rist://{host}:{port}" for port in (15000, 15002)]
    wanted = [("1", None, None, here[0]), ("2", None, None, here[1])]
    assert links([], here) == wanted
    assert links([WWAN0, WWAN1, WLAN0], here, Named(interface="wwan0")) == wanted


def test_without_a_receiver_there_is_no_link() -> None:
    assert links([WWAN0], ()) == []


def test_a_link_that_stays_keeps_its_receiver() -> None:
    before = usable_links((), [WWAN0, WWAN1], (A, B))
    assert [each.destination for each in before] == [A, B]
    left = usable_links((), [WWAN1], (A, B), before)
    assert left == before[1:]
    back = usable_links((), [WLAN0, WWAN0, WWAN1], (A, B), left)
    assert {each.id: each.destination for each in back} == {"wlan0": A, "wwan0": A, "wwan1": B}
    moved = usable_links((), [WWAN0, WWAN1], (B, NAME), before)
    assert [each.destination for each in moved] == [NAME, B]


def test_a_link_with_another_address_is_another_link_of_the_same_id() -> None:
    [before] = usable_links((), [WWAN0], (A,))
    [now] = usable_links((), [up("wwan0", "10.9.0.1")], (A,), [before])
    assert now.id == before.id
    assert now != before


@given(st.integers(0, 40), st.integers(1, 32))
def test_there_are_only_so_many(count: int, receivers: int) -> None:
    destinations = [f"rist://192.0.2.1:{15000 + number}" for number in range(receivers)]
    interfaces = [up(f"wwan{number}") for number in range(count)]
    found = usable_links((), interfaces, destinations)
    assert len(found) == min(count, LINKS_MAX)
    for number, each in enumerate(found):
        assert each.destination == destinations[number % receivers]
    assert len(usable_links((), [], ["rist://127.0.0.1:1"] * 32)) == LINKS_MAX
    assert all(isinstance(each, Link) for each in found)
