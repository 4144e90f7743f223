"""Test pushes by their real process, to real peers."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from strata import helpers
from strata.host.test_pushes import ANSWER_BYTES_MAX, COMMAND, DEADLINE_S
from strata.wire import helpers as wire
from support.children import Child, until
from support.media import decode_errors, probe, shape_of
from support.nginx import Nginx
from support.ports import free_tcp_port, free_udp_port
from support.put_server import PutServer
from support.srt import srt_receiver
from support.tls import Certificates

KEY = "stream-key-of-the-tests"
PASSPHRASE = "correct-horse-battery"
BARS_FPS = 30


async def push(url: str, seconds: float = 3.0) -> wire.Pushed:
    line = wire.encode(wire.Push(url, seconds))
    answer = await helpers.ask(COMMAND, line, DEADLINE_S, ANSWER_BYTES_MAX)
    assert answer.status == 0, answer.words
    assert KEY.encode() not in answer.output
    assert KEY not in answer.words
    assert PASSPHRASE.encode() not in answer.output
    return wire.decode(answer.output, wire.Pushed)


async def test_rtmp_takes_colour_bars_and_a_tone(tmp_path: Path) -> None:
    async with Nginx(tmp_path / "nginx") as nginx:
        pushed = await push(nginx.url(KEY), 4.0)
        [flv] = await nginx.finished()
    assert (pushed.ok, pushed.code) == (True, "ok"), pushed
    assert 3.5 < pushed.live_s < 6.0
    assert pushed.bytes >= flv.stat().st_size * 0.98
    assert "took 4 s of colour bars" in pushed.message
    assert await decode_errors(flv) == ""
    assert await shape_of(flv) == ["aac", "h264"]
    found = await probe(flv)
    assert found.of("video")[0].key
    assert found.longest_step_s < 1.5 / BARS_FPS
    assert 3.5 < found.video_s < 6.0
    assert 1000 < flv.stat().st_size * 8 / 1000 / found.video_s < 2000


@asynccontextmanager
async def server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
) -> AsyncIterator[int]:
    one = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with one:
        yield one.sockets[0].getsockname()[1]


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_what_an_rtmp_server_answers_is_told_as_a_forward_would(tmp_path: Path) -> None:
    closed = free_tcp_port()
    async with Nginx(tmp_path / "nginx") as nginx, server(speak_http) as web:
        expected = [
            (f"rtmp://127.0.0.1:{closed}/live/{KEY}", "unreachable", "connection refused: nothing"),
            (nginx.url(KEY).replace("/live/", "/nosuchapp/"), "refused", "refused the application"),
            (f"rtmp://127.0.0.1:{web}/live/{KEY}", "refused", "does not speak RTMP"),
            (f"rtmps://127.0.0.1:{web}/live/{KEY}", "refused", "does not speak TLS"),
            (f"rtmp://no-such-host.invalid/live/{KEY}", "unreachable", "does not resolve"),
            ("rtmp://127.0.0.1/", "bad_url", "lacks the application"),
        ]
        for url, code, words in expected:
            pushed = await push(url)
            assert (pushed.ok, pushed.code, pushed.live_s) == (False, code, 0.0), pushed
            assert words in pushed.message


async def test_a_key_that_is_in_use_is_refused(tmp_path: Path) -> None:
    async with Nginx(tmp_path / "nginx") as nginx:
        first = asyncio.create_task(push(nginx.url(KEY), 6.0))
        await until(nginx.recordings, 10.0, "the first one is on the air")
        second = await push(nginx.url(KEY))
        assert (second.ok, second.code) == (False, "refused")
        assert "check the stream key, and that nobody else is publishing" in second.message
        assert (await first).ok


async def test_a_server_that_goes_away_is_told_with_how_long_it_took_media(tmp_path: Path) -> None:
    async with Nginx(tmp_path / "nginx") as nginx:
        pushing = asyncio.create_task(push(nginx.url(KEY), 10.0))
        await until(
            lambda: any(path.stat().st_size > 400_000 for path in nginx.recordings()),
            10.0,
            "it has been on the air for two seconds",
        )
        await nginx.stop()
        pushed = await pushing
    assert (pushed.ok, pushed.code) == (False, "destination")
    assert "closed the connection" in pushed.message
    assert 0 < pushed.live_s < 10.0
    assert pushed.bytes > 0


async def test_a_server_that_hangs_is_told_in_time() -> None:
    """One that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        pushed = await push(f"rtmp://127.0.0.1:{port}/live/{KEY}")
    assert (pushed.ok, pushed.code) == (False, "unreachable")
    assert "does not answer" in pushed.message
    assert time.monotonic() - began < DEADLINE_S


async def test_srt_is_called_with_the_passphrase(tmp_path: Path) -> None:
    port = free_udp_port()
    listener = f"srt://127.0.0.1:{port}?mode=listener&passphrase={PASSPHRASE}"
    nobody = await push(f"srt://127.0.0.1:{port}?passphrase={PASSPHRASE}")
    assert (nobody.ok, nobody.code) == (False, "unreachable")
    async with srt_receiver(listener, tmp_path / "wrong.ts"):
        wrong = await push(f"srt://127.0.0.1:{port}?passphrase=another-passphrase")
        assert (wrong.ok, wrong.code) == (False, "refused")
        assert "has another passphrase" in wrong.message
    async with srt_receiver(listener, tmp_path / "right.ts"):
        right = await push(f"srt://127.0.0.1:{port}?passphrase={PASSPHRASE}")
    assert (right.ok, right.code) == (True, "ok"), right
    assert right.live_s > 2.5
    assert await shape_of(tmp_path / "right.ts") == ["aac", "h264"]
    assert (await probe(tmp_path / "right.ts")).video_s > 2.0


async def test_an_srt_listener_would_wait_if_the_port_is_free() -> None:
    port = free_udp_port()
    pushed = await push(f"srt://:{port}")
    assert (pushed.ok, pushed.code) == (True, "waiting")
    assert pushed.message == f"waiting for a caller on UDP port {port}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", port))
        pushed = await push(f"srt://:{port}")
    assert (pushed.ok, pushed.code) == (False, "destination")
    assert f"cannot wait for callers on UDP port {port}" in pushed.message


async def test_hls_is_pushed_and_its_answers_are_told(tmp_path: Path) -> None:
    async with PutServer(tmp_path / "put") as one:
        url = f"http://127.0.0.1:{one.port}/upload?cid={KEY}&file="
        pushed = await push(url, 4.0)
        assert (pushed.ok, pushed.code) == (True, "ok"), pushed
        assert len([name for name in one.names if name.endswith(".ts")]) >= 2
        assert "#EXT-X-ENDLIST" in one.playlists[-1]
        one.answer = lambda name: 202
        pushed = await push(url, 4.0)
        assert (pushed.ok, pushed.code) == (False, "unconfirmed")
        assert "does not say that it takes it" in pushed.message
        one.answer = lambda name: 403
        pushed = await push(url, 4.0)
        assert (pushed.ok, pushed.code) == (False, "refused"), pushed


async def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path: Path) -> None:
    certificates = await Certificates.make(tmp_path / "tls")
    async with PutServer(tmp_path / "put", tls=certificates.context()) as one:
        pushed = await push(f"https://localhost:{one.port}/{KEY}/", 4.0)
    assert (pushed.ok, pushed.code) == (False, "certificate")
    assert one.names == []


@pytest.mark.parametrize(
    "name", ["new/show-%Y.ts", "new/deep/show.mkv", "show.mp4", "hls:playlist"]
)
async def test_a_folder_is_written_to_and_left_as_it_was(tmp_path: Path, name: str) -> None:
    base = tmp_path / "media"
    base.mkdir()
    (base / "show.mp4").write_bytes(b"mine")
    kind, _, rest = name.rpartition(":")
    pushed = await push(f"{kind or 'file'}://{base}/{rest}")
    assert (pushed.ok, pushed.code) == (True, "ok"), pushed
    assert pushed.bytes > 0
    assert [path.name for path in base.iterdir()] == ["show.mp4"]
    assert (base / "show.mp4").read_bytes() == b"mine"


async def test_a_playlist_that_is_being_written_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "index.m3u8").write_text("of a broadcast")
    (tmp_path / "segment-7.ts").write_bytes(b"of a broadcast")
    pushed = await push(f"hls://{tmp_path}")
    assert pushed.ok, pushed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.m3u8", "segment-7.ts"]
    assert (tmp_path / "index.m3u8").read_text() == "of a broadcast"


@pytest.mark.parametrize("url", ["file://{}/file/show.ts", "hls://{}/file/show"])
async def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path, url: str) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    pushed = await push(url.format(tmp_path))
    assert (pushed.ok, pushed.code) == (False, "bad_url")
    assert "choose a folder that this user may write to" in pushed.message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_it_ends_with_its_parent_and_tells_nobody_the_key(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdin.write(sys.stdin.buffer.read())\n"
        "child.stdin.close()\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    async with Nginx(tmp_path / "nginx") as nginx:
        line = wire.encode(wire.Push(nginx.url(KEY), 10.0))
        said = tmp_path / "pid"
        async with Child(
            [sys.executable, "-I", script, *COMMAND], tmp_path / "log", stdin=line, output=said
        ) as parent:
            await until(lambda: said.read_text().endswith("\n"), 10.0, "it has begun")
            pid = int(said.read_text())
            await until(nginx.recordings, 10.0, "it is on the air")
            told = Path(f"/proc/{pid}/cmdline").read_bytes()
            told += Path(f"/proc/{pid}/environ").read_bytes()
            assert KEY.encode() not in told
            parent.signal(signal.SIGKILL)
            await until(lambda: not runs(pid), 5.0, "it has ended with its parent")


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_a_line_that_is_none_is_told_without_quoting_it() -> None:
    line = json.dumps({"url": KEY, "seconds": "ten"}).encode() + b"\n"
    answer = await helpers.ask(COMMAND, line, DEADLINE_S, ANSWER_BYTES_MAX)
    assert answer.status == 1
    assert answer.words == "ValueError: a line cannot be read as Push"


@pytest.mark.long
async def test_a_destination_that_takes_less_than_it_is_sent_is_too_slow(tmp_path: Path) -> None:
    async with PutServer(tmp_path / "put") as one:
        one.bytes_per_s = 100_000
        pushed = await push(f"http://127.0.0.1:{one.port}/", 10.0)
    assert (pushed.ok, pushed.code) == (False, "too_slow"), pushed
    assert "slower than 1.7 Mbit/s" in pushed.message
    assert pushed.bytes > 0
