"""The forwards of a stream and their changes, with destinations made by hand, in virtual
time."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from strata.errors import (
    BadUrl,
    Conflict,
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    NotFound,
    OverCap,
    StrataError,
    UnsupportedMedia,
)
from strata.wire import forward_url
from strata.wire import worker as wire
from strata.wire.forward_url import ForwardUrl
from strata.worker import cap as cap_module
from strata.worker import forward as forward_module
from strata.worker import forwards as forwards_module
from strata.worker import hub as hub_module
from strata.worker.cap import FADE_S
from strata.worker.config import FORWARDS_MAX
from strata.worker.egress import SETTLED_AFTER_S
from strata.worker.formats import Program
from strata.worker.forward import Forward
from strata.worker.forwards import PROOF_S, TICK_S, Forwards, require
from strata.worker.hub import Hub
from strata.worker.output import Feed
from strata.worker.units import AccessUnit
from support.virtual_time import Clock, in_virtual_time
from unit.worker import fakes
from unit.worker.fakes import AUDIO, PACKET, FakeOutput, unit

KEY = "abcd-efgh-1234"
PROGRAM = Program(None, None)
UNIT = unit(AUDIO)

STREAM_KBPS = 1000
"""What the stream brings, in units and in packets alike."""


class Willing(FakeOutput):
    """Takes what it is given, unless its host is one that does not."""

    silent: ClassVar[set[str]] = set()
    refusing: ClassVar[dict[str, StrataError]] = {}

    async def start(self) -> None:
        await super().start()
        error = self.refusing.get(self.url.host or "")
        if error is not None:
            self.on_end(error)

    def push(self, *units: AccessUnit) -> None:
        super().push(*units)
        if self.url.host not in self.silent:
            self.taken += sum(unit.size for unit in units)


class Rigid(Willing):
    FEED: ClassVar[Feed] = "packets"
    RIGID: ClassVar[bool] = True

    def push_packets(self, packets: Any) -> None:
        super().push_packets(packets)
        self.taken += len(packets.data)


class Local(Willing):
    NETWORKED: ClassVar[bool] = False


KINDS: dict[str, type[FakeOutput]] = {"rtmp": Willing, "srt": Rigid, "file": Local}


def to(host: str) -> ForwardUrl:
    return forward_url.parse(f"rtmp://{host}/app/{KEY}")


SRT = forward_url.parse("srt://host:9000")
OTHER_SRT = forward_url.parse("srt://host:9001")
FILE = forward_url.parse("file:///media/name.ts")


class Case:
    """The forwards of one stream, and what was told of them."""

    def __init__(self, *urls: ForwardUrl, cap_kbps: int = 0) -> None:
        self.hub = Hub()
        self.told: list[wire.Event] = []
        self.flowing = False
        self.forwards = Forwards(self.hub, cap_kbps, self.told.append, lambda feed: self.flowing)
        self._feeding: asyncio.Task[None] | None = None
        self.forwards.start(urls)

    @property
    def ids(self) -> list[str]:
        return [forward.id for forward in self.forwards.all]

    def feed(self) -> None:
        """Lets media come in from now on."""
        self.hub.flow.open(PROGRAM)
        self.flowing = True
        self._feeding = asyncio.create_task(self._feed())

    async def _feed(self) -> None:
        for number in range(1_000_000):
            self.hub.measure(number / 10, STREAM_KBPS * 1000 // 80, STREAM_KBPS * 1000 // 80)
            self.hub.push([UNIT])
            self.hub.push_packets(PACKET)
            await asyncio.sleep(0.1)

    async def live(self, *ids: str) -> None:
        """Until these are on the air."""
        async with asyncio.timeout(60.0):
            while any(self[id].state != "live" for id in ids):
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Until the stream's rate is known well enough, and has been acted upon."""
        async with asyncio.timeout(60.0):
            while not self.hub.units_rate.is_settled:
                await asyncio.sleep(0.1)
        await asyncio.sleep(2 * TICK_S)

    async def end(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
        await self.forwards.stop()

    def __getitem__(self, id: str) -> Forward:
        return next(forward for forward in self.forwards.all if forward.id == id)

    @property
    def shown(self) -> list[tuple[str, str, str]]:
        """All forwards: id, URL and state."""
        return [(each.id, each.url.shown, each.state) for each in self.forwards.all]

    def states(self, id: str) -> list[tuple[str, str]]:
        """What was told of one: host and state."""
        return [
            (event.url.split("/")[2], event.state)
            for event in self.told
            if isinstance(event, wire.Forward) and event.forward == id
        ]

    def errors(self, id: str) -> list[str]:
        return [
            event.code
            for event in self.told
            if isinstance(event, wire.Error) and event.forward == id
        ]


def output_to(host: str) -> FakeOutput:
    """The latest one."""
    return [output for output in FakeOutput.made if output.url.host == host][-1]


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.install_output(monkeypatch, lambda url: KINDS[url.kind])
    monkeypatch.setattr(Willing, "silent", set())
    monkeypatch.setattr(Willing, "refusing", {})
    for module in (forward_module, forwards_module, cap_module, hub_module):
        monkeypatch.setattr(module, "time", Clock)


def test_two_forwards_cannot_lead_to_one_place() -> None:
    with pytest.raises(Conflict, match=r"two forwards lead to rtmp://one/app/\*\*\*\*"):
        require([to("one"), FILE, to("one")])
    require([to("one"), to("two"), FILE, FILE])


def test_what_cannot_work_is_known_before_there_is_media() -> None:
    FakeOutput.prepare_error = BadUrl("no such folder")
    with pytest.raises(BadUrl, match="no such folder"):
        require([to("one")])


@in_virtual_time
async def test_they_begin_in_order_and_end_together() -> None:
    case = Case(to("one"), to("two"), FILE)
    assert [each.id for each in case.forwards.all] == ["fwd_1", "fwd_2", "fwd_3"]
    assert FakeOutput.made == []
    case.feed()
    await case.live("fwd_1", "fwd_2", "fwd_3")
    assert case.states("fwd_1") == [("one", "live")]
    await case.end()
    assert all(output.asked_to_end and output.stops == 1 for output in FakeOutput.made)
    assert [state for _, _, state in case.shown] == ["stopped"] * 3


@in_virtual_time
async def test_one_that_fails_leaves_the_others_alone() -> None:
    Willing.refusing["one"] = BadUrl("no")
    case = Case(to("one"), to("two"))
    case.feed()
    await case.live("fwd_2")
    assert case["fwd_1"].state == "failed"
    assert case.errors("fwd_1") == ["bad_url"]
    assert case.errors("fwd_2") == []
    await case.end()


@in_virtual_time
async def test_under_a_cap_the_second_waits_until_it_is_known_to_fit() -> None:
    case = Case(to("one"), to("two"), FILE, cap_kbps=2 * STREAM_KBPS)
    case.feed()
    await case.live("fwd_1", "fwd_3")
    assert len(FakeOutput.made) == 2
    assert case["fwd_2"].state == "connecting"
    assert case.hub.units_rate.kbps is None
    await case.live("fwd_2")
    assert case.hub.units_rate.kbps == pytest.approx(STREAM_KBPS)
    assert case.errors("fwd_2") == []
    await case.end()


@in_virtual_time
async def test_one_that_does_not_fit_has_not_sent_a_byte() -> None:
    case = Case(to("one"), to("two"), to("three"), cap_kbps=2 * STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1", "fwd_2")
    await case.settled()
    assert case["fwd_3"].state == "failed"
    assert case.errors("fwd_3") == ["over_cap"]
    assert "3 forwards of this stream would send 3.0 Mbit/s" in case["fwd_3"].message
    assert "egress cap is 2.1 Mbit/s" in case["fwd_3"].message
    assert {output.url.host for output in FakeOutput.made} == {"one", "two"}
    await asyncio.sleep(60.0)
    assert case.errors("fwd_1") == case.errors("fwd_2") == []
    await case.end()


@in_virtual_time
async def test_one_that_was_held_ends_with_the_others() -> None:
    case = Case(to("one"), to("two"), cap_kbps=10_000)
    await case.end()
    assert [state for _, _, state in case.shown] == ["stopped"] * 2
    assert FakeOutput.made == []


@in_virtual_time
async def test_the_cap_is_shared_out_by_need() -> None:
    case = Case(to("one"), SRT, FILE, cap_kbps=4000)
    case.feed()
    await case.live("fwd_1", "fwd_2", "fwd_3")
    await asyncio.sleep(TICK_S + 0.1)
    shares = {output.url.kind: output.share_kbps for output in FakeOutput.made}
    assert shares["rtmp"] + shares["srt"] == pytest.approx(4000, abs=2)
    assert shares["file"] == 0
    await case.end()


@in_virtual_time
async def test_one_is_added_once_its_destination_has_taken_media() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    forward = await case.forwards.add(to("two"))
    assert (forward.id, forward.state) == ("fwd_2", "live")
    assert case.shown[1] == ("fwd_2", "rtmp://two/app/****", "live")
    assert case.states("fwd_2") == [("two", "live")]
    await case.end()
    assert case["fwd_2"].state == "stopped"


@in_virtual_time
async def test_before_any_media_one_is_added_at_once() -> None:
    case = Case()
    forward = await asyncio.wait_for(case.forwards.add(to("one")), 0.1)
    assert case.states("fwd_1") == [("one", "connecting")]
    case.feed()
    await case.live(forward.id)
    assert case.states("fwd_1") == [("one", "connecting"), ("one", "live")]
    await case.end()


@in_virtual_time
async def test_nothing_is_left_or_told_of_one_that_cannot_be_added() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    before = list(case.told)
    Willing.refusing["two"] = DestinationRefused("another one publishes there")
    with pytest.raises(DestinationRefused):
        await case.forwards.add(to("two"))
    Willing.silent.add("three")
    began = asyncio.get_running_loop().time()
    with pytest.raises(DestinationError, match="has taken nothing in 10 s"):
        await case.forwards.add(to("three"))
    assert asyncio.get_running_loop().time() - began < PROOF_S + 1.0
    assert case.told == before
    assert len(case.forwards.all) == 1
    assert output_to("two").stops == output_to("three").stops == 1
    await asyncio.sleep(60.0)
    assert len(FakeOutput.made) == 3
    assert output_to("one").stops == 0
    await case.end()


@in_virtual_time
async def test_one_that_cannot_carry_the_stream_is_not_even_tried() -> None:
    case = Case()
    case.feed()
    FakeOutput.check_error = UnsupportedMedia("send H.264")
    with pytest.raises(UnsupportedMedia):
        await case.forwards.add(to("one"))
    assert FakeOutput.made == []
    await case.end()


@in_virtual_time
async def test_one_place_is_led_to_once() -> None:
    case = Case(to("one"), to("two"), FILE)
    with pytest.raises(Conflict, match=r"fwd_1 leads to rtmp://one/app/\*\*\*\* already"):
        await case.forwards.add(to("one"))
    with pytest.raises(Conflict, match="fwd_2 leads to"):
        await case.forwards.update("fwd_1", to("two"))
    await case.forwards.add(FILE)
    await case.end()


@in_virtual_time
async def test_two_that_are_added_at_once_cannot_lead_to_one_place() -> None:
    case = Case()
    case.feed()
    first = asyncio.create_task(case.forwards.add(to("one")))
    await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await case.forwards.add(to("one"))
    assert (await first).state == "live"
    await case.end()


@in_virtual_time
async def test_there_is_an_end_to_how_many_there_can_be() -> None:
    case = Case(*(to(f"host-{number}") for number in range(FORWARDS_MAX - 1)))
    await case.forwards.add(to("last"))
    with pytest.raises(Conflict, match=f"at most {FORWARDS_MAX} forwards"):
        await case.forwards.add(to("one-more"))
    await case.forwards.remove("fwd_1")
    await case.forwards.add(to("one-more"))
    await case.end()


@in_virtual_time
async def test_one_that_is_being_replaced_counts_once() -> None:
    case = Case(*(to(f"host-{number}") for number in range(FORWARDS_MAX - 1)))
    case.feed()
    await asyncio.sleep(1.0)
    update = asyncio.create_task(case.forwards.update("fwd_1", to("other")))
    await asyncio.sleep(0.01)
    await case.forwards.add(to("last"))
    await update
    await case.end()


@in_virtual_time
async def test_one_that_is_being_replaced_claims_once() -> None:
    case = Case(to("one"), cap_kbps=2 * STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    update = asyncio.create_task(case.forwards.update("fwd_1", to("other")))
    await asyncio.sleep(0.01)
    try:
        await case.forwards.add(to("two"))
    finally:
        await update
        await case.end()


@in_virtual_time
async def test_one_that_would_not_fit_is_refused() -> None:
    case = Case(to("one"), to("two"), cap_kbps=2 * STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1", "fwd_2")
    await case.settled()
    with pytest.raises(OverCap, match=r"3 forwards of this stream would send 3\.0 Mbit/s"):
        await case.forwards.add(to("three"))
    assert len(FakeOutput.made) == 2
    await case.forwards.add(FILE)
    await case.end()


@in_virtual_time
async def test_two_that_are_added_at_once_must_both_fit() -> None:
    case = Case(to("one"), cap_kbps=2 * STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    both = await asyncio.gather(
        case.forwards.add(to("two")), case.forwards.add(to("three")), return_exceptions=True
    )
    assert [type(each) for each in both] == [Forward, OverCap]
    await case.end()


@in_virtual_time
async def test_one_that_is_retrying_can_be_removed_and_so_can_one_that_has_failed() -> None:
    Willing.refusing["one"] = DestinationUnreachable("nothing listens there")
    Willing.refusing["two"] = BadUrl("no")
    case = Case(to("one"), to("two"), to("three"))
    case.feed()
    await case.live("fwd_3")
    assert [case["fwd_1"].state, case["fwd_2"].state] == ["retrying", "failed"]
    await case.forwards.remove("fwd_1")
    await case.forwards.remove("fwd_2")
    assert [each.id for each in case.forwards.all] == ["fwd_3"]
    assert case.states("fwd_1")[-1] == ("one", "stopped")
    assert case.states("fwd_2")[-1] == ("two", "stopped")
    await case.end()


@in_virtual_time
async def test_one_that_is_removed_closes_cleanly_and_gets_nothing_more() -> None:
    case = Case(to("one"), to("two"))
    case.feed()
    await case.live("fwd_1", "fwd_2")
    await case.forwards.remove("fwd_1")
    output = output_to("one")
    assert output.asked_to_end
    given = len(output.units)
    await asyncio.sleep(1.0)
    assert len(output.units) == given
    assert (await case.forwards.add(to("one"))).id == "fwd_3"
    await case.end()


@in_virtual_time
async def test_one_that_is_held_can_be_removed() -> None:
    case = Case(to("one"), to("two"), cap_kbps=10_000)
    await case.forwards.remove("fwd_2")
    case.feed()
    await asyncio.sleep(5.0)
    assert {output.url.host for output in FakeOutput.made} == {"one"}
    await case.end()


@in_virtual_time
async def test_one_that_there_is_not_cannot_be_changed() -> None:
    case = Case()
    with pytest.raises(NotFound, match="no forward to replace; add one"):
        await case.forwards.update(None, to("one"))
    with pytest.raises(NotFound, match="there is no forward 'fwd_9'"):
        await case.forwards.update("fwd_9", to("one"))
    with pytest.raises(NotFound) as caught:
        await case.forwards.remove("x" * 1000)
    assert len(caught.value.message) < 100
    await case.end()


@in_virtual_time
async def test_without_an_id_the_oldest_is_replaced() -> None:
    case = Case(to("one"), to("two"))
    forward, _ = await case.forwards.update(None, to("three"))
    assert forward.id == "fwd_1"
    assert [url for _, url, _ in case.shown] == ["rtmp://three/app/****", "rtmp://two/app/****"]
    await case.end()


@in_virtual_time
async def test_before_any_media_one_is_replaced_at_once() -> None:
    case = Case(to("one"))
    forward, overlap = await asyncio.wait_for(case.forwards.update("fwd_1", to("two")), 0.1)
    assert overlap
    assert case.states("fwd_1") == [("two", "connecting")]
    case.feed()
    await case.live("fwd_1")
    assert {output.url.host for output in FakeOutput.made} == {"two"}
    assert case["fwd_1"] is forward
    await case.end()


@in_virtual_time
async def test_the_old_one_stays_until_the_new_one_has_taken_media() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    Willing.silent.add("two")
    update = asyncio.create_task(case.forwards.update("fwd_1", to("two")))
    await asyncio.sleep(5.0)
    old, new = output_to("one"), output_to("two")
    assert new.units
    assert (old.asked_to_end, old.stops) == (False, 0)
    assert old.units[-1] is UNIT
    assert case.shown == [("fwd_1", "rtmp://one/app/****", "live")]
    new.taken = 1000
    forward, overlap = await update
    assert overlap
    assert case.shown == [("fwd_1", "rtmp://two/app/****", "live")]
    assert case.states("fwd_1") == [("one", "live"), ("two", "live")]
    await asyncio.sleep(1.0)
    assert (old.asked_to_end, old.stops) == (True, 1)
    given = len(old.units)
    await asyncio.sleep(1.0)
    assert len(old.units) == given
    assert case.states("fwd_1")[-1] == ("two", "live")
    assert case["fwd_1"] is forward
    await case.end()


@in_virtual_time
async def test_a_new_one_that_fails_leaves_the_old_one_on_the_air() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    before = list(case.told)
    old = case["fwd_1"]
    Willing.refusing["two"] = DestinationRefused("another one publishes there")
    with pytest.raises(DestinationRefused):
        await case.forwards.update("fwd_1", to("two"))
    Willing.silent.add("three")
    with pytest.raises(DestinationError, match="has taken nothing"):
        await case.forwards.update("fwd_1", to("three"))
    await asyncio.sleep(60.0)
    assert case["fwd_1"] is old
    assert (old.state, output_to("one").stops) == ("live", 0)
    assert old.totals.reconnects == 0
    assert case.told == before
    assert len(FakeOutput.made) == 3
    await case.end()


@in_virtual_time
async def test_the_new_one_counts_on() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    await asyncio.sleep(10.0)
    before = case["fwd_1"].totals
    await case.forwards.update("fwd_1", to("two"))
    after = case["fwd_1"].totals
    assert after.bytes > before.bytes > 0
    assert after.live_s == pytest.approx(before.live_s, abs=1.0)
    await case.end()


@in_virtual_time
async def test_one_that_is_retrying_is_replaced_beside_it() -> None:
    Willing.refusing["one"] = DestinationUnreachable("nothing listens there")
    case = Case(to("one"))
    case.feed()
    await asyncio.sleep(5.0)
    _, overlap = await case.forwards.update("fwd_1", to("two"))
    assert overlap
    assert case.states("fwd_1")[-1] == ("two", "live")
    made = len(FakeOutput.made)
    await asyncio.sleep(60.0)
    assert len(FakeOutput.made) == made
    await case.end()


@in_virtual_time
async def test_one_that_has_failed_is_replaced() -> None:
    Willing.refusing["one"] = BadUrl("no")
    case = Case(to("one"))
    case.feed()
    await asyncio.sleep(1.0)
    _, overlap = await case.forwards.update("fwd_1", to("two"))
    assert not overlap
    assert case.shown == [("fwd_1", "rtmp://two/app/****", "live")]
    await case.end()


@in_virtual_time
async def test_where_both_cannot_be_the_old_one_goes_first() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    _, overlap = await case.forwards.update("fwd_1", to("one"))
    assert not overlap
    first, second = FakeOutput.made
    assert (first.asked_to_end, first.stops, second.stops) == (True, 1, 0)
    assert case.states("fwd_1") == [
        *(("one", "live"), ("one", "stopped"), ("one", "connecting"), ("one", "live"))
    ]
    assert case.shown == [("fwd_1", "rtmp://one/app/****", "live")]
    await case.end()


@in_virtual_time
async def test_where_both_cannot_be_and_the_new_one_fails_the_old_one_comes_back() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    Willing.silent.add("one")
    with pytest.raises(DestinationError, match="has taken nothing in 10 s"):
        await case.forwards.update("fwd_1", to("one"))
    Willing.silent.clear()
    await case.live("fwd_1")
    assert case.states("fwd_1")[-1] == ("one", "live")
    first, second, third = FakeOutput.made
    assert (first.stops, second.stops, third.stops) == (1, 1, 0)
    await case.end()
    assert third.stops == 1


@in_virtual_time
async def test_the_new_one_of_a_swap_can_send_from_the_beginning() -> None:
    case = Case(to("one"), cap_kbps=STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    update = asyncio.create_task(case.forwards.update("fwd_1", to("one")))
    async with asyncio.timeout(60.0):
        while len(FakeOutput.made) < 2:
            await asyncio.sleep(0.01)
    share_kbps = FakeOutput.made[1].share_kbps
    await update
    await case.end()
    assert share_kbps > STREAM_KBPS // 10


@in_virtual_time
async def test_one_that_failed_long_ago_takes_nothing_from_its_successor() -> None:
    Willing.refusing["one"] = BadUrl("no")
    case = Case(to("one"), cap_kbps=STREAM_KBPS + 100)
    case.feed()
    await asyncio.sleep(60.0)
    await case.forwards.update("fwd_1", to("two"))
    share_kbps = output_to("two").share_kbps
    await case.end()
    assert share_kbps == STREAM_KBPS + 100


@in_virtual_time
async def test_one_that_had_failed_has_failed_again_where_the_new_one_fails() -> None:
    Willing.refusing["one"] = BadUrl("no such folder")
    Willing.refusing["two"] = DestinationRefused("another one publishes there")
    case = Case(to("one"))
    case.feed()
    await asyncio.sleep(1.0)
    with pytest.raises(DestinationRefused):
        await case.forwards.update("fwd_1", to("two"))
    assert case.shown == [("fwd_1", "rtmp://one/app/****", "failed")]
    assert case["fwd_1"].message == "no such folder"
    made = len(FakeOutput.made)
    await asyncio.sleep(60.0)
    assert len(FakeOutput.made) == made
    await case.end()


@in_virtual_time
async def test_what_cannot_be_paced_is_swapped_where_both_do_not_fit() -> None:
    case = Case(SRT, cap_kbps=1500)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    assert case.hub.packets_rate.kbps is not None
    _, overlap = await case.forwards.update("fwd_1", OTHER_SRT)
    assert not overlap
    case.forwards.set_cap(0)
    _, overlap = await case.forwards.update("fwd_1", SRT)
    assert overlap
    await case.end()


@in_virtual_time
async def test_what_can_be_paced_overlaps_beyond_the_cap() -> None:
    case = Case(to("one"), cap_kbps=STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    Willing.silent.add("two")
    update = asyncio.create_task(case.forwards.update("fwd_1", to("two")))
    await asyncio.sleep(2.0)
    shares = [output.share_kbps for output in FakeOutput.made]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(STREAM_KBPS + 100, abs=2)
    output_to("two").taken = 1000
    _, overlap = await update
    assert overlap
    await asyncio.sleep(FADE_S + 2 * TICK_S)
    assert output_to("two").share_kbps == STREAM_KBPS + 100
    assert case.errors("fwd_1") == []
    await case.end()


@in_virtual_time
async def test_one_forward_has_one_change_at_a_time() -> None:
    case = Case(to("one"), to("other"))
    case.feed()
    await case.live("fwd_1", "fwd_2")
    Willing.silent.add("two")
    update = asyncio.create_task(case.forwards.update("fwd_1", to("two")))
    await asyncio.sleep(1.0)
    with pytest.raises(Conflict, match="fwd_1 is being changed already"):
        await case.forwards.update("fwd_1", to("three"))
    with pytest.raises(Conflict):
        await case.forwards.remove("fwd_1")
    await case.forwards.update("fwd_2", to("four"))
    output_to("two").taken = 1000
    await update
    await case.forwards.remove("fwd_1")
    await case.end()


@in_virtual_time
async def test_one_waits_for_the_place_that_another_leaves() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    output_to("one").ends_when_asked = False
    await case.forwards.update("fwd_1", to("two"))
    add = asyncio.create_task(case.forwards.add(to("one")))
    await asyncio.sleep(2.0)
    assert [output.url.host for output in FakeOutput.made] == ["one", "two"]
    output_to("one").on_end(None)
    await add
    assert [output.url.host for output in FakeOutput.made] == ["one", "two", "one"]
    await case.end()


@in_virtual_time
async def test_a_recording_waits_for_no_place() -> None:
    case = Case(FILE)
    case.feed()
    await case.live("fwd_1")
    FakeOutput.made[0].ends_when_asked = False
    await case.forwards.update("fwd_1", forward_url.parse("file:///media/second.ts"))
    add = asyncio.create_task(case.forwards.add(forward_url.parse("file:///media/third.ts")))
    await asyncio.sleep(2.0)
    assert add.done()
    await case.end()


@in_virtual_time
async def test_two_that_wait_for_a_place_do_not_both_get_it() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    output_to("one").ends_when_asked = False
    await case.forwards.update("fwd_1", to("two"))
    both = await asyncio.gather(
        case.forwards.add(to("one")), case.forwards.add(to("one")), return_exceptions=True
    )
    assert [type(each) for each in both] == [Forward, Conflict]
    await case.end()


@in_virtual_time
async def test_when_the_stream_grows_beyond_the_cap_the_newest_is_given_up() -> None:
    case = Case(to("one"), to("two"), to("three"))
    case.feed()
    await case.live("fwd_1", "fwd_2", "fwd_3")
    await case.settled()
    case.forwards.set_cap(2 * STREAM_KBPS + 100)
    await asyncio.sleep(2.0)
    assert [state for _, _, state in case.shown] == ["live", "live", "failed"]
    assert case.errors("fwd_3") == ["over_cap"]
    assert output_to("three").stops == 1
    await case.end()


@in_virtual_time
async def test_what_the_first_seconds_bring_gives_up_nobody() -> None:
    case = Case(to("one"), to("two"), to("three"))
    case.forwards.set_cap(2 * STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1", "fwd_2", "fwd_3")
    await asyncio.sleep(SETTLED_AFTER_S - 1.0)
    assert [state for _, _, state in case.shown] == ["live"] * 3
    shares = [output.share_kbps for output in FakeOutput.made]
    assert sum(shares) == pytest.approx(2 * STREAM_KBPS + 100, abs=3)
    await case.settled()
    assert [state for _, _, state in case.shown] == ["live", "live", "failed"]
    await case.end()


@in_virtual_time
async def test_one_that_still_says_goodbye_has_its_share() -> None:
    case = Case(to("one"), cap_kbps=4000)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    output_to("one").ends_when_asked = False
    await case.forwards.update("fwd_1", to("two"))
    await asyncio.sleep(2 * TICK_S)
    assert [output.share_kbps for output in FakeOutput.made] == [2000, 2000]
    output_to("one").on_end(None)
    await asyncio.sleep(FADE_S - TICK_S)
    assert output_to("two").share_kbps == 2000  # the kernel may still send for the old one
    await asyncio.sleep(3 * TICK_S)
    assert output_to("two").share_kbps == 4000
    await case.end()


@in_virtual_time
async def test_only_the_one_that_is_given_up_hears_of_the_cap() -> None:
    case = Case(to("one"), to("two"), to("three"))
    case.feed()
    await case.live("fwd_1", "fwd_2", "fwd_3")
    await case.settled()
    case.forwards.set_cap(2 * STREAM_KBPS + 100)
    await asyncio.sleep(10.0)
    assert case.errors("fwd_3") == ["over_cap"]
    assert case.errors("fwd_1") == case.errors("fwd_2") == []
    await case.end()


@in_virtual_time
async def test_one_alone_that_does_not_fit_goes_on_and_that_is_told_once() -> None:
    case = Case(to("one"), cap_kbps=STREAM_KBPS // 2)
    case.feed()
    await case.live("fwd_1")
    await asyncio.sleep(60.0)
    assert case["fwd_1"].state == "live"
    assert case.errors("fwd_1") == ["over_cap"]
    case.forwards.set_cap(STREAM_KBPS // 4)
    await asyncio.sleep(60.0)
    assert case.errors("fwd_1") == ["over_cap"] * 2
    assert output_to("one").share_kbps == STREAM_KBPS // 4
    await case.end()


@in_virtual_time
async def test_one_alone_that_cannot_be_paced_is_given_up() -> None:
    case = Case(SRT, cap_kbps=STREAM_KBPS // 2)
    case.feed()
    await case.settled()
    assert case["fwd_1"].state == "failed"
    assert set(case.errors("fwd_1")) == {"over_cap"}
    await case.end()


@in_virtual_time
async def test_another_cap_holds_at_once() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    assert output_to("one").share_kbps == 0
    case.forwards.set_cap(5000)
    assert output_to("one").share_kbps == 5000
    case.forwards.set_cap(0)
    assert output_to("one").share_kbps == 0
    await case.end()


@in_virtual_time
async def test_a_wider_cap_makes_room_for_one_more() -> None:
    case = Case(to("one"), cap_kbps=STREAM_KBPS + 100)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    with pytest.raises(OverCap):
        await case.forwards.add(to("two"))
    case.forwards.set_cap(2 * STREAM_KBPS + 100)
    await case.forwards.add(to("two"))
    await asyncio.sleep(10.0)
    assert [state for _, _, state in case.shown] == ["live", "live"]
    await case.end()


@in_virtual_time
async def test_a_change_that_is_under_way_at_the_end_is_given_up() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    Willing.silent.add("two")
    update = asyncio.create_task(case.forwards.update("fwd_1", to("two")))
    await asyncio.sleep(1.0)
    await case.end()
    with pytest.raises(DestinationError, match="was stopped"):
        await update
    assert all(output.stops == 1 for output in FakeOutput.made)
    assert case["fwd_1"].state == "stopped"


@in_virtual_time
async def test_a_swap_that_is_under_way_at_the_end_begins_nothing_anew() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    Willing.silent.add("one")
    update = asyncio.create_task(case.forwards.update("fwd_1", to("one")))
    await asyncio.sleep(1.0)
    await case.end()
    with pytest.raises(DestinationError):
        await update
    await asyncio.sleep(1.0)
    assert [output.stops for output in FakeOutput.made] == [1, 1]


@in_virtual_time
async def test_a_swap_that_waits_for_the_old_one_at_the_end_begins_nothing() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    old = output_to("one")
    old.ends_when_asked = False
    update = asyncio.create_task(case.forwards.update("fwd_1", to("one")))
    await asyncio.sleep(1.0)
    asyncio.get_running_loop().call_later(1.0, old.on_end, None)
    await case.end()
    with pytest.raises(StrataError):
        await update
    assert FakeOutput.made == [old]


@in_virtual_time
async def test_nothing_is_added_once_it_is_ending() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    case.flowing = False
    output_to("one").ends_when_asked = False
    ending = asyncio.create_task(case.end())
    await asyncio.sleep(1.0)
    with pytest.raises(Conflict):
        await case.forwards.add(to("two"))
    await ending
    assert [output.url.host for output in FakeOutput.made] == ["one"]


@in_virtual_time
async def test_one_that_is_leaving_at_the_end_still_delivers_what_is_queued() -> None:
    case = Case(to("one"))
    case.feed()
    await case.live("fwd_1")
    old = output_to("one")
    old.ends_when_asked = False
    await case.forwards.update("fwd_1", to("two"))
    asyncio.get_running_loop().call_later(1.0, old.on_end, None)
    await case.end()
    assert old.stops == 1


@in_virtual_time
async def test_nothing_shows_the_key() -> None:
    Willing.refusing["two"] = DestinationRefused("no")
    case = Case(to("one"), cap_kbps=STREAM_KBPS // 2)
    case.feed()
    await case.live("fwd_1")
    await case.settled()
    for change in (case.forwards.update("fwd_1", to("two")), case.forwards.add(to("three"))):
        with pytest.raises(StrataError) as caught:
            await change
        assert KEY not in caught.value.message
    await case.end()
    assert KEY not in f"{case.told}"


def test_the_proof_leaves_time_for_the_answer() -> None:
    assert forwards_module.PROOF_S + 4.0 <= 15.0


@in_virtual_time
async def test_ids_of_an_earlier_worker_are_kept_and_none_is_given_twice() -> None:
    case = Case()
    case.forwards.start([to("one"), to("three")], ["fwd_1", "fwd_3"], last=4)
    assert case.ids == ["fwd_1", "fwd_3"]
    assert (await case.forwards.add(to("five"))).id == "fwd_5"
    await case.forwards.remove("fwd_5")
    assert (await case.forwards.add(to("six"))).id == "fwd_6"
    await case.end()


@in_virtual_time
async def test_without_ids_forwards_are_numbered() -> None:
    case = Case(to("one"), to("two"))
    assert case.ids == ["fwd_1", "fwd_2"]
    assert (await case.forwards.add(to("three"))).id == "fwd_3"
    await case.end()
