from __future__ import annotations

from typing import Any

import pytest

from strata.rist import LinkCounters
from strata.worker.links import FORGET_S, Code, LinkFacts, LinkWatch, State, judge

NOW_S = 1000.0


def facts(
    age_s: float | None = 0.0,
    *,
    is_known: bool = True,
    connected_s: float | None = 60.0,
    brings_copies: bool = False,
    hears_us: bool | None = None,
    others_carry: bool = True,
) -> LinkFacts:
    return LinkFacts(is_known, connected_s, age_s, brings_copies, hears_us, others_carry)


@pytest.mark.parametrize(
    ("given", "state", "code", "says"),
    [
        (facts(), "up", None, None),
        (facts(1.0, hears_us=True, others_carry=False), "up", None, None),
        (facts(None, is_known=False, connected_s=None), "down", None, "no sender has been seen"),
        (facts(1.1), "silent", None, "while other links carry it"),
        (facts(5.0, connected_s=None), "silent", None, "while other links carry it"),
        (facts(5.1, connected_s=None), "down", "link_down", "nothing arrives here any more"),
        (facts(5.1), "down", None, "while other links carry it"),
        (facts(6.1), "down", "return_path_dead", "most likely nothing that we send back"),
        (facts(60.0, connected_s=1.0), "down", None, "while other links carry it"),
        (facts(None, connected_s=6.0), "down", None, "while other links carry it"),
        (facts(None, brings_copies=True), "up", None, None),
        (facts(9.0, connected_s=None, brings_copies=True), "down", "link_down", "nothing arrives"),
        (facts(None, brings_copies=True, hears_us=False), "down", "return_path_dead", "media arr"),
        (facts(None), "down", "return_path_dead", "most likely nothing that we send back"),
        (facts(6.1, hears_us=True), "down", "link_down", "hears us"),
        (facts(2.0, others_carry=False), "silent", None, "no media on any link"),
        (facts(99.0, others_carry=False), "down", None, "no media on any link"),
        (facts(hears_us=False), "down", "return_path_dead", "media arrives, but nothing that"),
        (facts(3.0, hears_us=False), "down", "return_path_dead", "the sender is connected here, "),
        (facts(hears_us=False, others_carry=False), "down", "return_path_dead", "swallowed"),
        (facts(9.0, connected_s=None, hears_us=False), "down", "link_down", "nothing arrives"),
    ],
)
def test_what_is_made_of_the_facts(
    given: LinkFacts, state: State, code: Code | None, says: str | None
) -> None:
    verdict = judge(given)
    assert (verdict.state, verdict.code) == (state, code)
    assert verdict.reason is None if says is None else says in (verdict.reason or "")


def link(port: int, age_s: float | None = 0.0, now_s: float = NOW_S, **more: Any) -> LinkCounters:
    at_ns = 0 if age_s is None else int((now_s - age_s) * 1e9)
    fields = {"peer": "10.0.0.1", "peer_id": port, "packets": 1, "bytes": 188, "connected_ns": 1}
    return LinkCounters(port=port, last_packet_ns=at_ns, **fields | more)


def report(port: int, received: int, rtt: int, data: int = 0) -> dict[str, Any]:
    stats = {"received_data": data, "received_rtcp": received, "rtt": rtt, "avg_rtt": 40}
    return {"stats": {"avg_buffer_time": 1000}, "peers": [{"id": port, "stats": stats}]}


def state(watch: LinkWatch, *links: LinkCounters, now_s: float = NOW_S) -> tuple[Any, ...]:
    found = watch.verdicts(links, now_s)[0]
    return found.state, found.code


def told(watch: LinkWatch, *links: LinkCounters, now_s: float = NOW_S) -> list[str]:
    return [error.code for error in watch.changes(links, now_s)]


def watch_of(*reports: tuple[int, int], every_s: float = 10.0) -> LinkWatch:
    """After reports of port 1, as (control packets, round trip); the last came at NOW_S."""
    watch = LinkWatch()
    for index, (received, rtt) in enumerate(reports):
        watch.add_report(report(1, received, rtt), NOW_S - every_s * (len(reports) - 1 - index))
    return watch


@pytest.mark.parametrize(
    ("reports", "is_dead"),
    [
        ([], False),
        ([(20, 41)], False),
        ([(20, 41), (200, 42), (200, 40)], False),
        ([(20, 41), (200, 41), (200, 41)], False),  # an even round trip, but as many answers
        ([(20, 41), (200, 42), (150, 40), (100, 40)], True),
        ([(20, 41), (200, 42), (150, 40), (75, 40)], True),
        ([(20, 41), (200, 42), (100, 39)], False),  # few, but the round trip moves
        ([(20, 41), (200, 42), (0, 42)], False),  # cut in both directions
        ([(20, 41), (100, 41), (100, 41)], False),  # that sender never sent more
    ],
)
def test_a_link_with_media_whose_sender_answers_no_more(
    reports: list[tuple[int, int]], is_dead: bool
) -> None:
    expected = ("down", "return_path_dead") if is_dead else ("up", None)
    assert state(watch_of(*reports), link(1), link(2)) == expected


@pytest.mark.parametrize("every_s", [0.0, 1.0, 60.0])
def test_reports_that_do_not_say_how_long_they_are_about_prove_nothing(every_s: float) -> None:
    watch = watch_of((20, 41), (200, 42), (100, 42), every_s=every_s)
    assert state(watch, link(1), link(2)) == ("up", None)


def test_a_link_to_which_the_media_comes_back_is_up_before_the_next_report() -> None:
    watch = watch_of((20, 41), (200, 42), (100, 42))
    assert state(watch, link(1), link(2)) == ("down", "return_path_dead")
    assert state(watch, link(1, 2.0), link(2)) == ("down", "return_path_dead")
    assert state(watch, link(1), link(2)) == ("up", None)


def test_answers_from_before_the_silence_do_not_count() -> None:
    watch = watch_of((20, 41), (200, 42), (150, 44))
    assert state(watch, link(1, 7.0), link(2)) == ("down", "return_path_dead")
    watch.add_report(report(1, 200, 43), NOW_S + 10.0)
    later = NOW_S + 10.0
    links = link(1, 17.0, later), link(2, 0.0, later)
    assert state(watch, *links, now_s=later) == ("down", "link_down")


def test_a_link_that_brings_what_came_before_on_another_is_up() -> None:
    watch = LinkWatch()
    second = link(1, None), link(2)
    watch.add_report(report(1, 20, 41, data=200), NOW_S - 1.0)
    assert state(watch, *second) == ("down", "return_path_dead")
    watch.add_report(report(1, 20, 42, data=200), NOW_S)
    assert state(watch, *second) == ("up", None)
    assert state(watch, link(1, 0.5), link(2)) == ("up", None)
    # It was the first to bring something after that report began.
    later_s = NOW_S + 8.0
    assert state(watch, link(1, 8.5, later_s), link(2, 0.0, later_s), now_s=later_s) == (
        "down",
        "return_path_dead",
    )
    watch.add_report(report(1, 100, 43), NOW_S + 10.0)
    assert state(watch, *second) == ("down", "link_down")


@pytest.mark.parametrize(("connected_s", "code"), [(6.9, None), (7.1, "return_path_dead")])
def test_the_first_media_of_a_sender_waits_in_the_buffer(
    connected_s: float, code: Code | None
) -> None:
    returned = link(1, 30.0, connected_ns=int((NOW_S - connected_s) * 1e9))
    assert state(watch_of((20, 41)), returned, link(2)) == ("down", code)


def test_what_became_wrong_is_told_once() -> None:
    watch = LinkWatch()
    assert told(watch, link(1), link(2)) == []
    assert told(watch, link(1, 3.0), link(2)) == []
    gone = link(1, 6.0, connected_ns=0)
    [error] = watch.changes((gone, link(2)), NOW_S)
    assert (error.code, error.message[:31]) == ("link_down", "link on port 1 from 10.0.0.1: n")
    assert told(watch, gone, link(2)) == []
    assert told(watch, gone, link(2, 2.0)) == []  # all are silent: another event says so
    assert told(watch, gone, link(2)) == []
    assert told(watch, link(1, 7.0), link(2)) == ["return_path_dead"]
    assert told(watch, link(1), link(2)) == []
    assert told(watch, gone, link(2)) == ["link_down"]


def test_a_port_that_nobody_uses_is_no_trouble() -> None:
    unused = link(1, None, peer=None, peer_id=0, connected_ns=0)
    assert told(LinkWatch(), unused, link(2)) == []


def test_peers_that_are_gone_are_forgotten() -> None:
    watch = watch_of((20, 41), (200, 42), (100, 42))
    watch.add_report(report(2, 200, 42), NOW_S + FORGET_S + 1.0)
    assert state(watch, link(1), link(2)) == ("up", None)
