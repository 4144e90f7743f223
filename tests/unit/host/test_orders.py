"""What changes a stream that runs; its workers are processes of a few lines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from strata.errors import (
    BadArguments,
    Conflict,
    DestinationRefused,
    NotFound,
    WorkerFailed,
)
from strata.host import restarts, supervised
from strata.host.orders import settings_after
from strata.host.records import Record
from strata.wire import host as wire
from strata.wire import worker as worker_wire
from support.children import until
from unit.host.staged import DEADLINE_S, PSK, URLS, Stage, number_of, staged

A, B, C = (f"rtmp://{name}/live/stream-key" for name in "abc")


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(monkeypatch) as one:
        yield one


def add(url: str) -> wire.AddForward:
    return wire.AddForward("str_1", url)


def replace(id: str, url: str) -> wire.ReplaceForward:
    return wire.ReplaceForward("str_1", id, url)


def remove(id: str) -> wire.RemoveForward:
    return wire.RemoveForward("str_1", id)


async def done(stage: Stage, order: wire.Order) -> wire.Reply:
    async with asyncio.timeout(DEADLINE_S):
        return await stage.stream.carry_out(order)


async def next_worker(stage: Stage) -> None:
    await stage.crash()
    await stage.becomes("running")


def given(urls: list[str], ids: list[str], last: int) -> str:
    return number_of(worker_wire.Secrets(PSK, urls, ids, last))


def asked(stage: Stage) -> list[dict[str, Any]]:
    lines = stage.log.read_text().splitlines()
    return [json.loads(line.split("fake did ")[1]) for line in lines if "fake did" in line]


# Forwards.


async def test_forwards_that_come_and_go_are_those_of_the_next_worker(stage: Stage) -> None:
    stage.urls = [A, B]
    await stage.start()
    assert await done(stage, add(C)) == wire.Changed("fwd_3")
    assert await done(stage, remove("fwd_2")) == wire.Changed("fwd_2")
    assert await done(stage, replace("fwd_1", B)) == wire.Changed("fwd_1", overlap=True)
    assert stage.stream.snapshot().forward_ids == ["fwd_1", "fwd_3"]
    record = stage.record
    assert (record.forward_ids, record.last_forward, record.forwards) == (["fwd_1", "fwd_3"], 3, 2)
    await next_worker(stage)
    assert stage.secrets_given()[1] == given([B, C], ["fwd_1", "fwd_3"], 3)
    assert stage.stream.snapshot().forward_ids == ["fwd_1", "fwd_3"]


async def test_an_id_that_was_removed_is_not_given_again_by_the_next_worker(stage: Stage) -> None:
    await stage.start()
    await done(stage, add(A))
    await done(stage, remove("fwd_2"))
    await next_worker(stage)
    assert stage.secrets_given()[1] == given(URLS, ["fwd_1"], 2)
    assert await done(stage, add(A)) == wire.Changed("fwd_3")


async def test_what_is_refused_changes_nothing(stage: Stage) -> None:
    await stage.start()
    with pytest.raises(DestinationRefused, match=r"^no$"):
        await done(stage, replace("fwd_1", "rtmp://refused/live/key"))
    with pytest.raises(DestinationRefused):
        await done(stage, add("rtmp://refused/live/key"))
    with pytest.raises(NotFound, match="there is no forward 'fwd_7'"):
        await done(stage, remove("fwd_7"))
    await next_worker(stage)
    assert stage.secrets_given() == [given(URLS, ["fwd_1"], 1)] * 2


async def test_a_stream_may_begin_without_any(stage: Stage) -> None:
    stage.urls = []
    await stage.start()
    assert stage.stream.snapshot().forward_ids == []
    assert await done(stage, add(A)) == wire.Changed("fwd_1")
    await next_worker(stage)
    assert stage.secrets_given()[1] == given([A], ["fwd_1"], 1)


async def test_nothing_of_one_that_was_removed_is_told_any_more(stage: Stage) -> None:
    await stage.start()
    await done(stage, add(A))
    stage.hear(worker_wire.Forward("fwd_2", "rtmp", "retrying", "****", message="refused"))
    stage.stream.look()
    assert stage.alarms() == [["forward"]]
    await done(stage, remove("fwd_2"))
    told = [e for e in stage.stream.snapshot().events if isinstance(e, worker_wire.Forward)]
    assert [each.forward for each in told] == ["fwd_1"]
    stage.stream.look()
    assert stage.alarms() == [["forward"], []]


async def test_answers_go_to_who_asked_and_are_no_news(stage: Stage) -> None:
    await stage.start()
    await done(stage, add(A))
    with pytest.raises(DestinationRefused):
        await done(stage, add("rtmp://refused/live/key"))
    said = [type(each.event) for each in stage.told(wire.WorkerSaid)]
    assert worker_wire.Ok not in said
    assert worker_wire.Error not in said
    assert stage.told(wire.WorkerSaid)[-1].event.forward == "fwd_2"


async def test_each_gets_its_own_answer(stage: Stage) -> None:
    await stage.start()
    orders: list[Coroutine[Any, Any, Any]] = [
        done(stage, add(A)),
        done(stage, add("rtmp://refused/live/key")),
        done(stage, replace("fwd_1", B)),
        done(stage, wire.Configure("str_1", keep_damaged=True)),
    ]
    found = await asyncio.gather(*orders, return_exceptions=True)
    assert isinstance(found[1], DestinationRefused)
    found[1] = None  # type: ignore[call-overload]
    assert found == [wire.Changed("fwd_2"), None, wire.Changed("fwd_1", overlap=True), wire.Done()]


async def test_the_share_of_the_machine_follows(stage: Stage) -> None:
    await stage.start()
    share, vitals = stage.stream.share, stage.stream._vitals
    reserve = stage.machine.settings.admission.reserve_egress_kbps
    await done(stage, add(A))
    assert share.reserved.egress_kbps == 2 * reserve
    await done(stage, add("file:///media/x.ts"))
    assert share.reserved.egress_kbps == 2 * reserve
    assert stage.record.forwards == 2
    share.is_settled, vitals.measured_from = True, 0.0
    await done(stage, replace("fwd_2", "file:///media/y.ts"))
    assert share.reserved.egress_kbps == reserve
    assert not share.is_settled  # it is measured anew
    assert vitals.measured_from > 0.0
    await done(stage, remove("fwd_1"))
    assert share.reserved.egress_kbps == 0.0
    with pytest.raises(DestinationRefused):
        await done(stage, add("rtmp://refused/live/key"))
    assert share.reserved.egress_kbps == 0.0


async def test_one_on_trial_counts_already(stage: Stage) -> None:
    await stage.start()
    reserve = stage.machine.settings.admission.reserve_egress_kbps
    adding = asyncio.create_task(done(stage, add("rtmp://slow/live/key")))
    await until(lambda: asked(stage), DEADLINE_S, "it is asked")
    assert stage.stream.share.reserved.egress_kbps == 2 * reserve
    os.kill(stage.stream.pid, signal.SIGUSR1)
    assert await adding == wire.Changed("fwd_2")
    assert stage.stream.share.reserved.egress_kbps == 2 * reserve


# When it cannot be.


async def test_a_worker_that_dies_of_it_is_told_and_the_next_one_has_what_there_was(
    stage: Stage,
) -> None:
    await stage.start()
    with pytest.raises(WorkerFailed, match=r"ended before .* nothing was changed; try again once"):
        await done(stage, replace("fwd_1", "rtmp://deadly/live/key"))
    await until(lambda: len(stage.secrets_given()) == 2, DEADLINE_S, "the next one runs")
    await stage.becomes("running")
    assert stage.secrets_given() == [given(URLS, ["fwd_1"], 1)] * 2


async def test_while_there_is_no_worker_it_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Conflict, match="str_1 cannot be changed now: it is still being started"):
        await done(stage, add(A))
    monkeypatch.setattr(restarts, "FIRST_DELAY_S", 60.0)
    await stage.start()
    await stage.crash()
    await stage.becomes("restarting")
    with pytest.raises(Conflict, match="the next one is on its way; try again once it is back"):
        await done(stage, add(A))
    await stage.stop()
    with pytest.raises(Conflict, match="it has ended"):
        await done(stage, add(A))


async def test_a_worker_that_is_not_connected_to_is_not_asked(stage: Stage) -> None:
    await stage.start()
    await stage.heir()
    with pytest.raises(Conflict, match="cannot be asked just now, so nothing was changed; try ag"):
        await done(stage, add(A))


async def test_a_worker_that_does_not_answer_is_told_and_its_late_answer_counts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "ORDER_DEADLINE_S", 0.1)
    await stage.start()
    with pytest.raises(WorkerFailed, match="nobody knows whether this was carried out; look at"):
        await done(stage, add("rtmp://slow/live/key"))
    assert stage.stream.snapshot().forward_ids == ["fwd_1"]
    os.kill(stage.stream.pid, signal.SIGUSR1)
    await until(lambda: stage.record.last_forward == 2, DEADLINE_S, "it is carried out")
    await next_worker(stage)
    assert stage.secrets_given()[1] == given([*URLS, "rtmp://slow/live/key"], ["fwd_1", "fwd_2"], 2)


async def test_who_gives_up_waiting_changes_nothing_of_what_is_carried_out(stage: Stage) -> None:
    await stage.start()
    adding = asyncio.create_task(done(stage, add("rtmp://slow/live/key")))
    await until(lambda: asked(stage), DEADLINE_S, "it is asked")
    adding.cancel()
    await asyncio.wait({adding})
    os.kill(stage.stream.pid, signal.SIGUSR1)
    await until(lambda: stage.record.last_forward == 2, DEADLINE_S, "it is carried out")
    assert stage.stream.snapshot().forward_ids == ["fwd_1", "fwd_2"]


async def test_a_disk_that_refuses_does_not_undo_what_is_on_the_air(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start()
    blocked = stage.here.data / "workers" / "str_1.new"
    blocked.mkdir()
    assert await done(stage, add(A)) == wire.Changed("fwd_2")
    assert "str_1: what runs here cannot be written down" in caplog.text
    blocked.rmdir()
    await next_worker(stage)
    assert stage.record.forward_ids == ["fwd_1", "fwd_2"]


# Host after host.


async def test_the_next_host_has_the_forwards_as_they_were_left(stage: Stage) -> None:
    stage.urls = [A, B]
    await stage.start()
    await done(stage, remove("fwd_1"))
    await done(stage, add(C))
    heir = await stage.heir()
    assert heir.snapshot().forward_ids == ["fwd_2", "fwd_3"]
    heir.entrust(PSK, [B, C], ["fwd_2", "fwd_3"])
    await next_worker(stage)
    assert stage.secrets_given()[1] == given([B, C], ["fwd_2", "fwd_3"], 3)


async def test_a_change_before_the_secrets_are_known_counts_more_than_they_do(
    stage: Stage,
) -> None:
    stage.urls = [A, B]
    await stage.start()
    heir = await stage.heir()
    await until(lambda: len(heir.snapshot().events) == 4, DEADLINE_S, "its worker greets")
    await done(stage, replace("fwd_2", C))
    heir.entrust(PSK, [A, B])
    await next_worker(stage)
    assert stage.secrets_given()[1] == given([A, C], ["fwd_1", "fwd_2"], 2)


async def test_one_that_an_earlier_host_could_not_hear_of_is_told_and_not_begun_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.start()
    heir = await stage.heir()
    await until(lambda: len(heir.snapshot().events) == 3, DEADLINE_S, "its worker greets")
    stage.hear(worker_wire.Forward("fwd_5", "rtmp", "live", "****"))
    assert heir.snapshot().forward_ids == ["fwd_1", "fwd_5"]
    assert stage.record.last_forward == 5
    heir.entrust(PSK, URLS)
    await next_worker(stage)
    assert "str_1: fwd_5 does not come back: nobody knows its address" in caplog.text
    assert stage.secrets_given()[1] == given(URLS, ["fwd_1"], 5)
    assert stage.record.forward_ids == ["fwd_1"]


async def test_a_stream_of_an_earlier_release_is_known_by_what_its_worker_tells(
    stage: Stage,
) -> None:
    stage.urls = [A, B]
    await stage.start()
    heir = await stage.heir(forward_ids=None, last_forward=0)
    await until(lambda: len(heir.snapshot().events) == 4, DEADLINE_S, "its worker greets")
    assert heir.snapshot().forward_ids == ["fwd_1", "fwd_2"]
    heir.entrust(PSK, [A, B])
    await next_worker(stage)
    assert stage.secrets_given()[1] == given([A, B], ["fwd_1", "fwd_2"], 2)


# Settings.


async def test_settings_are_those_of_the_next_worker_and_of_the_next_host(stage: Stage) -> None:
    await stage.start()
    order = wire.Configure("str_1", slate_now=True, max_egress_kbps=7000, keep_damaged=True)
    assert await done(stage, order) == wire.Done()
    assert asked(stage) == [
        {"cmd": "configure", "max_egress_kbps": 7000, "slate_now": True, "keep_damaged": True}
    ]
    await next_worker(stage)
    wanted = {"slate_now": True, "max_egress_kbps": 7000, "keep_damaged": True, "slate": "on"}
    assert wanted.items() <= stage.settings_given[1].items()
    heir = await stage.heir()
    heir.entrust(PSK, URLS)
    snapshot = heir.snapshot()
    assert (snapshot.slate_now, snapshot.max_egress_kbps, snapshot.keep_damaged) == (
        *(True, 7000, True),
    )
    await next_worker(stage)
    assert wanted.items() <= stage.settings_given[2].items()


async def test_settings_that_are_refused_change_nothing(stage: Stage) -> None:
    await stage.start()
    with pytest.raises(DestinationRefused):
        await done(stage, wire.Configure("str_1", slate="/refused", max_egress_kbps=9000))
    for kbps in (-1, 10_000_001):
        with pytest.raises(BadArguments, match=r"give 0 \(no limit\) to 10,000,000"):
            await done(stage, wire.Configure("str_1", max_egress_kbps=kbps))
    assert len(asked(stage)) == 1
    assert (stage.record.slate, stage.record.max_egress_kbps) == ("on", None)
    assert stage.stream.snapshot().max_egress_kbps == 20_000


@pytest.mark.parametrize(
    ("before", "order", "after"),
    [
        ({}, {}, {}),
        ({}, {"slate": "off"}, {"slate": "off", "slate_now": False}),
        ({"slate_now": True}, {"max_egress_kbps": 0}, {"max_egress_kbps": 0}),
        ({"slate_now": True}, {"slate": "on"}, {"slate": "on"}),
        ({"slate_now": True}, {"slate": "/x.png"}, {"slate": "/x.png", "slate_now": False}),
        (
            {"slate": "/x.png"},
            {"slate": "on", "slate_now": True},
            {"slate": "on", "slate_now": True},
        ),
        ({"slate_now": True}, {"slate_now": False}, {"slate_now": False}),
    ],
)
def test_what_changes_in_the_record(
    before: dict[str, Any], order: dict[str, Any], after: dict[str, Any]
) -> None:
    found = settings_after(Record("str_1", [15000], **before), wire.Configure("str_1", **order))
    assert found == after


@pytest.mark.parametrize(
    ("before", "now", "limits"),
    [
        (20_000, 30_000, [30_000, 30_000]),
        (20_000, 10_000, [20_000, 10_000]),
        (20_000, 0, [0, 0]),
        (0, 10_000, [0, 10_000]),
    ],
)
async def test_the_kernel_never_holds_a_worker_to_less_than_it_believes(
    stage: Stage, before: int, now: int, limits: list[int]
) -> None:
    stage.stream._trace.record = Record("str_1", [15000, 15002], max_egress_kbps=before)
    await stage.start()
    allowed: list[tuple[int, int]] = []

    async def allow(name: str, group: object, kbps: int, ports: object) -> None:
        allowed.append((kbps, len(asked(stage))))

    stage.machine.packets.allow = allow  # type: ignore[method-assign]
    await done(stage, wire.Configure("str_1", max_egress_kbps=now))
    assert allowed == [(limits[0], 0), (limits[1], 1)]
    with pytest.raises(DestinationRefused):
        await done(stage, wire.Configure("str_1", max_egress_kbps=40_000, slate="/refused"))
    assert allowed[-1] == (now, 2)
