"""A stream that runs, changed over the API: real workers, nginx-rtmp, a preview and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.control import Api, Json, Place, StrataUp, eventually, place
from support.media import RistSender, decode_errors, output_of, probe
from support.nginx import Nginx

FIRST, SECOND, THIRD = "canary-first-key", "canary-second-key", "canary-third-key"
DEADLINE_S = 30.0
SENT_S = 60.0
"""More than it takes; it is stopped before that."""


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


async def destination(api: Api, nginx: Nginx, name: str, key: str) -> str:
    body = {"name": name, "url": nginx.url("x").removesuffix("/x"), "key": key}
    answer = await api.http.post("/api/destinations", json=body)
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def states(stream: Json) -> dict[str, str]:
    return {each["forward"]: each["state"] for each in stream["forwards"]}


async def watch(one: StrataUp, api: Api, id: str, folder: Path) -> None:
    """The preview, as a player in a browser gets it: without a header."""
    async with Api(one.url) as player:
        path = f"/hls/{id}/index.m3u8"
        assert (await player.http.get(path)).status_code == 401

        async def is_there() -> bool:
            found = await player.http.get(path, params={"token": api.token or ""})
            return found.status_code == 200 and "segment" in found.text

        await eventually(is_there, DEADLINE_S, "the playlist names a segment")
        text = (await player.http.get(path, params={"token": api.token or ""})).text
        assert (api.token or "") not in text
        last = text.splitlines()[-1]
        segment = await player.http.get(f"/hls/{id}/{last}")
        assert segment.headers["content-type"] == "video/mp2t"
        (folder / "segment.ts").write_bytes(segment.content)
    found = await probe(folder / "segment.ts")
    assert found.of("video")[0].key
    assert await decode_errors(folder / "segment.ts") == ""


async def look(api: Api, id: str, folder: Path) -> None:
    """The picture of what is on the air."""
    answer = await api.http.get(f"/api/streams/{id}/thumbnail.jpg")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["strata-shows"] == "live"
    (folder / "picture.jpg").write_bytes(answer.content)
    shown = await output_of(
        *("ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width"),
        *("-of", "csv=p=0", folder / "picture.jpg"),
    )
    assert shown.strip() == "mjpeg,320"


async def test_a_stream_is_changed_while_it_is_on_the_air(
    here: Place, tmp_path: Path, test_file: Path
) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        StrataUp(here, environment={"STRATA_FORWARD__ALLOW_PRIVATE": "true"}) as one,
        await one.log_in() as api,
    ):
        first = await destination(api, nginx, "First", FIRST)
        second = await destination(api, nginx, "Second", SECOND)
        tested = await api.http.post(f"/api/destinations/{first}/test")
        assert tested.status_code == 200, tested.text
        assert tested.json()["ok"], tested.text
        body = {"destinations": [first], "preview": True}
        assert (await api.http.post("/api/preflight", json=body)).json() == []

        started = await api.start(destinations=[first], preview=True, name="Derby")
        id = started["id"]
        path = f"/api/streams/{id}"
        async with RistSender(tmp_path / "sender", started["ports"], started["psk"]) as sender:
            await sender.begin(test_file, SENT_S)
            await api.until(id, lambda each: each["state"] == "live", "it is live")
            busy = await api.http.post(f"/api/destinations/{first}/test")
            assert busy.status_code == 409, busy.text
            await watch(one, api, id, tmp_path)
            await look(api, id, tmp_path)

            added = await api.http.post(f"{path}/forwards", json={"destination": second})
            assert added.status_code == 201, added.text
            assert (added.json()["forward"], added.json()["name"]) == ("fwd_3", "Second")
            stream = await api.until(id, lambda each: states(each).get("fwd_3") == "live", "added")
            names = {each["forward"]: each["name"] for each in stream["forwards"]}
            assert names == {"fwd_1": "First", "fwd_2": "preview", "fwd_3": "Second"}

            replaced = await api.http.put(f"{path}/forwards/fwd_1", json={"url": nginx.url(THIRD)})
            assert replaced.status_code == 200, replaced.text
            assert replaced.json()["overlap"] is True
            refused = await api.http.put(
                f"{path}/forwards/fwd_1", json={"url": "rtmp://127.0.0.1:1/live/canary-nobody"}
            )
            assert refused.status_code == 502, refused.text
            assert states(await api.get(id))["fwd_1"] == "live"

            removed = await api.http.delete(f"{path}/forwards/fwd_3")
            assert removed.status_code == 204, removed.text
            stream = await api.until(
                id, lambda each: each["state"] == "live" and len(each["forwards"]) == 2, "removed"
            )
            assert set(states(stream)) == {"fwd_1", "fwd_2"}

            held = await api.http.post(f"{path}/slate", json={"now": True})
            assert held.status_code == 200, held.text
            await api.until(id, lambda each: each["program"]["video"] == "slate", "slate is shown")
            await api.http.post(f"{path}/slate", json={"now": False})
            await api.until(id, lambda each: each["program"]["video"] == "live", "and no longer")
            stopped = await api.stop(id)
        assert stopped["reason"] == "user_stop"
        told = [each for each in stopped["events"] if each["type"].startswith("forward_")]
        assert [each["type"] for each in told] == [
            *("forward_requested", "forward_changed") * 2,
            *("forward_requested", "forward_refused"),
            *("forward_requested", "forward_changed"),
        ]
        assert all(each["user_id"] for each in told if each["type"] == "forward_requested")
        # The test push, the first, the second and the third: each was a publisher of its own.
        recorded = [path.name.rpartition("-")[0] for path in await nginx.finished(4)]
        assert sorted(recorded) == sorted([FIRST, FIRST, SECOND, THIRD])
        said = one.said()
    assert "Traceback" not in said
    assert "canary" not in said.replace("canary-password", "")
