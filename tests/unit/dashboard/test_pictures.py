from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from strata.control.roles import User
from strata.dashboard import pictures
from strata.dashboard.overview import Overview
from strata.dashboard.seat import KEY, Seat
from strata.secrets import Secret
from strata.wire import host as wire
from unit.control.stage import OTHER, OWNER, Stage
from unit.control.test_alerts import on_air


def app_for(stage: Stage, user: User) -> ASGIApp:
    inner = Starlette()
    inner.add_route("/pictures/{stream_id}.jpg", pictures.picture)
    inner.add_route("/watch/{stream_id}/index.m3u8", pictures.playlist)
    seat = Seat(stage.platform, Overview(stage.platform), Secret("tok_x"), user)

    async def seated(scope: Scope, receive: Receive, send: Send) -> None:
        await inner({**scope, KEY: seat}, receive, send)

    return seated


@pytest.fixture
async def clients(stage: Stage) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    found = {
        user.id: httpx.AsyncClient(
            transport=httpx.ASGITransport(app_for(stage, user)), base_url="http://test"
        )
        for user in (OWNER, OTHER)
    }
    yield found
    for each in found.values():
        await each.aclose()


async def test_a_picture_is_for_those_who_may_see_the_stream(
    stage: Stage, clients: dict[str, httpx.AsyncClient]
) -> None:
    id = await on_air(stage)
    assert (await clients[OWNER.id].get(f"/pictures/{id}.jpg")).status_code == 204
    stage.host.picture = wire.Picture(b"a picture", 1.0, "live")
    answer = await clients[OWNER.id].get(f"/pictures/{id}.jpg")
    assert (answer.content, answer.headers["content-type"]) == (b"a picture", "image/jpeg")
    assert answer.headers["cache-control"] == "no-store"
    assert (await clients[OTHER.id].get(f"/pictures/{id}.jpg")).content == b""


async def test_a_preview_is_for_those_who_may_see_the_stream(
    stage: Stage, clients: dict[str, httpx.AsyncClient]
) -> None:
    id = await on_air(stage)
    path = f"/watch/{id}/index.m3u8"
    assert (await clients[OWNER.id].get(path)).status_code == 404
    folder = stage.settings.media_dir / "previews" / id
    folder.mkdir(parents=True)
    (folder / "index.m3u8").write_text("#EXTM3U\n#EXTINF:4.0,\nsegment-1.ts\n")
    answer = await clients[OWNER.id].get(path)
    assert answer.status_code == 200
    [line] = [each for each in answer.text.splitlines() if not each.startswith("#")]
    assert line.startswith(f"/hls/{id}/segment-1.ts?ticket=")
    assert (await clients[OTHER.id].get(path)).status_code == 404


def test_only_segments_are_placed() -> None:
    text = "#EXTM3U\n\n#EXTINF:4.0,\nsegment-1.ts?ticket=x\n"
    assert pictures.placed(text, "/hls/str_1/") == (
        "#EXTM3U\n\n#EXTINF:4.0,\n/hls/str_1/segment-1.ts?ticket=x\n"
    )
