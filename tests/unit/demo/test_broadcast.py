"""The order of things; platform and host are in memory, the sender is a ``sleep``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from strata import settings
from strata.control import platform, tables
from strata.control.platform import Platform
from strata.control.roles import User
from strata.control.streams import View
from strata.demo import broadcast, nginx
from strata.demo.nginx import LocalPlatform
from strata.errors import HostUnreachable, PartMissing
from strata.secrets import Secret
from strata.wire import host as wire
from strata.wire import worker
from support.children import until
from support.database import Databases
from support.fake_host import FakeHost

DEADLINE_S = 20.0
ADMIN = User("usr_1", "admin@localhost", "admin")


class FakePlatform:
    rtmp_url = "rtmp://127.0.0.1:1935/live/demo"
    page_url = "http://127.0.0.1:8090/"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fail: Exception | None = None

    async def start(self) -> None:
        if self.fail is not None:
            raise self.fail
        self.told.append("platform started")

    async def stop(self) -> None:
        self.told.append("platform stopped")


class Stage:
    def __init__(self, opened: Platform, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = opened
        self.settings = opened.settings
        self.host = host
        self.streams = opened.streams
        self.platform = FakePlatform()
        self.sender: asyncio.subprocess.Process | None = None
        self.sent_to: tuple[list[str], Secret] | None = None
        monkeypatch.setattr(broadcast, "_send", self._send)
        monkeypatch.setattr(broadcast, "POLL_S", 0.01)
        self.host.before_answer = self._note

    async def _note(self, request: wire.Request) -> None:
        if isinstance(request, wire.Stop):
            assert self.sender is None or self.sender.returncode is not None
            self.platform.told.append("stream stopped")

    async def _send(self, urls: list[str], psk: Secret) -> asyncio.subprocess.Process:
        self.sent_to = (urls, psk)
        self.sender = await nginx.spawn("sleep", "60")
        return self.sender

    def running(self) -> broadcast.AbstractAsyncContextManager[None]:  # type: ignore[name-defined]
        platform = cast("LocalPlatform", self.platform)
        return broadcast.running(self.settings, platform, self.opened)

    async def view(self) -> View:
        [view] = await self.streams.visible_to(ADMIN)
        return view

    async def go_live(self) -> None:
        await until(lambda: self.sender, DEADLINE_S, "the sender is started")
        id = (await self.view()).row.id
        for event in (
            worker.Input("receiving", 0.0),
            worker.Forward("fwd_1", "rtmp", "live", "rtmp://127.0.0.1:1935/live/****"),
        ):
            self.streams.observer.on_notice(wire.WorkerSaid(id, event))


@pytest.fixture
async def stage(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    loaded = settings.load(
        data_dir=tmp_path,
        database=await databases.make("sqlite", tmp_path),
        forward={"allow_private": True},
        host={"public_host": "10.0.0.1"},
    )
    host = FakeHost()
    async with platform.opened(loaded, lambda observer: host) as opened:
        async with opened.store.begin() as session:
            session.add(
                tables.User(
                    id=ADMIN.id,
                    email=ADMIN.email,
                    password_hash="x",
                    role=ADMIN.role,
                    created_at=datetime.now(UTC),
                )
            )
        yield Stage(opened, host, monkeypatch)


async def test_from_the_platform_to_the_air_and_back(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ""

    def heard() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "Ctrl-C ends" in said

    async with stage.running():
        await stage.go_live()
        await until(heard, DEADLINE_S, "it tells where to look")
        view = await stage.view()
        assert (view.row.state, view.row.name) == ("live", "Demonstration")
    assert stage.platform.told == ["platform started", "stream stopped", "platform stopped"]
    assert stage.sender is not None
    assert stage.sender.returncode is not None
    assert (await stage.view()).row.reason == "user_stop"
    id = view.row.id
    for told in (
        "http://127.0.0.1:8090/",
        "ffplay rtmp://127.0.0.1:1935/live/demo",
        f"{stage.settings.media_dir}/{id}-*.ts",
        "http://127.0.0.1:8080/",
        f"{stage.settings.log_dir}/{id}.log",
    ):
        assert told in said


async def test_the_stream_is_an_ordinary_one_over_two_links_and_is_recorded(stage: Stage) -> None:
    async with stage.running():
        await stage.go_live()
        [start] = [each for each in stage.host.asked if isinstance(each, wire.Start)]
        assert start.links == 2
        assert start.forwards[0] == stage.platform.rtmp_url
        assert start.forwards[1].startswith(f"file://{stage.settings.media_dir}/")
        urls = ["rist://10.0.0.1:15000", "rist://10.0.0.1:15002"]
        assert stage.sent_to == (urls, Secret(start.psk))


async def test_it_waits_for_the_host(stage: Stage) -> None:
    stage.host.connected = False
    async with stage.running():
        await until(lambda: stage.platform.told, DEADLINE_S, "the platform is there")
        assert not stage.host.asked
        stage.host.connected = True
        await stage.go_live()
    assert stage.platform.told[-1] == "platform stopped"


async def test_leaving_before_anything_was_begun_leaves_nothing(stage: Stage) -> None:
    stage.host.connected = False
    async with stage.running():
        await until(lambda: stage.platform.told, DEADLINE_S, "the platform is there")
    assert stage.platform.told == ["platform started", "platform stopped"]


async def test_a_missing_part_is_one_line_and_the_rest_goes_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.platform.fail = PartMissing("nginx is missing; run script/bootstrap")
    async with stage.running():
        await until(lambda: caplog.records, DEADLINE_S, "it is told")
        [record] = caplog.records
        assert record.getMessage() == (
            "the demonstration cannot go on: nginx is missing; run script/bootstrap"
        )
        assert record.exc_info is None
        assert stage.streams.can_start


async def test_a_start_that_fails_stops_the_platform(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.host.fail = HostUnreachable("the host went away")
    async with stage.running():
        await until(
            lambda: "platform stopped" in stage.platform.told, DEADLINE_S, "all is put away"
        )
    assert "cannot go on: the host went away" in caplog.text
    assert stage.sender is None


async def test_one_that_does_not_get_on_the_air_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broadcast, "LIVE_DEADLINE_S", 0.1)
    async with stage.running():
        await until(lambda: len(stage.platform.told) == 3, DEADLINE_S, "all is put away")
    assert "is not on the air after 0 s but waiting" in caplog.text
    assert stage.platform.told == ["platform started", "stream stopped", "platform stopped"]


async def test_a_sender_that_ends_is_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    async with stage.running():
        await stage.go_live()
        assert stage.sender is not None
        await until(lambda: stage.streams.observer._changes.empty(), DEADLINE_S, "it is live")
        stage.sender.kill()
        await until(lambda: len(stage.platform.told) == 3, DEADLINE_S, "all is put away")
    assert "the demonstration's sender ended" in caplog.text


async def test_a_host_that_is_gone_at_the_end_does_not_keep_the_platform_up(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage.running():
        await stage.go_live()
        stage.host.connected = False
    assert stage.platform.told == ["platform started", "platform stopped"]
    assert "the host is not connected" in caplog.text
