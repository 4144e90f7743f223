"""What senders are told, with a real database, and agents and a host that do as they are told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from strata.control import assignments as module
from strata.control import rotation
from strata.control.posts import Crew
from strata.control.streams import StartRequest, View
from strata.errors import (
    BadArguments,
    Conflict,
    NoCapacity,
    NotFound,
    SenderOffline,
    SenderRefused,
    StoreUnavailable,
    StrataError,
)
from strata.secrets import Secret
from strata.wire import agent as wire
from strata.wire import host as host_wire
from support.children import until
from support.control import eventually
from unit.control.field import CAMERA, DEADLINE_S, FakeAgent
from unit.control.stage import ADMIN, OTHER, OWNER, RECEIVING, URL, Stage

TEST = wire.Source("test")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_S", 0.05)


async def enrolled(stage: Stage) -> tuple[str, Secret]:
    """A sender and the token of its box."""
    token, row = await stage.platform.senders.add(OWNER, "Van 1")
    agent = FakeAgent(stage.platform, token, kind="enrollment")
    answer = await agent.log_in()
    await agent.__aexit__()
    assert answer.device_token is not None
    return row.id, Secret(answer.device_token)


async def begin(stage: Stage, sender_id: str, source: wire.Source | None = TEST) -> View:
    crew = Crew(sender_id, source)
    return await stage.streams.begin(OWNER, StartRequest((URL,), 2, "Derby", False, crew=crew))


def hurry(stage: Stage, **seconds: float) -> None:
    """Other deadlines than the settings'."""
    agents = stage.settings.agents.model_copy(update=seconds)
    settings = stage.settings.model_copy(update={"agents": agents})
    stage.platform.assignments._settings = settings


async def known(stage: Stage, sender_id: str) -> None:
    def is_known() -> bool:
        link = stage.platform.agents.link_of(sender_id)
        return link is not None and link.state == "known"

    await until(is_known, DEADLINE_S, "it has said what it runs")


async def test_a_sender_is_told_where_to_send_what_with_which_key(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        assert view.row.state == "waiting"
        assert view.psk is None
        [order] = agent.starts()
        row = await stage.row(view.row.id)
        psk = stage.platform.seal.open(row.psk_sealed, f"{row.id}.psk")
        assert order == wire.StreamStart(
            row.id,
            TEST,
            wire.Encoder(),
            ["rist://127.0.0.1:15000", "rist://127.0.0.1:15002"],
            psk.reveal(),
            256,
            1000,
        )
        assert row.sender_id == sender_id
        assert row.request == {
            "source": {"mode": "test"},
            "encoder": {"codec": "h264", "bitrate_kbps": 5000, "keyint_max": 60},
        }
        [start] = [each for each in stage.host.asked if isinstance(each, host_wire.Start)]
        assert start.first_media_s == 60.0


@pytest.mark.parametrize(("tells_first", "state"), [(True, "running"), (False, "starting")])
async def test_what_a_sender_has_told_is_newer_than_its_answer(
    stage: Stage, tells_first: bool, state: str
) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        agent.tells_first = tells_first
        view = await begin(stage, sender_id)
        link = stage.platform.agents.link_of(sender_id)
        assert link is not None
        assert link.doing == wire.StreamState(view.row.id, state)


async def test_a_password_of_a_camera_is_stored_sealed(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    camera = wire.Source("uri", uri="rtsp://user:canary-camera@192.0.2.7/stream")
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id, camera)
        assert agent.starts()[0].source == camera
        row = await stage.row(view.row.id)
        assert "canary" not in json.dumps(row.request)
        assert row.source_sealed is not None
        assert b"canary" not in row.source_sealed


async def test_without_a_source_the_first_camera_is_taken_and_never_a_test_picture(
    stage: Stage,
) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        await known(stage, sender_id)
        await begin(stage, sender_id, None)
        assert agent.starts()[0].source == wire.Source("v4l2", device=CAMERA.device)
    async with FakeAgent(stage.platform, token) as agent:
        agent.say(wire.Status(media_inputs=[]))
        id, other = await enrolled(stage)
        async with FakeAgent(stage.platform, other) as bare:
            bare.say(wire.Status(media_inputs=[wire.MediaInput("test", "x")], stream_state=None))
            link = stage.platform.agents.link_of(id)
            assert link is not None
            await until(
                lambda: link.status is not None and link.status.media_inputs != [CAMERA],
                DEADLINE_S,
                "it has no camera",
            )
            with pytest.raises(BadArguments, match="name one"):
                await begin(stage, id, None)


# What cannot be begun.


async def test_a_sender_that_is_not_there_or_another_users(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    with pytest.raises(SenderOffline, match="not connected"):
        await begin(stage, sender_id)
    with pytest.raises(NotFound):
        await begin(stage, "snd_nobody")
    async with FakeAgent(stage.platform, token):
        request = StartRequest((URL,), 2, "", False, crew=Crew(sender_id, TEST))
        with pytest.raises(NotFound):
            await stage.streams.begin(OTHER, request)
    assert not await stage.streams.visible_to(ADMIN)
    assert not stage.host.asked


async def test_a_sender_sends_one_stream_at_a_time(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        first = await begin(stage, sender_id)
        with pytest.raises(Conflict, match=first.row.id):
            await begin(stage, sender_id)
        await stage.streams.stop(OWNER, first.row.id)
        second = await begin(stage, sender_id)
        assert [each.stream_id for each in agent.starts()] == [first.row.id, second.row.id]
        # The stop comes before the next start, or the sender would be busy.
        kinds = [type(each) for each in agent.ordered]
        assert kinds[:3] == [wire.StreamStart, wire.StreamStop, wire.StreamStart]


async def refuse(stage: Stage, agent: FakeAgent) -> None:
    agent.refuses = wire.Done(False, "no_source", "there is no /dev/video0")


async def be_mute(stage: Stage, agent: FakeAgent) -> None:
    hurry(stage, answer_timeout_s=0.2)
    agent.is_mute = True


async def go_away(stage: Stage, agent: FakeAgent) -> None:
    async def drop(request: host_wire.Request) -> None:
        if isinstance(request, host_wire.Start):
            agent.drop()
            await agent.closed()

    stage.host.before_answer = drop


async def break_while_asked(stage: Stage, agent: FakeAgent) -> None:
    agent.is_mute = True

    async def drop() -> None:
        await agent.until(agent.starts, "it is told")
        agent.drop()

    agent._tasks.append(asyncio.create_task(drop()))


async def no_room(stage: Stage, agent: FakeAgent) -> None:
    stage.host.fail = NoCapacity("no ports are free")


@pytest.mark.parametrize(
    ("trouble", "error", "reason"),
    [
        (no_room, NoCapacity, "no_capacity"),
        (go_away, SenderOffline, "start_failed"),
        (break_while_asked, SenderOffline, "start_failed"),
        (be_mute, SenderOffline, "start_failed"),
        (refuse, SenderRefused, "start_failed"),
    ],
)
async def test_a_start_that_fails_at_any_step_leaves_nothing(
    stage: Stage, trouble: Any, error: type[StrataError], reason: str
) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        await known(stage, sender_id)
        await trouble(stage, agent)
        with pytest.raises(error) as raised:
            await begin(stage, sender_id)
        row = await stage.only_row()
        assert (row.state, row.reason) == ("failed", reason)
        assert row.detail == raised.value.message
        assert not stage.host.running
        assert not stage.streams.observer.live
        assert stage.platform.assignments.stream_of(sender_id) is None
    stage.host.fail, stage.host.before_answer = None, None
    # Whoever comes again sends it no more, and takes the next.
    async with FakeAgent(stage.platform, token, sends=row.id) as again:
        await again.until(lambda: again.doing is None, "it is told to stop")
        assert again.stops()[0][0] == row.id
        assert (await begin(stage, sender_id)).row.state == "waiting"


async def test_a_stop_while_the_sender_is_told_to_begin(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        agent.is_mute = True
        beginning = asyncio.create_task(begin(stage, sender_id))
        await agent.until(agent.starts, "it is told")
        row = await stage.only_row()
        await stage.streams.stop(OWNER, row.id)
        agent.is_mute = False
        agent.doing = wire.StreamState(row.id, "running")
        [frame] = [each for each in agent.heard if each.type == "stream.start"]
        agent._obey(frame, agent.doing, None)
        with pytest.raises(Conflict, match="stopped while it was starting"):
            await beginning
        await agent.until(lambda: agent.doing is None, "it is told to stop")
        assert (await stage.row(row.id)).reason == "user_stop"


# Ends.


async def test_every_end_is_told_to_the_sender_with_its_reason(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        await stage.end(view.row.id, "worker_crash", "it died thrice")
        await agent.until(lambda: agent.doing is None, "it is told")
        assert agent.stops() == [(view.row.id, "worker_crash")]
        view = await begin(stage, sender_id)
        await stage.streams.stop(OWNER, view.row.id)
        await agent.until(lambda: agent.doing is None, "it is told")
        assert agent.stops()[1:] == [(view.row.id, "user_stop")]


async def test_a_stop_is_repeated_until_it_is_confirmed(stage: Stage) -> None:
    hurry(stage, answer_timeout_s=0.05)
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        agent.is_mute = True
        await stage.streams.stop(OWNER, view.row.id)
        await agent.until(lambda: len(agent.stops()) >= 3, "it is told again and again")
    # It went away without a word, and sends still when it is back.
    async with FakeAgent(stage.platform, token, sends=view.row.id) as back:
        await back.until(lambda: back.doing is None, "it is told")
        assert back.stops()[-1] == (view.row.id, "user_stop")
        count = len(back.stops())
        back.report()
        await asyncio.sleep(0.3)  # several rounds
        assert len(back.stops()) == count


async def test_a_sender_that_says_it_does_not_send_is_not_told_again(stage: Stage) -> None:
    hurry(stage, answer_timeout_s=0.05)
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        agent.is_mute = True
        await stage.streams.stop(OWNER, view.row.id)
        await agent.until(agent.stops, "it is told")
        agent.doing = None
        agent.report()
        post = stage.platform.assignments._posts[sender_id]
        await until(lambda: not post.to_stop, DEADLINE_S, "its word is enough")


async def test_a_stream_that_nobody_knows_is_stopped(stage: Stage) -> None:
    _, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token, sends="str_of_another_time") as agent:
        await agent.until(lambda: agent.doing is None, "it is stopped")
        assert agent.stops() == [("str_of_another_time", "not_wanted")]


# Both ends are started anew.


async def test_a_box_that_was_switched_off_and_on_is_told_the_same_again(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        [first] = agent.starts()
    assert (await stage.row(view.row.id)).state == "waiting"
    async with FakeAgent(stage.platform, token) as back:
        await back.until(lambda: back.doing is not None, "it is told")
        assert back.starts() == [first]

        async def is_noted() -> bool:
            events = (await stage.streams.view(OWNER, view.row.id)).events
            return "sender_started_again" in [each.type for each in events]

        await eventually(is_noted, DEADLINE_S, "that is noted")


async def test_one_that_sends_what_it_should_is_left_alone(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token):
        view = await begin(stage, sender_id)
    await stage.restart()
    assert stage.platform.assignments.stream_of(sender_id) == view.row.id
    async with FakeAgent(stage.platform, token, sends=view.row.id) as back:
        await known(stage, sender_id)
        await asyncio.sleep(0.3)  # several rounds
        assert back.ordered == []
        await stage.streams.stop(OWNER, view.row.id)
        await back.until(lambda: back.doing is None, "it is stopped")


async def test_what_ended_while_control_was_away_is_stopped(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token):
        view = await begin(stage, sender_id)
    await stage.end(view.row.id, "eos", "told to")
    await stage.restart()
    async with FakeAgent(stage.platform, token, sends=view.row.id) as back:
        await back.until(lambda: back.doing is None, "it is stopped")
        assert back.stops() == [(view.row.id, "eos")]


# What is wrong.


async def test_a_sender_that_goes_away_ends_nothing_and_is_an_alarm(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token):
        view = await begin(stage, sender_id)
        await stage.hear(view.row.id, RECEIVING)
        assert (await stage.row(view.row.id)).state == "live"
        hurry(stage, offline_alarm_s=0.1)
    row = await stage.becomes(view.row.id, "degraded")
    live = stage.streams.observer.live[row.id]
    assert [each.kind for each in live.standing] == ["sender_offline"]
    async with FakeAgent(stage.platform, token):
        await stage.becomes(view.row.id, "live")
        assert live.standing == []
    await stage.becomes(view.row.id, "degraded")
    await stage.end(view.row.id, "no_input", "no media came for 60 s")
    row = await stage.row(view.row.id)
    assert (row.state, row.reason) == ("ended", "sender_lost")
    assert row.detail == "the sender is not connected; no media came for 60 s"


async def test_an_encoder_that_died_is_told_and_explains_the_end(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        await stage.hear(view.row.id, RECEIVING)
        agent.doing = wire.StreamState(view.row.id, "ended", "the camera was unplugged")
        ended = wire.StreamEnded(view.row.id, "source", "the camera was\0 unplugged", 12.5, 10**9)
        id = agent.say(ended)
        await agent.until(
            lambda: any(
                each.id == id and each.type == "stream.ended.response" for each in agent.heard
            ),
            "it is answered when it is noted",
        )
        agent.report()
        await stage.becomes(view.row.id, "degraded")
        [alarm] = stage.streams.observer.live[view.row.id].standing
        assert alarm.kind == "sender_ended"
        assert "camera was unplugged" in alarm.detail
        events = (await stage.streams.view(OWNER, view.row.id)).events
        [event] = [each for each in events if each.type == "sender_ended"]
        assert event.data["detail"] == "the camera was unplugged"
        assert len(agent.starts()) == 1  # it has given up: it is not told again
        await stage.end(view.row.id, "no_input", "no media came for 60 s")
    row = await stage.row(view.row.id)
    assert row.reason == "sender_lost"
    assert row.detail is not None
    assert "camera was unplugged" in row.detail
    assert row.detail.endswith("no media came for 60 s")


async def test_no_media_from_a_sender_that_says_it_sends_is_no_fault_of_the_sender(
    stage: Stage,
) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        agent.report()
        await stage.end(view.row.id, "no_input", "no media came at all")
    row = await stage.row(view.row.id)
    assert (row.reason, row.detail) == ("no_input", "no media came at all")


async def test_one_that_does_not_begin_again_is_an_alarm_noted_once(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token):
        view = await begin(stage, sender_id)
    async with FakeAgent(stage.platform, token) as back:
        back.refuses = wire.Done(False, "no_source", "there is no /dev/video0")
        await back.until(lambda: len(back.starts()) >= 3, "it is told again and again")
        live = stage.streams.observer.live[view.row.id]
        await until(lambda: live.standing, DEADLINE_S, "there is an alarm")
        assert live.standing[0].kind == "sender_refused"
        back.refuses = None
        await until(lambda: not live.standing, DEADLINE_S, "it is over")
    events = (await stage.streams.view(OWNER, view.row.id)).events
    assert [each.type for each in events].count("sender_refused") == 1


async def test_an_end_of_another_senders_stream_is_not_noted(stage: Stage) -> None:
    sender_id, token = await enrolled(stage)
    _, other = await enrolled(stage)
    async with FakeAgent(stage.platform, token), FakeAgent(stage.platform, other) as stranger:
        view = await begin(stage, sender_id)
        id = stranger.say(wire.StreamEnded(view.row.id, "encoder"))
        await stranger.until(
            lambda: any(each.id == id for each in stranger.heard), "it is answered"
        )
        events = (await stage.streams.view(OWNER, view.row.id)).events
        assert "sender_ended" not in [each.type for each in events]
        assert not stage.streams.observer.live[view.row.id].standing


async def test_ends_are_found_again_where_news_of_them_were_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        view = await begin(stage, sender_id)
        monkeypatch.setattr("strata.control.bus.UNREAD_MAX", 0)
        await stage.end(view.row.id, "eos", "told to")
        await agent.until(lambda: agent.doing is None, "it is stopped")


async def test_a_database_that_goes_away_between_the_steps(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token) as agent:
        await known(stage, sender_id)
        agent.refuses = wire.Done(False, "no_source", "there is no camera")
        ledger = type(stage.streams.ledger)
        real = ledger.end

        async def fail(*_: Any, **__: Any) -> bool:
            raise StoreUnavailable("the database does not answer")

        monkeypatch.setattr(ledger, "end", fail)
        with pytest.raises(SenderRefused):
            await begin(stage, sender_id)
        await until(lambda: not stage.host.running, DEADLINE_S, "the host has stopped it")
        assert stage.platform.assignments.stream_of(sender_id) is None
        monkeypatch.setattr(ledger, "end", real)
        row = await stage.only_row()
        await stage.becomes(row.id, "failed")


async def test_an_alarm_that_could_not_be_noted_is_told_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender_id, token = await enrolled(stage)
    async with FakeAgent(stage.platform, token):
        view = await begin(stage, sender_id)
        await stage.hear(view.row.id, RECEIVING)
        ledger = type(stage.streams.ledger)
        real = ledger.note
        tried = asyncio.Event()

        async def fail(*_: Any, **__: Any) -> None:
            tried.set()
            raise StoreUnavailable("the database does not answer")

        monkeypatch.setattr(ledger, "note", fail)
        hurry(stage, offline_alarm_s=0.01)
    await asyncio.wait_for(tried.wait(), DEADLINE_S)
    monkeypatch.setattr(ledger, "note", real)
    await stage.becomes(view.row.id, "degraded")
    events = (await stage.streams.view(OWNER, view.row.id)).events
    assert [each.type for each in events].count("alarms") == 1


async def test_what_a_sender_shows_survives_a_new_key(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "IN_FLIGHT_S", 0.0)
    sender_id, token = await enrolled(stage)
    camera = wire.Source("uri", uri="rtsp://user:canary-camera@192.0.2.7/stream")
    async with FakeAgent(stage.platform, token):
        await stage.begin()  # one without a sender has nothing to seal
        view = await begin(stage, sender_id, camera)
        before = (await stage.row(view.row.id)).source_sealed
        platform = stage.platform
        await rotation.rotate(platform.journal, platform.store, platform.seal, ADMIN)
        assert (await stage.row(view.row.id)).source_sealed != before
    async with FakeAgent(stage.platform, token) as back:
        await back.until(back.starts, "it is told again")
        assert back.starts()[0].source == camera
