"""How a worker starts and ends, seen from the outside: statuses, lines, files, ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from support.children import Child, until
from support.ports import free_udp_ports, udp_port_is_bound
from support.worker import PSK, ControlClient, WorkerProcess, inherited

KEY = "stream-key-of-the-tests"
RTMP = f"rtmp://127.0.0.1:9/app/{KEY}"

DEADLINE_S = 30.0


async def run(
    folder: Path,
    *arguments: str,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Exit status and lines of a worker that is expected to end by itself."""
    async with Child(
        [sys.executable, "-I", "-m", "strata.worker", *arguments],
        folder / "worker.log",
        stdin=stdin,
        env=inherited() | dict(environment or {}),
    ) as child:
        status = await child.wait(DEADLINE_S)
    return status, child.said().splitlines()


def usual(folder: Path, ports: Sequence[int]) -> list[str]:
    return [
        *("--stream-id", "str_test", "--ports", ",".join(map(str, ports))),
        *("--control-socket", os.fspath(folder / "worker.sock")),
    ]


def the_error(lines: list[str]) -> str:
    """The one line that a start that failed leaves."""
    [line] = lines
    assert line.startswith("strata-receiver: error: ")
    assert PSK not in line
    assert KEY not in line
    return line.removeprefix("strata-receiver: error: ")


def has_left_nothing(folder: Path, ports: Sequence[int]) -> bool:
    return not (folder / "worker.sock").exists() and not any(map(udp_port_is_bound, ports))


@pytest.mark.parametrize(
    ("replaced", "by", "says"),
    [
        ("--ports", "15000;15002", "is no list of UDP ports; write them like 15000,15002"),
        ("--ports", "0", "is no port (1 to 65535)"),
        ("--stream-id", "a b", "--stream-id takes 1 to 64 letters"),
        ("--control-socket", "/nowhere/at/all.sock", "choose a folder that exists"),
        ("--control-socket", "/" + "x" * 120, "more than 107 bytes"),
        ("--control-socket", "/tmp", "exists and is no socket"),
    ],
)
async def test_bad_arguments(tmp_path: Path, replaced: str, by: str, says: str) -> None:
    ports = free_udp_ports()
    arguments = usual(tmp_path, ports)
    arguments[arguments.index(replaced) + 1] = by
    status, lines = await run(tmp_path, *arguments, "--psk", PSK)
    assert status == 2
    assert says in the_error(lines)
    assert has_left_nothing(tmp_path, ports)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "no pre-shared key"),
        (("--psk", "short"), "the PSK has 5 bytes"),
        (("--psk", PSK, "--bind", "not-an-address"), "is no IP address to listen on"),
        (("--psk", PSK, "--bind", "192.0.2.254"), "choose an address of this machine"),
        (
            ("--psk", PSK, "--forward-to", f"gopher://host/{KEY}"),
            "can be forwarded to; write rtmp://",
        ),
        (("--psk", PSK, "--forward-to", f"rtmp://host/{KEY}"), "write rtmp://host/app/key"),
        (("--psk", PSK, "--forward-to", "file:///x.avi"), "let its name end in .ts"),
        (("--psk", PSK, "--forward-to", f"srt://host?passphrase={KEY}"), "names no port"),
        (("--psk", PSK, "--forward-to", "hls:///proc/no"), "cannot write a playlist"),
        (("--psk", PSK, "--forward-to", RTMP, "--forward-to", RTMP), "give it once"),
        (("--psk", PSK, "--forward-to", "file:///proc/no/x.ts"), "cannot record to"),
        (("--psk", PSK, "--forwrd-to", RTMP), "unrecognized arguments: --forwrd-to"),
        (("--secrets-stdin",), "expects one line on standard input"),
        (("--secrets-stdin", "--psk", PSK), "give no --psk"),
    ],
)
async def test_bad_secrets_and_urls(tmp_path: Path, more: Sequence[str], says: str) -> None:
    ports = free_udp_ports()
    status, lines = await run(tmp_path, *usual(tmp_path, ports), *more, stdin=b"")
    assert status == 2
    assert says in the_error(lines)
    assert has_left_nothing(tmp_path, ports)


async def test_a_bad_url_on_standard_input_is_not_repeated(tmp_path: Path) -> None:
    secrets = {"psk": PSK, "forwards": [f"rtmp://host:{KEY}/app"]}
    status, lines = await run(
        tmp_path,
        *usual(tmp_path, free_udp_ports()),
        "--secrets-stdin",
        stdin=json.dumps(secrets).encode() + b"\n",
    )
    assert status == 2
    assert "is no URL" in the_error(lines)


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    free, taken = free_udp_ports()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", taken))
        status, lines = await run(tmp_path, *usual(tmp_path, (free, taken)), "--psk", PSK)
    assert status == 3
    error = the_error(lines)
    assert f"UDP port {taken} is held by another program" in error
    assert "choose another port" in error
    assert has_left_nothing(tmp_path, (free, taken))


async def test_a_port_of_another_worker(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path / "one") as worker:
        second = tmp_path / "two"
        second.mkdir()
        status, lines = await run(second, *usual(second, worker.ports), "--psk", PSK)
        assert status == 3
        assert f"UDP port {worker.ports[0]} is held" in the_error(lines)
        assert not (second / "worker.sock").exists()
        worker.client.send({"cmd": "stats", "id": 1})
        await worker.client.event("stats", id=1)
        assert await worker.stop() == 0


async def test_a_socket_of_another_worker(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path) as worker:
        other = tmp_path / "other"
        other.mkdir()
        arguments = usual(tmp_path, free_udp_ports())
        status, lines = await run(other, *arguments, "--psk", PSK)
        assert status == 2
        assert "a running worker serves" in the_error(lines)
        worker.client.send({"cmd": "stats", "id": 1})
        await worker.client.event("stats", id=1)
        assert await worker.stop() == 0


PLUGINS = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "gstreamer-1.0"


@pytest.mark.parametrize(
    ("plugin", "element", "package", "forwards"),
    [
        ("libgstmpegtsdemux.so", "tsdemux", "gstreamer1.0-plugins-bad", []),
        ("libgstrtmp2.so", "rtmp2sink", "gstreamer1.0-plugins-bad", [RTMP]),
        ("libgstmatroska.so", "matroskamux", "gstreamer1.0-plugins-good", ["file:///tmp/x.mkv"]),
        ("libgstsrt.so", "srtsink", "gstreamer1.0-plugins-bad", ["srt://host:9000"]),
        ("libgstisomp4.so", "mp4mux", "gstreamer1.0-plugins-good", ["file:///tmp/x.mp4"]),
    ],
)
async def test_a_missing_element(
    tmp_path: Path, plugin: str, element: str, package: str, forwards: list[str]
) -> None:
    some = tmp_path / "plugins"
    some.mkdir()
    for path in PLUGINS.glob("*.so"):
        if path.name in NEEDED and path.name != plugin:
            (some / path.name).symlink_to(path)
    assert not (some / plugin).exists()
    ports = free_udp_ports()
    status, lines = await run(
        tmp_path,
        *usual(tmp_path, ports),
        "--secrets-stdin",
        stdin=json.dumps({"psk": PSK, "forwards": forwards}).encode() + b"\n",
        environment={
            "GST_PLUGIN_SYSTEM_PATH_1_0": os.fspath(some),
            "GST_REGISTRY": os.fspath(tmp_path / "registry.bin"),
        },
    )
    assert status == 4
    error = the_error(lines)
    assert f"lacks the element {element}, " in error
    assert error.endswith(f"apt-get install {package}")
    assert has_left_nothing(tmp_path, ports)


NEEDED = {
    *("libgstcoreelements.so", "libgstapp.so", "libgstmpegtsdemux.so"),
    *("libgstvideoparsersbad.so", "libgstaudioparsers.so", "libgstrtmp2.so"),
    "libgstdebug.so",
}


async def test_what_a_worker_does_not_use_may_be_missing(tmp_path: Path) -> None:
    some = tmp_path / "plugins"
    some.mkdir()
    for name in NEEDED - {"libgstrtmp2.so", "libgstflv.so"}:
        (some / name).symlink_to(PLUGINS / name)
    environment = {
        "GST_PLUGIN_SYSTEM_PATH_1_0": os.fspath(some),
        "GST_REGISTRY": os.fspath(tmp_path / "registry.bin"),
    }
    async with WorkerProcess(tmp_path, environment=environment) as worker:
        assert await worker.stop() == 0


@pytest.mark.parametrize("argument", ["--help", "--version"])
async def test_what_can_be_asked_without_a_stream(tmp_path: Path, argument: str) -> None:
    status, lines = await run(tmp_path, argument)
    assert status == 0
    assert "strata-receiver" in lines[0]


async def test_no_input(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path, arguments=["--no-input-timeout-s", "1"]) as worker:
        await worker.client.event("stopped", reason="no_input")
        assert await worker.child.wait(DEADLINE_S) == 10
    assert has_left_nothing(tmp_path, worker.ports)
    assert "stopping: no_input" in worker.log()


async def test_orphaned(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path, arguments=["--orphan-timeout-s", "1"]) as worker:
        await worker.client.event("stats")
        await worker.client.close()
        assert await worker.child.wait(DEADLINE_S) == 11
    assert has_left_nothing(tmp_path, worker.ports)
    assert "stopping: orphaned" in worker.log()


@pytest.mark.parametrize("name", ["stop", "shutdown"])
async def test_a_command_ends_it(tmp_path: Path, name: str) -> None:
    async with WorkerProcess(tmp_path) as worker, await worker.connect() as other:
        await other.event("ready")
        worker.client.send({"cmd": name, "id": "x"})
        await worker.client.event("ok", id="x")
        for client in (worker.client, other):
            await client.event("stopped", reason="eos")
            await client.closed()
        assert await worker.child.wait(DEADLINE_S) == 0
    assert has_left_nothing(tmp_path, worker.ports)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_does_what_stop_does(tmp_path: Path, number: signal.Signals) -> None:
    async with WorkerProcess(tmp_path, [RTMP]) as worker:
        worker.child.signal(number)
        await worker.client.event("stopped", reason="eos")
        assert await worker.child.wait(DEADLINE_S) == 0
    assert has_left_nothing(tmp_path, worker.ports)
    assert "Traceback" not in worker.log()


async def test_clients_that_stay_connected_leave_no_trace_in_the_log(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path) as worker:
        others = [await worker.connect() for _ in range(5)]
        for other in others:
            await other.event("ready")
        assert await worker.stop() == 0
        for other in others:
            await other.close()
    assert "Traceback" not in worker.log()
    assert "exception" not in worker.log()


async def test_what_is_ready_is_true(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path) as worker:
        ready = worker.client.events[0]
        assert ready["event"] == "ready"
        assert ready["ports"] == list(worker.ports)
        assert ready["stream_id"] == "str_test"
        assert ready["pid"] == worker.pid
        assert ready["protocol"] == 1
        assert all(map(udp_port_is_bound, worker.ports))
        assert stat.S_IMODE(worker.socket.stat().st_mode) == 0o600
        assert await worker.stop() == 0


async def test_a_worker_that_was_killed_does_not_stand_in_the_way_of_the_next(
    tmp_path: Path,
) -> None:
    ports = free_udp_ports()
    async with WorkerProcess(tmp_path, ports=ports) as worker:
        worker.child.signal(signal.SIGKILL)
        assert await worker.child.wait(DEADLINE_S) == -signal.SIGKILL
        assert worker.socket.exists()
    async with WorkerProcess(tmp_path, ports=ports) as worker:
        assert await worker.stop() == 0
    assert has_left_nothing(tmp_path, ports)


async def test_no_secret_can_be_seen(tmp_path: Path) -> None:
    forwards = [RTMP, f"rtmp://127.0.0.1:9/app/name?token={KEY}"]
    async with WorkerProcess(tmp_path, forwards) as worker, await worker.connect() as client:
        await client.event("forward", forward="fwd_2")
        client.send({"cmd": "stats", "id": 1})
        await client.event("stats", id=1)
        seen = {
            name: Path(f"/proc/{worker.pid}/{name}").read_bytes() for name in ("cmdline", "environ")
        }
        assert b"--secrets-stdin" in seen["cmdline"]
        assert await worker.stop() == 0
        seen["events"] = json.dumps(client.events).encode()
    seen["log"] = worker.log().encode()
    assert b"rtmp://127.0.0.1:9/app/****" in seen["log"]
    assert b"rtmp://127.0.0.1:9/app/****" in seen["events"]
    for name, data in seen.items():
        assert PSK.encode() not in data, name
        assert KEY.encode() not in data, name


async def test_a_client_that_asks_nonsense_does_no_harm(tmp_path: Path) -> None:
    async with WorkerProcess(tmp_path) as worker:
        rude = await ControlClient.connect(worker.socket)
        rude.send_bytes(b"\xff\xfe\n[]\n{}\n" + b"[" * 60_000 + b"\n")
        await until(
            lambda: (
                len([event for event in rude.events if event.get("code") == "bad_command"]) == 4
            ),
            DEADLINE_S,
            "four answers came",
        )
        rude.send_bytes(b"x" * 70_000)
        await rude.closed()
        await rude.close()
        worker.client.send({"cmd": "stats", "id": 1})
        await worker.client.event("stats", id=1)
        assert await worker.stop() == 0
    assert "Traceback" not in worker.log()
