from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from strata.demo import nginx
from strata.demo.nginx import LocalPlatform, end, spawn
from strata.errors import HostError, PartMissing
from support.children import until
from support.ports import free_tcp_port

DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def _ports_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx, "RTMP_PORT", free_tcp_port())
    monkeypatch.setattr(nginx, "HTTP_PORT", free_tcp_port())


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    one = LocalPlatform(tmp_path / "an odd name; really" / "demo")
    yield one
    await one.stop()


def test_the_usual_ports_are_taken_where_they_are_free(platform: LocalPlatform) -> None:
    assert platform.rtmp_url == f"rtmp://127.0.0.1:{nginx.RTMP_PORT}/live/demo"
    assert platform.page_url == f"http://127.0.0.1:{nginx.HTTP_PORT}/"


def test_and_others_where_they_are_not(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", nginx.RTMP_PORT)),
        socket.create_server(("127.0.0.1", nginx.HTTP_PORT)),
    ):
        one = LocalPlatform(tmp_path)
        assert one.rtmp_port != nginx.RTMP_PORT
        assert one.http_port != nginx.HTTP_PORT


async def test_it_listens_when_it_has_started_and_not_when_it_has_stopped(
    platform: LocalPlatform,
) -> None:
    await platform.start()
    async with httpx.AsyncClient(trust_env=False) as http:
        page = await http.get(platform.page_url)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html"
    assert f"ffplay {platform.rtmp_url}" in page.text
    assert 'src="hls/demo.m3u8"' in page.text
    socket.create_connection(("127.0.0.1", platform.rtmp_port)).close()
    await platform.stop()
    for port in (platform.rtmp_port, platform.http_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    await platform.stop()


async def test_only_what_is_to_be_shown_is_shown(platform: LocalPlatform) -> None:
    await platform.start()
    async with httpx.AsyncClient(trust_env=False) as http:
        for path in ("nginx.conf", "error.log", "../nginx.conf", "%2e%2e/nginx.conf"):
            assert (await http.get(platform.page_url + path)).status_code in (400, 404)


async def test_what_lay_in_the_folder_from_the_last_time_is_gone(platform: LocalPlatform) -> None:
    old = platform._folder / "www" / "hls" / "demo-7.ts"
    old.parent.mkdir(parents=True)
    old.touch()
    await platform.start()
    assert not old.exists()


@pytest.mark.parametrize("missing", ["nginx", "module"])
async def test_a_missing_part_says_what_to_run(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "nginx":
        monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    else:
        monkeypatch.setattr(nginx, "MODULES", (Path("/nonexistent.so"),))
    with pytest.raises(PartMissing, match=r"run script/bootstrap .*libnginx-mod-rtmp"):
        await platform.start()


async def test_one_that_does_not_come_up_is_told(platform: LocalPlatform) -> None:
    with socket.create_server(("127.0.0.1", platform.http_port)):  # taken meanwhile
        words = r"did not come up; see .*/error\.log"
        starting = asyncio.wait_for(platform.start(), DEADLINE_S)
        with pytest.raises(HostError, match=words):
            await starting
    assert platform._process is not None
    assert platform._process.returncode is not None


async def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """However that ends: here it is killed."""
    note = tmp_path / "pid"
    script = (
        "import asyncio, pathlib\n"
        "from strata.demo.nginx import spawn\n"
        "async def main():\n"
        "    child = await spawn('sleep', '60')\n"
        f"    pathlib.Path({str(note)!r} + '.new').write_text(str(child.pid))\n"
        f"    pathlib.Path({str(note)!r} + '.new').rename({str(note)!r})\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    await until(note.exists, DEADLINE_S, "the child runs")
    child = int(note.read_text())
    name = Path(f"/proc/{child}/comm")
    await until(lambda: name.read_text() == "sleep\n", DEADLINE_S, "it is what was asked for")
    parent.kill()
    await parent.wait()
    await until(lambda: ended(child), DEADLINE_S, "the child is gone, too")


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_ending_what_has_ended_is_nothing() -> None:
    process = await spawn("true")
    await asyncio.wait_for(process.wait(), DEADLINE_S)
    await end(process)
    assert process.returncode == 0


async def test_a_child_is_asked_to_end() -> None:
    process = await spawn("sleep", "60")
    name = Path(f"/proc/{process.pid}/comm")
    await until(lambda: name.read_text() == "sleep\n", DEADLINE_S, "it runs")
    assert os.getsid(process.pid) == process.pid
    await asyncio.wait_for(end(process), DEADLINE_S)
    assert process.returncode == -signal.SIGTERM


async def test_and_killed_if_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx, "STOP_DEADLINE_S", 0.2)
    up = tmp_path / "up"
    process = await spawn("sh", "-c", f"trap '' TERM; touch {up}; while :; do sleep 0.1; done")
    await until(up.exists, DEADLINE_S, "it runs")
    await asyncio.wait_for(end(process), DEADLINE_S)
    assert process.returncode == -signal.SIGKILL
