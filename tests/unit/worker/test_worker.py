"""The decisions of a worker over a receiver and a demuxer made by hand, in virtual time."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strata.errors import BadUrl, Conflict, DestinationRefused, PortTaken
from strata.rist import Counters, LinkCounters
from strata.wire import forward_url
from strata.worker import forward as forward_module
from strata.worker import forwards as forwards_module
from strata.worker import hub as hub_module
from strata.worker import intake as intake_module
from strata.worker import onair as onair_module
from strata.worker import stats as stats_module
from strata.worker import worker as worker_module
from strata.worker.config import SlateSettings, WorkerConfig
from strata.worker.formats import Program, VideoFormat
from strata.worker.slates.slate import Slate
from strata.worker.units import AccessUnit
from strata.worker.worker import EXIT_STATUS, Worker
from support.virtual_time import Clock, in_virtual_time
from support.worker import ControlClient, Event
from unit.worker import fakes
from unit.worker.fakes import AUDIO, VIDEO, FakeIngest, FakeOutput, FakeReceiver, picture, sound

PORTS = (20_000, 20_002)
KEY = "abcd-efgh-1234"
ONE = f"rtmp://one/app/{KEY}"
TWO = f"rtmp://two/app/{KEY}"
HELD_S = 5.0
SHOWN, SHOWN_FILE = b"the stream's name", b"the operator's picture"


class FakeSlates:
    """Makes a slate of the live picture's own key frame."""

    def __init__(self, cache: Path | None, text: str, file: Path | None) -> None:
        self.file = file

    async def make(self, format: VideoFormat) -> Slate:
        return Slate(format, ((SHOWN if self.file is None else SHOWN_FILE, True),))


class Case:
    """A worker that runs, a client, and the two ends of its media."""

    def __init__(self, client: ControlClient, run: asyncio.Task[int]) -> None:
        self.client = client
        self.run = run
        self._count = 0

    @property
    def receiver(self) -> FakeReceiver:
        return FakeReceiver.made[-1]

    @property
    def ingest(self) -> FakeIngest:
        return FakeIngest.made[-1]

    async def feed(self, seconds: float) -> None:
        """Packets, ten times a second."""
        for _ in range(round(seconds * 10)):
            self.receiver.receive()
            await asyncio.sleep(0.1)

    async def broadcast(self, seconds: float, *, follows: bool = True) -> None:
        """Pictures and sound, 25 times a second.

        Args:
            follows: whether nothing is missing.
        """
        self.ingest.whole = Program(VIDEO, AUDIO)
        for _ in range(round(seconds * 25)):
            whole = replace(picture(self._count), follows=follows or self._count % 25 != 1)
            self.ingest.units += [whole, sound(self._count)]
            self._count += 1
            self.receiver.receive()
            await asyncio.sleep(0.04)

    async def on_air(self) -> None:
        """A broadcast that has begun; a stream without tables is held for some seconds."""
        await self.feed(HELD_S)
        await self.broadcast(1.0)
        assert self.told("program")[-1]["video"] == "live"

    def told(self, name: str) -> list[Event]:
        return [event for event in self.client.events if event["event"] == name]

    async def ask(self, command: str, **fields: Any) -> Event:
        """What the worker answers."""
        id = f"ask-{len(self.client.events)}"
        self.client.send({"cmd": command, "id": id, **fields})
        return await self.client.wait_for(
            lambda event: event["event"] in ("ok", "error") and event.get("id") == id
        )

    async def ask_stats(self) -> Event:
        await asyncio.sleep(1.0)  # two who ask at once get the same numbers
        id = f"ask-{len(self.client.events)}"
        self.client.send({"cmd": "stats", "id": id})
        return await self.client.event("stats", id=id)

    def pictures(self) -> list[AccessUnit]:
        """What the first destination was given."""
        return [unit for unit in FakeOutput.made[0].units if unit.track == "video"]

    def states(self, forward: str) -> list[str]:
        return [event["state"] for event in self.told("forward") if event["forward"] == forward]

    async def stop(self) -> None:
        self.client.send({"cmd": "stop"})
        assert await self.run == 0


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.install(monkeypatch)
    fakes.install_output(monkeypatch, lambda url: FakeOutput)
    monkeypatch.setattr(onair_module, "Slates", FakeSlates)
    for module in (worker_module, intake_module, stats_module, hub_module, onair_module):
        monkeypatch.setattr(module, "time", Clock)
    for module in (forward_module, forwards_module):
        monkeypatch.setattr(module, "time", Clock)


def config(path: Path, **changes: Any) -> WorkerConfig:
    usual: dict[str, Any] = {
        **{"stream_id": "str_1", "ports": PORTS, "psk": None, "forwards": ()},
        **{"control_socket": path / "x.sock", "bind": "0.0.0.0", "buffer_ms": 700},
        **{"aes_bits": 256, "stats_interval_ms": 1000, "max_egress_kbps": 0},
        **{"stall_timeout_s": 30.0, "no_input_timeout_s": 0.0, "orphan_timeout_s": 0.0},
        **{"slate": SlateSettings(), "keep_damaged": False, "can_silence": True},
    }
    return WorkerConfig(**(usual | changes))


@asynccontextmanager
async def running(path: Path, **changes: Any) -> AsyncIterator[Case]:
    worker = Worker(config(path, **changes))
    run = asyncio.create_task(worker.run())
    while not (path / "x.sock").exists():
        await asyncio.sleep(0)
    async with await ControlClient.connect(path / "x.sock") as client:
        await client.event("ready")
        await client.event("program")
        try:
            yield Case(client, run)
        finally:
            if not run.done():
                client.send({"cmd": "stop"})
            await run
    assert not (path / "x.sock").exists()
    assert FakeReceiver.made[-1].closed


@in_virtual_time
async def test_who_connects_is_told_how_things_stand(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        ready, waiting, program = case.client.events[:3]
        assert ready["ports"] == list(PORTS)
        assert ready["stream_id"] == "str_1"
        assert ready["pid"] == os.getpid()
        assert ready["protocol"] == 1
        assert (waiting["event"], waiting["state"]) == ("input", "waiting")
        assert (program["video"], program["audio"]) == ("none", "none")
        await case.feed(0.5)
        await asyncio.sleep(10)
        async with await ControlClient.connect(tmp_path / "x.sock") as late:
            found = await late.event("input")
            assert found["state"] == "receiving"
            assert found["since_s"] == pytest.approx(10.5, abs=0.2)


@in_virtual_time
async def test_the_receiver_is_set_up_as_configured(tmp_path: Path) -> None:
    async with running(tmp_path, bind="127.0.0.1", aes_bits=128) as case:
        assert case.receiver.ports == PORTS
        assert case.receiver.settings["bind"] == "127.0.0.1"
        assert case.receiver.settings["aes_bits"] == 128
        assert case.receiver.settings["tuning"].buffer_ms == 700


@in_virtual_time
async def test_media_is_received_stalls_and_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path, stall_timeout_s=5.0) as case:
        await case.feed(1.0)
        await case.client.event("input", state="receiving")
        await asyncio.sleep(4.0)
        assert case.told("input")[-1]["state"] == "receiving"
        await asyncio.sleep(3.0)
        assert [event["state"] for event in case.told("input")] == [
            *("waiting", "receiving", "stalled")
        ]
        [error] = case.told("error")
        assert error["code"] == "stalled"
        assert "check the sender and its links" in error["message"]
        await asyncio.sleep(60.0)
        assert len(case.told("error")) == 1
        await case.feed(1.0)
        await asyncio.sleep(0.1)
        assert case.told("input")[-1]["state"] == "receiving"


@in_virtual_time
async def test_what_never_came_has_not_stalled(tmp_path: Path) -> None:
    async with running(tmp_path, stall_timeout_s=5.0) as case:
        await asyncio.sleep(60.0)
        assert [event["state"] for event in case.told("input")] == ["waiting"]


@in_virtual_time
async def test_without_input_it_ends_if_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, no_input_timeout_s=10.0) as case:
        await case.feed(30.0)
        assert not case.run.done()
        assert await asyncio.wait_for(case.run, 12.0) == EXIT_STATUS["no_input"] == 10
        await case.client.event("stopped", reason="no_input")


@in_virtual_time
async def test_without_input_or_client_it_is_orphaned_if_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, orphan_timeout_s=10.0) as case:
        await asyncio.sleep(60.0)
        assert not case.run.done()  # somebody listens
        await case.feed(1.0)
        await case.client.close()
        await case.feed(60.0)
        assert not case.run.done()  # media comes
        assert await asyncio.wait_for(case.run, 12.0) == EXIT_STATUS["orphaned"] == 11


@in_virtual_time
async def test_by_itself_it_never_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        await case.client.close()
        await asyncio.sleep(3600)
        assert not case.run.done()
        case.client = await ControlClient.connect(tmp_path / "x.sock")
        await case.stop()
        await case.client.close()


@in_virtual_time
async def test_a_program_that_is_whole_is_on_the_air_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        await case.on_air()
        assert case.told("program")[-1] == {"event": "program", "video": "live", "audio": "live"}
        await case.broadcast(1.0)
        assert len(case.told("program")) == 2


@in_virtual_time
async def test_what_is_wrong_with_the_senders_stream_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        case.ingest.on_failure("it broke")
        case.ingest.on_unusable("video/mpeg")
        await asyncio.sleep(0.1)
        assert [error["code"] for error in case.told("error")] == ["sender", "unsupported_media"]


@in_virtual_time
async def test_statistics_come_by_themselves_and_when_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, stats_interval_ms=500) as case:
        await asyncio.sleep(5.1)
        assert len(case.told("stats")) == 10
        assert all(event["id"] is None for event in case.told("stats"))
        await case.feed(0.1)
        case.client.send({"cmd": "stats", "id": "x"})
        found = await case.client.event("stats", id="x")
        assert found["flow"]["received"] == 1
        assert [link["port"] for link in found["links"]] == list(PORTS)


@in_virtual_time
async def test_two_who_ask_at_once_get_the_same_numbers(tmp_path: Path) -> None:
    async with running(tmp_path, stats_interval_ms=60_000) as case:
        await case.feed(1.0)
        case.client.send({"cmd": "stats", "id": 1})
        first = await case.client.event("stats", id=1)
        await asyncio.sleep(0.1)
        case.client.send({"cmd": "stats", "id": 2})
        assert await case.client.event("stats", id=2) == first | {"id": 2}
        await asyncio.sleep(0.2)
        case.client.send({"cmd": "stats", "id": 3})
        third = await case.client.event("stats", id=3)
        assert third["uptime_s"] > first["uptime_s"]


@in_virtual_time
async def test_reports_of_librist_are_taken_in(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        stats = {"recovered_total": 4, "dropped_late": 1, "duplicates": 0}
        stats |= {"received": 100, "avg_buffer_time": 700}
        case.receiver.reports.append({"stats": stats, "peers": []})
        await asyncio.sleep(2.1)
        assert case.told("stats")[-1]["flow"]["recovered"] == 4
        assert case.told("stats")[-1]["buffer_ms"] == 700


@in_virtual_time
async def test_what_librist_says_goes_to_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as case:
        case.receiver.logs += [("warning", "odd thing")] * 3 + [("info", "fine thing")]
        await asyncio.sleep(1.1)
    found = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("WARNING", "librist: odd thing (3 times)") in found


@in_virtual_time
async def test_a_link_that_is_cut_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as case:
        cut_ns = int(Clock.monotonic() * 1e9)

        def counters() -> Counters:
            last_ns = int(Clock.monotonic() * 1e9)
            links = (
                LinkCounters(20_000, "10.0.0.1", 3, 1, 188, cut_ns),
                LinkCounters(20_002, "10.0.0.2", 4, 1, 188, last_ns, cut_ns),
            )
            return Counters(2, 376, 0, 0, 0, 0, 0, last_ns, links)

        monkeypatch.setattr(case.receiver, "counters", counters)
        await case.feed(9.0)
        [error] = case.told("error")
        assert error["code"] == "link_down"
        assert error["message"].startswith("link on port 20000 from 10.0.0.1: nothing arrives")
        one, two = case.told("stats")[-1]["links"]
        assert (one["state"], two["state"], two["reason"]) == ("down", "up", None)
        assert one["reason"] in error["message"]


@pytest.mark.parametrize("name", ["stop", "shutdown"])
@in_virtual_time
async def test_who_asked_for_the_end_is_answered_before_all_hear_of_it(
    tmp_path: Path, name: str
) -> None:
    async with running(tmp_path) as case, await ControlClient.connect(tmp_path / "x.sock") as other:
        await other.event("ready")
        await case.feed(0.5)
        case.receiver.receive(b"\x47" + bytes(187))
        case.client.send({"cmd": name, "id": 7})
        await case.client.event("stopped", reason="eos")
        assert case.client.events[-2:] == [
            {"event": "ok", "cmd": "stop", "id": 7},
            {"event": "stopped", "reason": "eos"},
        ]
        await other.event("stopped")
        assert not [event for event in other.events if event["event"] == "ok"]
        assert await case.run == EXIT_STATUS["eos"] == 0
        assert case.ingest.stopped


@in_virtual_time
async def test_two_who_ask_for_the_end_are_both_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        case.client.send({"cmd": "stop", "id": 1})
        case.client.send({"cmd": "stop", "id": 2})
        await case.client.event("stopped")
        assert [event["id"] for event in case.told("ok")] == [1, 2]


@in_virtual_time
async def test_a_defect_ends_it_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as case:
        case.receiver.take_error = ValueError("what nobody thought of")
        assert await case.run == EXIT_STATUS["failed"] == 70
        await case.client.event("stopped", reason="failed")
        [error] = case.told("error")
        assert error["code"] == "internal"
        assert "internal failure in stats: ValueError" in error["message"]
    assert "what nobody thought of" in caplog.text


@in_virtual_time
async def test_a_port_that_is_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    FakeReceiver.start_error = PortTaken(20_000)
    with pytest.raises(PortTaken):
        await Worker(config(tmp_path)).run()
    assert FakeReceiver.made[-1].closed
    assert list(tmp_path.iterdir()) == []


@in_virtual_time
async def test_a_second_worker_on_one_socket_leaves_the_first_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        with pytest.raises(Conflict):
            await Worker(config(tmp_path)).run()
        case.client.send({"cmd": "stats", "id": 1})
        await case.client.event("stats", id=1)
        FakeReceiver.made.pop()


@in_virtual_time
async def test_who_connects_is_told_of_the_forwards(tmp_path: Path) -> None:
    urls = (forward_url.parse(ONE), forward_url.parse(TWO))
    async with running(tmp_path, forwards=urls) as case:
        await case.client.event("forward", forward="fwd_2")
        assert [event["url"] for event in case.told("forward")] == [
            *("rtmp://one/app/****", "rtmp://two/app/****")
        ]
        assert case.states("fwd_1") == ["connecting"]
        case.client.send({"cmd": "stats", "id": 1})
        stats = await case.client.event("stats", id=1)
        assert [forward["forward"] for forward in stats["forwards"]] == ["fwd_1", "fwd_2"]
        assert KEY not in f"{case.client.events}"


@in_virtual_time
async def test_a_forward_that_cannot_work_keeps_it_from_starting(tmp_path: Path) -> None:
    FakeOutput.prepare_error = BadUrl("no such folder")
    with pytest.raises(BadUrl):
        await Worker(config(tmp_path, forwards=(forward_url.parse(ONE),))).run()
    assert FakeReceiver.made == []
    assert list(tmp_path.iterdir()) == []


@in_virtual_time
async def test_two_forwards_to_one_place_keep_it_from_starting(tmp_path: Path) -> None:
    urls = (forward_url.parse(ONE), forward_url.parse(ONE))
    with pytest.raises(Conflict, match="give it once"):
        await Worker(config(tmp_path, forwards=urls)).run()


@in_virtual_time
async def test_a_forward_is_added(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        answer = await case.ask("add_forward", url=ONE)
        assert answer == {**answer, "event": "ok", "cmd": "add_forward", "forward": "fwd_1"}
        assert "overlap" not in answer
        assert case.states("fwd_1") == ["connecting"]


@in_virtual_time
async def test_a_forward_is_replaced(tmp_path: Path) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        answer = await case.ask("update_forward", url=TWO)
        assert (answer["event"], answer["cmd"]) == ("ok", "update_forward")
        assert (answer["forward"], answer["overlap"]) == ("fwd_1", True)
        assert case.told("forward")[-1]["url"] == "rtmp://two/app/****"
        again = await case.ask("update_forward", url=TWO, forward="fwd_1")
        assert (again["event"], again["overlap"]) == ("ok", False)


@in_virtual_time
async def test_a_forward_is_removed(tmp_path: Path) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        answer = await case.ask("remove_forward", forward="fwd_1")
        assert (answer["event"], answer["cmd"]) == ("ok", "remove_forward")
        assert answer["forward"] == "fwd_1"
        assert case.states("fwd_1") == ["connecting", "stopped"]
        case.client.send({"cmd": "stats", "id": 1})
        assert (await case.client.event("stats", id=1))["forwards"] == []


@pytest.mark.parametrize(
    ("command", "fields", "code"),
    [
        ("add_forward", {"url": f"nothing://host/{KEY}"}, "bad_url"),
        ("add_forward", {"url": ONE}, "conflict"),
        ("update_forward", {"url": TWO, "forward": "fwd_9"}, "not_found"),
        ("update_forward", {"url": f"rtmp://host/{KEY}"}, "bad_url"),
        ("remove_forward", {"forward": "fwd_9"}, "not_found"),
    ],
)
@in_virtual_time
async def test_a_change_that_cannot_be_is_answered_and_changes_nothing(
    tmp_path: Path, command: str, fields: dict[str, str], code: str
) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        await case.client.event("forward")
        answer = await case.ask(command, **fields)
        assert (answer["event"], answer["code"]) == ("error", code)
        assert KEY not in answer["message"]
        assert case.states("fwd_1") == ["connecting"]
        async with await ControlClient.connect(tmp_path / "x.sock") as other:
            await other.event("forward", forward="fwd_1", url="rtmp://one/app/****")
            assert not [event for event in other.events if event.get("forward") == "fwd_2"]


@in_virtual_time
async def test_while_media_comes_a_change_is_answered_by_the_destination(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        feeding = asyncio.create_task(case.broadcast(60.0))
        await case.client.event("program", video="live")
        good = asyncio.create_task(case.ask("add_forward", url=ONE))
        await asyncio.sleep(2.0)
        assert not good.done()
        FakeOutput.made[-1].taken = 1000
        assert (await good)["event"] == "ok"
        bad = asyncio.create_task(case.ask("add_forward", url=TWO))
        await asyncio.sleep(2.0)
        FakeOutput.made[-1].on_end(DestinationRefused("another one publishes there"))
        answer = await bad
        assert (answer["code"], answer["message"]) == ("refused", "another one publishes there")
        assert {event["forward"] for event in case.told("forward")} == {"fwd_1"}
        feeding.cancel()


@in_virtual_time
async def test_only_who_asked_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as case, await ControlClient.connect(tmp_path / "x.sock") as other:
        await other.event("program")
        await case.ask("add_forward", url=ONE)
        await other.event("forward", forward="fwd_1")
        assert not [event for event in other.events if event["event"] == "ok"]


@in_virtual_time
async def test_a_change_that_is_under_way_at_the_end_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        feeding = asyncio.create_task(case.broadcast(60.0))
        await case.client.event("program", video="live")
        change = asyncio.create_task(case.ask("add_forward", url=ONE))
        await asyncio.sleep(1.0)
        feeding.cancel()
        case.client.send({"cmd": "stop"})
        assert (await change)["event"] == "error"
        assert await case.run == 0


@in_virtual_time
async def test_the_interval_of_statistics_can_be_changed(tmp_path: Path) -> None:
    async with running(tmp_path, stats_interval_ms=1000) as case:
        answer = await case.ask("configure", stats_interval_ms=100)
        assert (answer["event"], answer["cmd"]) == ("ok", "configure")
        await asyncio.sleep(1.05)
        before = len(case.told("stats"))
        await asyncio.sleep(1.0)
        assert len(case.told("stats")) - before == 10


@in_virtual_time
async def test_the_egress_cap_can_be_changed(tmp_path: Path) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        case.ingest.whole = Program(VIDEO, AUDIO)
        await case.feed(0.1)
        await asyncio.sleep(0.1)
        [output] = FakeOutput.made
        assert output.share_kbps == 0
        assert (await case.ask("configure", max_egress_kbps=3000))["event"] == "ok"
        assert output.share_kbps == 3000


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"slate": "/no/such/slate.png"}, "the slate's file /no/such/slate.png cannot be read"),
        ({"slate": "/dev"}, "the slate's file /dev"),
        ({"slate_now": True}, "there is no slate to show"),
    ],
)
@in_virtual_time
async def test_what_cannot_be_shown_is_refused_whole(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        case.ingest.whole = Program(VIDEO, AUDIO)
        await case.feed(0.1)
        answer = await case.ask("configure", max_egress_kbps=3000, keep_damaged=True, **fields)
        assert (answer["event"], answer["code"]) == ("error", "bad_arguments")
        assert says in answer["message"]
        await asyncio.sleep(0.1)
        assert FakeOutput.made[-1].share_kbps == 0


@in_virtual_time
async def test_a_slate_that_cannot_be_shown_now_is_not_set_either(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        await case.on_air()
        answer = await case.ask("configure", slate="off", slate_now=True)
        assert answer["event"] == "error"
        await asyncio.sleep(3.0)
        assert case.told("program")[-1]["video"] == "slate"


@in_virtual_time
async def test_without_media_the_slate_goes_on_the_air_and_the_picture_comes_back(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        await case.on_air()
        await asyncio.sleep(3.0)
        assert case.told("program")[-1] == {
            **{"event": "program", "video": "slate", "audio": "silence"}
        }
        assert case.pictures()[-1].data == SHOWN
        await case.broadcast(3.0)
        assert case.told("program")[-1] == {"event": "program", "video": "live", "audio": "live"}
        stats = await case.ask_stats()
        assert stats["line"]["slates"] == 1
        assert stats["line"]["slate_s"] == pytest.approx(3.0, abs=0.5)
        assert len(FakeOutput.made) == 1
        stamps = [each.dts_ns for each in FakeOutput.made[0].units if each.track == "video"]
        assert stamps == sorted(set(stamps))


@in_virtual_time
async def test_a_new_destination_has_to_take_the_slate_while_that_is_on_the_air(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as case:
        await case.on_air()
        await asyncio.sleep(5.0)
        assert case.told("program")[-1]["video"] == "slate"
        answer = await case.ask("add_forward", url=ONE)
        assert answer["event"] == "error"
        assert "has taken nothing in 10 s" in answer["message"]
        [output] = FakeOutput.made
        assert output.units[0].data == SHOWN


@in_virtual_time
async def test_the_slate_can_be_shown_over_a_live_picture(tmp_path: Path) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        await case.on_air()
        assert (await case.ask("configure", slate_now=True))["event"] == "ok"
        await case.broadcast(2.0)
        assert case.told("program")[-1]["video"] == "slate"
        assert {each.data for each in case.pictures()[-5:]} == {SHOWN}
        assert (await case.ask("configure", slate_now=False))["event"] == "ok"
        await case.broadcast(2.0)
        assert case.told("program")[-1]["video"] == "live"
        assert SHOWN not in {each.data for each in case.pictures()[-5:]}


@in_virtual_time
async def test_another_slate_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "slate.png").write_bytes(b"png")
    async with running(tmp_path, forwards=(forward_url.parse(ONE),)) as case:
        await case.on_air()
        answer = await case.ask("configure", slate=str(tmp_path / "slate.png"))
        assert (answer["event"], answer["cmd"]) == ("ok", "configure")
        await asyncio.sleep(3.0)
        assert case.pictures()[-1].data == SHOWN_FILE


@in_virtual_time
async def test_without_a_slate_nothing_stands_in(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        await case.on_air()
        assert (await case.ask("configure", slate="off"))["event"] == "ok"
        await asyncio.sleep(3.0)
        assert case.told("program")[-1] == {"event": "program", "video": "none", "audio": "none"}
        assert (await case.ask("configure", slate="on"))["event"] == "ok"
        await asyncio.sleep(1.0)
        assert case.told("program")[-1]["video"] == "slate"


@in_virtual_time
async def test_a_slate_that_has_lasted_for_as_long_as_it_may_ends_the_forwards_until_media_returns(
    tmp_path: Path,
) -> None:
    urls, slate = (forward_url.parse(ONE),), SlateSettings(max_s=10.0)
    async with running(tmp_path, forwards=urls, slate=slate) as case:
        await case.on_air()
        FakeOutput.made[0].taken = 1000
        await case.broadcast(1.0)
        assert case.states("fwd_1") == ["connecting", "live"]
        await asyncio.sleep(9.0)
        assert case.states("fwd_1") == ["connecting", "live"]
        await asyncio.sleep(5.0)
        assert case.states("fwd_1") == ["connecting", "live", "connecting"]
        assert FakeOutput.made[0].asked_to_end
        assert case.told("program")[-1]["video"] == "none"
        await asyncio.sleep(60.0)
        assert len(FakeOutput.made) == 1
        await case.broadcast(2.0)
        assert len(FakeOutput.made) == 2
        assert case.told("program")[-1]["video"] == "live"


@pytest.mark.parametrize("keeps", [False, True])
@in_virtual_time
async def test_pictures_after_a_gap_are_left_out_if_not_told_otherwise(
    tmp_path: Path, keeps: bool
) -> None:
    async with running(tmp_path, keep_damaged=not keeps) as case:
        await case.on_air()
        assert (await case.ask("configure", keep_damaged=keeps))["event"] == "ok"
        await case.broadcast(4.0, follows=False)
        line = (await case.ask_stats())["line"]
        assert line["gaps"] == 4
        assert (line["damaged_frames"] == 0) is keeps


@pytest.mark.parametrize("can_silence", [True, False])
@in_virtual_time
async def test_silence_can_be_done_without(tmp_path: Path, can_silence: bool) -> None:
    async with running(tmp_path, can_silence=can_silence) as case:
        await case.on_air()
        await asyncio.sleep(3.0)
        wanted = "silence" if can_silence else "none"
        assert case.told("program")[-1] == {"event": "program", "video": "slate", "audio": wanted}


@pytest.mark.parametrize(
    ("reason", "changes"),
    [("eos", {}), ("no_input", {"no_input_timeout_s": 10.0})],
)
@in_virtual_time
async def test_a_broadcast_whose_sender_is_lost_is_not_over_for_the_platform(
    tmp_path: Path, reason: str, changes: dict[str, float]
) -> None:
    async with running(tmp_path, forwards=(forward_url.parse(ONE),), **changes) as case:
        await case.on_air()
        if reason == "eos":
            case.client.send({"cmd": "stop"})
        await case.client.event("stopped", reason=reason)
        assert FakeOutput.made[0].is_over is (reason == "eos")


def test_every_reason_has_its_status() -> None:
    assert EXIT_STATUS == {"eos": 0, "no_input": 10, "orphaned": 11, "failed": 70}


async def shown(client: ControlClient) -> Event:
    """What the worker says of the picture on the air."""
    id = f"shown-{len(client.events)}"
    client.send({"cmd": "key_frame", "id": id})
    return await client.wait_for(lambda event: event.get("id") == id)


@in_virtual_time
async def test_the_picture_on_the_air_is_shown_to_who_asks(tmp_path: Path) -> None:
    async with running(tmp_path) as case:
        nothing = await shown(case.client)
        assert (nothing["event"], nothing["code"]) == ("error", "no_picture")
        await case.on_air()
        live = await shown(case.client)
        assert (live["event"], live["part"], live["parts"]) == ("key_frame", 0, 1)
        assert (live["codec"], live["shows"]) == ("h264", "live")
        assert base64.b64decode(live["data"]) == picture(0).data
        assert base64.b64decode(live["config"]) == VIDEO.config
        assert 0.0 <= live["age_s"] <= 1.1
        await asyncio.sleep(5.0)
        assert case.told("program")[-1]["video"] == "slate"
        slate = await shown(case.client)
        assert (slate["shows"], base64.b64decode(slate["data"])) == ("slate", SHOWN)
        await case.broadcast(2.0)
        assert (await shown(case.client))["shows"] == "live"


@in_virtual_time
async def test_a_large_picture_goes_as_fast_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as case:
        await case.on_air()
        large = replace(picture(0), data=bytes(2_000_000))
        monkeypatch.setattr(hub_module.Hub, "key_frame", (large, 0.5))
        reader, writer = await asyncio.open_unix_connection(tmp_path / "x.sock", limit=1 << 20)
        async with await ControlClient.connect(tmp_path / "x.sock") as other:
            writer.write(b'{"cmd":"key_frame","id":7}\n')
            await shown(other)
            parts = []
            while not parts or len(parts) < parts[0]["parts"]:
                event = json.loads(await reader.readline())
                if event["event"] == "key_frame":
                    parts.append(event)
        assert b"".join(base64.b64decode(part["data"]) for part in parts) == large.data
        writer.close()
        await writer.wait_closed()


@in_virtual_time
async def test_who_asks_for_a_picture_and_does_not_read_it_is_let_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running(tmp_path) as case:
        await case.on_air()
        monkeypatch.setattr(
            hub_module.Hub, "key_frame", (replace(picture(0), data=bytes(2_000_000)), 0.5)
        )
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.connect(str(tmp_path / "x.sock"))
            deaf.sendall(b'{"cmd":"key_frame"}\n')
            await asyncio.sleep(10.0)
            assert "who asked for a picture does not read it" in caplog.text
            assert "internal failure" not in str(case.client.events)
