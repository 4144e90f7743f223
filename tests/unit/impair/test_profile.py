"""Profiles in TOML, and links as they are written on a command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from strata.errors import BadArguments
from strata.impair import profile
from strata.impair.address import Address
from strata.impair.path import LIMITS, PERFECT, Impairment, Outage
from strata.impair.profile import Link, Phase, Profile

LINK = '[[link]]\nlisten = "127.0.0.1:16000"\nto = "127.0.0.1:15000"\n'
HERE, THERE = Address("127.0.0.1", 16000), Address("127.0.0.1", 15000)
BAD_DAY = Path(__file__).parents[3] / "deploy" / "bad-day.toml"


def refusal(text: str) -> str:
    with pytest.raises(BadArguments) as refused:
        profile.parse(text)
    return refused.value.message


def test_the_least_profile_changes_nothing() -> None:
    assert profile.parse(LINK) == Profile((Link(HERE, THERE),), 0, None)


def test_everything_that_a_profile_can_hold() -> None:
    text = f"""
        seed = 7
        duration_s = 90
        {LINK}
        loss-percent = 10
        delay_ms = 40.5
        [[link.outage]]
        begin-s = 10
        end-s = 12
        every-s = 60
        direction = "return"
        [[link.outage]]
        begin-s = 1
        end-s = 2
        [[link.phase]]
        at-s = 30
        delay-ms = 0
        [[link.phase]]
        at-s = 20
        loss-percent = 0
        rate-kbps = 2500
        [[link.rebind]]
        at-s = 50
        [[link.rebind]]
        at-s = 25
        [[link]]
        listen = "[::1]:16002"
        to = "receiver.example.org:15002"
    """
    first = Link(
        HERE,
        THERE,
        Impairment(loss_percent=10, delay_ms=40.5),
        (Outage(10, 12, "return", 60), Outage(1, 2)),
        (
            Phase(20, Impairment(delay_ms=40.5, rate_kbps=2500)),
            Phase(30, Impairment(rate_kbps=2500)),
        ),
        (25, 50),
    )
    second = Link(Address("::1", 16002), Address("receiver.example.org", 15002))
    assert profile.parse(text) == Profile((first, second), 7, 90)


@pytest.mark.parametrize("name", LIMITS)
def test_every_setting_has_its_key_and_its_limits(name: str) -> None:
    key = name.replace("_", "-")
    least, most = LIMITS[name]
    [link] = profile.parse(f"{LINK}{key} = {most}").links
    assert getattr(link.impairment, name) == most
    assert refusal(f"{LINK}{key} = {most + 1}") == (
        f"link 1: {key} is {most + 1:g}; it must be {least:g} to {most:,.0f}"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no link; write [[link]] with listen and to"),
        ("seed = ", "this is no TOML: Invalid value"),
        (f"sed = 7\n{LINK}", "the profile: there is no key 'sed'; there are: seed, duration-s, "),
        (f"seed = -7\n{LINK}", "the profile: seed is -7; it must be a whole number, 0 or more"),
        (f"seed = 1.5\n{LINK}", "the profile: seed is 1.5; it must be a whole number"),
        (f"seed = true\n{LINK}", "the profile: seed is True; it must be a whole number"),
        (f"duration-s = 0\n{LINK}", "the profile: duration-s is 0; it must be more than 0"),
        (f"duration-s = inf\n{LINK}", "duration-s is inf; it must be more than 0"),
        (f'duration-s = "1"\n{LINK}', "duration-s is '1'; it must be a number"),
        (f"duration-s = 1\nduration_s = 1\n{LINK}", "the profile: duration-s is given twice"),
        ("link = 3", "the profile: link is 3; it must be written as [[link]]"),
        ("link = [3]", "link 1 is 3; it must be a table"),
        ('[[link]]\nto = "h:1"', "link 1: listen is missing; it must be an address with a port"),
        (f"{LINK}[[link]]\nlisten = 5", "link 2: listen is 5; it must be an address with a port"),
        (f'{LINK}[[link]]\nlisten = "h"', "link 2: listen: 'h' is no address with a UDP port"),
        (LINK + LINK, "link 2: listen is '127.0.0.1:16000', where link 1 listens"),
        (f"{LINK}loss = 1", "link 1: there is no key 'loss'; there are: listen, to, loss-percent"),
        (f'{LINK}loss-percent = "1"', "link 1: loss-percent is '1'; it must be a number"),
        (f"{LINK}loss-percent = true", "link 1: loss-percent is True; it must be a number"),
        (f"{LINK}loss-percent = nan", "link 1: loss-percent is nan; it must be 0 to 100"),
        (f"{LINK}outage = 1", "link 1: outage is 1; it must be written as [[link.outage]]"),
        (f"{LINK}[[link.outage]]", "link 1, outage 1: begin-s is missing; it must be a number"),
        (
            f"{LINK}[[link.outage]]\nbegin-s = -1",
            "link 1, outage 1: begin-s is -1; it must be 0 or more",
        ),
        (
            f"{LINK}[[link.outage]]\nbegin-s = 2\nend-s = 1",
            "link 1, outage 1: end-s is 1; it must be after begin-s, which is 2",
        ),
        (
            f"{LINK}[[link.outage]]\nbegin-s = 1\nend-s = 3\nevery-s = 2",
            "link 1, outage 1: every-s is 2; it must be more than the outage is long, which is 2",
        ),
        (
            f'{LINK}[[link.outage]]\nbegin-s = 1\nend-s = 2\ndirection = "up"',
            "link 1, outage 1: direction is 'up'; it must be one of both, forward, return",
        ),
        (
            f"{LINK}[[link.outage]]\nat-s = 1",
            "link 1, outage 1: there is no key 'at-s'; there are: begin-s, end-s, every-s, ",
        ),
        (f"{LINK}[[link.phase]]\nat-s = nan", "link 1, phase 1: at-s is nan; it must be 0 or more"),
        (
            f"{LINK}[[link.phase]]\nat-s = 1\n[[link.phase]]\nat-s = 2\nqueue-ms = -1",
            "link 1, phase 2: queue-ms is -1; it must be 0 to 60,000",
        ),
        (f"{LINK}[[link.rebind]]", "link 1, rebind 1: at-s is missing; it must be a number"),
    ],
)
def test_what_cannot_be_names_link_key_and_what_is_allowed(text: str, words: str) -> None:
    said = refusal(text)
    assert said.startswith(words) or (not words.startswith(("link", "the")) and words in said)
    assert "\n" not in said


def test_a_link_of_a_command_line() -> None:
    link = profile.link_of(
        "16000=127.0.0.1:15000,loss=10,burst-loss=1,burst=300,delay=40,jitter=60,reorder=2,"
        "reorder_ms=30,duplicate=3,rate=2500,queue-ms=400"
    )
    impairment = Impairment(10, 1, 300, 40, 60, 2, 30, 3, 2500, 400)
    assert link == Link(HERE, THERE, impairment)


def test_a_link_of_a_command_line_may_have_no_settings() -> None:
    link = profile.link_of("[::1]:16000=[::1]:15000")
    assert link == Link(Address("::1", 16000), Address("::1", 15000), PERFECT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "link '': write LISTEN=TO, like 16000=127.0.0.1:15000,loss=10"),
        ("16000", "link '16000': write LISTEN=TO"),
        ("16000=", "link '16000=': write LISTEN=TO"),
        ("=15000", "link '=15000': listen: '' is no address with a UDP port"),
        ("1=h:x", "link '1=h:x': to: 'h:x' is no address with a UDP port"),
        ("1=2,los=1", "there is no setting 'los'; there are: loss, burst-loss, burst, delay, "),
        ("1=2,listen=1", "there is no setting 'listen'"),
        ("1=2,", "there is no setting ''"),
        ("1=2,loss", "loss-percent is ''; it must be a number"),
        ("1=2,loss=much", "loss-percent is 'much'; it must be a number"),
        ("1=2,loss=1,loss-percent=1", "loss-percent is given twice"),
        ("1=2,loss=nan", "loss-percent is nan; it must be 0 to 100"),
        ("1=2,rate=-1", "rate-kbps is -1; it must be 0 to 10,000,000"),
    ],
)
def test_a_link_that_cannot_be_is_told(text: str, words: str) -> None:
    with pytest.raises(BadArguments) as refused:
        profile.link_of(text)
    assert refused.value.message.startswith(f"link {text!r}: ")
    assert words in refused.value.message


def test_the_example_uses_everything_and_can_be_used() -> None:
    bad_day = profile.parse(BAD_DAY.read_text())
    assert [link.to.port for link in bad_day.links] == [15000, 15002]
    assert [link.listen.port for link in bad_day.links] == [16000, 16002]
    assert bad_day.duration_s is None
    for field in ("outages", "phases", "rebinds_s"):
        assert any(getattr(link, field) for link in bad_day.links), field
    shown = [
        each
        for link in bad_day.links
        for each in (link.impairment, *(phase.impairment for phase in link.phases))
    ]
    for name in LIMITS:
        assert any(getattr(one, name) != getattr(PERFECT, name) for one in shown), name


TRACE = "at-s,rate-kbps,loss-percent\n0,5000,0\n1.5,800,2.5\n"


def test_a_trace_is_phases() -> None:
    found = profile.parse(
        f'{LINK}trace = "drive.csv"\ndelay-ms = 30\n', read_trace={"drive.csv": TRACE}.__getitem__
    )
    assert found.links[0].phases == (
        Phase(0.0, Impairment(delay_ms=30, rate_kbps=5000)),
        Phase(1.5, Impairment(delay_ms=30, rate_kbps=800, loss_percent=2.5)),
    )


@pytest.mark.parametrize(
    ("trace", "told"),
    [
        ("", "it holds nothing"),
        ("at-s,rate-kbps\n", "it holds nothing"),
        ("at-s,rate-kbps\n0,fast\n", "line 2: rate-kbps is 'fast'; it must be a number"),
        ("at-s,rate-kbps\n0,1\n1\n", "line 3: rate-kbps is None; it must be a number"),
        ("at-s,speed\n0,1\n", "there is no key 'speed'"),
        ("at-s,rate-kbps\n-1,1\n", "at-s is -1.0; it must be 0 or more"),
        ("at-s,loss-percent\n0,101\n", "loss-percent is 101"),
        ('at-s,rate-kbps\n0,"1\n', "this is no CSV"),
    ],
)
def test_a_trace_that_cannot_be_followed_says_where(trace: str, told: str) -> None:
    with pytest.raises(BadArguments) as refused:
        profile.parse(f'{LINK}trace = "x.csv"\n', read_trace=lambda name: trace)
    assert told in refused.value.message
    assert "link 1" in refused.value.message


def test_a_trace_beside_phases_is_one_too_many() -> None:
    text = f'{LINK}trace = "x.csv"\n[[link.phase]]\nat-s = 1\n'
    with pytest.raises(BadArguments, match="either a trace or phases"):
        profile.parse(text, read_trace=lambda name: TRACE)


def test_where_a_link_leads_may_be_said_later() -> None:
    found = profile.parse("[[link]]\ndelay-ms = 10\n[[link]]\n", is_placed=False)
    assert [link.listen.port for link in found.links] == [0, 0]
    assert "listen is missing" in refusal("[[link]]\ndelay-ms = 10\n")
