"""`strata up --demo` in an empty folder, as a newcomer starts it."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sqlite3
from collections.abc import Iterator

import httpx
import pytest

from strata.demo.nginx import HTTP_PORT, RTMP_PORT
from support.children import output_of, until
from support.control import Place, StrataUp, eventually, place
from support.media import FPS, probe

TOLD_DEADLINE_S = 90.0
SEGMENTS_DEADLINE_S = 60.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody has the port: we, or whoever had it before."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def told(said: str, label: str) -> str:
    found = re.search(rf"^ *{label} +(\S+)", said, re.MULTILINE)
    assert found, f"{label} is not told: {said}"
    return found[1]


async def segments(playlist: str) -> list[str]:
    """Addresses of the segments that the playlist names."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(playlist)
    if answer.status_code != 200:
        return []
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    names = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return [f"{playlist.rpartition('/')[0]}/{name}" for name in names]


async def test_a_newcomer_sees_a_broadcast(here: Place) -> None:
    folder = here.folder / "an empty folder"
    folder.mkdir()
    bare = {"STRATA_ADMIN_EMAIL": "", "STRATA_ADMIN_PASSWORD": ""}
    with taken(RTMP_PORT), taken(HTTP_PORT):
        async with StrataUp(
            here, arguments=["--demo"], environment=bare, cwd=folder, own_data_dir=False
        ) as one:
            await until(
                lambda: "Ctrl-C ends" in one.said() or one.child.status is not None,
                TOLD_DEADLINE_S,
                "it tells where to look",
            )
            said = one.said()
            page = told(said, "Watch it")
            assert str(HTTP_PORT) not in page
            playlist = f"{page}hls/demo.m3u8"
            async with httpx.AsyncClient(trust_env=False) as http:
                assert "hls/demo.m3u8" in (await http.get(page)).text

            async def is_shown() -> bool:
                return len(await segments(playlist)) >= 2

            await eventually(is_shown, SEGMENTS_DEADLINE_S, f"{playlist} has segments")
            first = (await segments(playlist))[0]
            entries = "stream=codec_name,width,height"
            shown = json.loads(
                await output_of(
                    *("ffprobe", "-v", "error", "-of", "json", "-show_entries", entries), first
                )
            )
            streams = {each["codec_name"]: each for each in shown["streams"]}
            assert set(streams) == {"h264", "aac"}
            assert (streams["h264"]["width"], streams["h264"]["height"]) == (1280, 720)

            assert told(said, "Operate it") == f"{one.url}/"
            async with await one.log_in("admin@localhost", told(said, "Password:")) as api:
                [stream] = (await api.http.get("/api/streams")).json()
                stream = await api.get(stream["id"])
            assert (stream["name"], stream["state"]) == ("Demonstration", "live")
            assert stream["on_air"] is True
            assert [link["state"] for link in stream["links"]] == ["up", "up"]
            assert [each["state"] for each in stream["forwards"]] == ["live", "live"]
            commands = " ".join(here.processes().values())
            for part in (" strata.sender ", " strata.worker ", "/nginx.conf"):
                assert part in commands

            assert await one.stop(signal.SIGINT) == 0
            assert not here.processes()
            assert not here.sockets()
            assert "Traceback" not in one.said()
            assert "ERROR" not in one.said()
    with pytest.raises(httpx.ConnectError):
        await segments(playlist)
    [recording] = (folder / ".strata" / "media").glob("*.ts")
    found = await probe(recording)
    assert found.of("video")[0].key
    assert found.of("audio")
    assert len(found.of("video")) > 4 * FPS
    # The sender was cut off in the middle of a picture: that one was left out.
    decoded = ("ffmpeg", "-v", "error", "-i", recording, "-f", "null", "-")
    assert await output_of(*decoded) == ""
    connection = sqlite3.connect(folder / ".strata" / "strata.db")
    rows = connection.execute("SELECT state, reason FROM streams").fetchall()
    connection.close()
    assert rows == [("ended", "user_stop")]
