from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strata.control import tables
from strata.control.upkeep import KEEP_PREVIEWS
from strata.wire import forward_url
from strata.wire import host as wire
from unit.control.api.stage import ApiStage, is_problem
from unit.control.stage import ADMIN, OTHER, OWNER

PLAYLIST = "#EXTM3U\n#EXTINF:2.000,\nsegment-7.ts\n"


class Shown:
    """A stream with a preview, of which something is written."""

    def __init__(self, api: ApiStage, login: dict[str, str], id: str, folder: Path) -> None:
        self.api, self.login, self.id, self.folder = api, login, id, folder
        self.path = f"/hls/{id}/index.m3u8"
        self.token = login["Authorization"].removeprefix("Bearer ")


@pytest.fixture
async def shown(api: ApiStage) -> Shown:
    login = await api.log_in(OWNER)
    answer = await api.start(login, forward_to=[], preview=True)
    [start] = api.host.asked
    assert isinstance(start, wire.Start)
    [url] = start.forwards
    path = forward_url.parse(url).path
    assert path is not None
    folder = Path(path)
    folder.mkdir(parents=True)
    (folder / "index.m3u8").write_text(PLAYLIST)
    (folder / "segment-7.ts").write_bytes(b"media")
    return Shown(api, login, answer.json()["id"], folder)


async def test_it_lies_in_the_media_folder(shown: Shown) -> None:
    assert shown.folder == shown.api.stage.settings.media_dir / "previews" / shown.id


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_player_gets_the_playlist_and_by_it_the_segments(shown: Shown, way: str) -> None:
    http = shown.api.http
    if way == "header":
        answer = await http.get(shown.path, headers=shown.login)
    else:
        answer = await http.get(shown.path, params={"token": shown.token})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    assert answer.headers["cache-control"] == "no-store"
    assert shown.token not in answer.text
    segment = answer.text.splitlines()[-1]
    assert segment.startswith("segment-7.ts?ticket=")
    media = await http.get(f"/hls/{shown.id}/{segment}")
    assert (media.status_code, media.content) == (200, b"media")
    assert media.headers["content-type"] == "video/mp2t"
    plain = await http.get(f"/hls/{shown.id}/segment-7.ts", headers=shown.login)
    assert plain.content == b"media"


async def test_without_a_token_nothing_is_shown(shown: Shown) -> None:
    http = shown.api.http
    for path in (shown.path, f"/hls/{shown.id}/segment-7.ts"):
        for params in ({}, {"token": "tok_x.canary"}, {"ticket": "9999999999.canary"}):
            if "ticket" in params and path == shown.path:
                continue
            assert is_problem(await http.get(path, params=params), 401, "unauthorized")


async def test_a_ticket_is_for_one_stream_alone(shown: Shown) -> None:
    other = f"str_{'0' * 32}"
    ticket = shown.api.stage.platform.previews.ticket(other)
    path = f"/hls/{shown.id}/segment-7.ts"
    answer = await shown.api.http.get(path, params={"ticket": ticket})
    assert is_problem(answer, 401, "unauthorized")


async def test_whose_it_is(shown: Shown) -> None:
    http = shown.api.http
    other = await shown.api.log_in(OTHER)
    for path in (shown.path, f"/hls/{shown.id}/segment-7.ts"):
        assert is_problem(await http.get(path, headers=other), 404, "not_found")
    assert (await http.get(shown.path, headers=await shown.api.log_in(ADMIN))).status_code == 200


@pytest.mark.parametrize(
    "path", ["/hls/{}/..%2Findex.m3u8", "/hls/..%2F{}/index.m3u8", "/hls/{}/index.m3u8.bak"]
)
async def test_there_is_no_way_out(shown: Shown, path: str) -> None:
    answer = await shown.api.http.get(path.format(shown.id), headers=shown.login)
    assert answer.status_code == 404


async def test_a_stream_without_one(api: ApiStage) -> None:
    login = await api.log_in(OWNER)
    id = (await api.start(login)).json()["id"]
    assert is_problem(await api.http.get(f"/hls/{id}/index.m3u8", headers=login), 404, "not_found")


async def test_it_goes_some_time_after_the_stream(shown: Shown) -> None:
    stage = shown.api.stage
    platform = stage.platform
    upkeep = platform.upkeep
    strange = shown.folder.parent / f"str_{'0' * 32}"
    strange.mkdir()
    await upkeep.once()
    assert shown.folder.exists()
    assert not strange.exists()
    await stage.streams.stop(OWNER, shown.id)
    await upkeep.once()
    assert shown.folder.exists()
    async with stage.store.begin() as session:
        row = await session.get(tables.Stream, shown.id)
        assert row is not None
        row.ended_at = datetime.now(UTC) - KEEP_PREVIEWS - timedelta(seconds=1)
    await upkeep.once()
    assert not shown.folder.exists()
