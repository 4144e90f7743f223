"""`strata up` as a person starts it."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import strata
from support.children import Child, output_of, until
from support.control import (
    Place,
    StrataUp,
    environment_of,
    eventually,
    free_port_range,
    place,
)
from support.ports import free_tcp_port

END_DEADLINE_S = 60.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


async def ends(one: StrataUp) -> tuple[int, str]:
    """Its exit status and what it said."""
    try:
        return await one.child.wait(END_DEADLINE_S), one.said()
    finally:
        await one.__aexit__()


async def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("strata")
    assert await output_of(command, "version") == f"strata {strata.__version__}\n"


async def test_the_first_password_is_made_up_printed_once_and_works(here: Place) -> None:
    bare = {"STRATA_ADMIN_EMAIL": "", "STRATA_ADMIN_PASSWORD": ""}
    async with StrataUp(here, environment=bare) as one:
        found = re.search(r"Administrator: (\S+)\n  Password: +(\S+) ", one.said())
        assert found, one.said()
        assert found[1] == "admin@localhost"
        await (await one.log_in(found[1], found[2])).http.aclose()
        assert await one.stop() == 0
    (here.folder / "up.log").unlink()
    async with StrataUp(here, environment=bare) as one:
        assert "Password" not in one.said()
        await (await one.log_in(found[1], found[2])).http.aclose()


async def test_settings_come_from_the_file_too_and_folders_may_have_any_name(here: Place) -> None:
    folder = here.folder / "a folder, with blanks"
    folder.mkdir()
    (folder / "strata.toml").write_text(
        '[host]\npublic_host = "live.example.org"\n[forward]\nallow_private = true\n'
    )
    async with (
        StrataUp(
            here, arguments=["--config", "strata.toml"], cwd=folder, own_data_dir=False
        ) as one,
        await one.log_in() as api,
    ):
        stream = await api.start(record=True)
        assert stream["receive_urls"][0].startswith("rist://live.example.org:")
        assert (folder / ".strata" / "strata.db").exists()
        await api.until(stream["id"], lambda stream: stream["forwards"], "the recording is told of")
        assert (await api.stop(stream["id"]))["reason"] == "user_stop"


async def test_a_second_one_on_the_same_data_is_refused(here: Place) -> None:
    async with StrataUp(here) as one:
        status, said = await ends(other := StrataUp(here))
        assert status == 2
        [line] = [line for line in said.splitlines() if "another strata" in line]
        assert line == (
            f"strata: error: another strata runs on {here.data}; stop it, or choose another "
            "--data-dir"
        )
        assert other.port != one.port


async def test_an_address_that_is_taken_ends_it_with_one_line(here: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        status, said = await ends(StrataUp(here, arguments=["--listen", taken]))
    assert status == 2
    errors = [line for line in said.splitlines() if line.startswith("strata: error: ")]
    assert len(errors) == 1
    assert f"cannot listen on {taken}: Address already in use" in errors[0]
    assert "--listen" in errors[0]
    assert "Traceback" not in said
    assert not here.processes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port-range", "15000"], "host.port_range"),
        (["--data-dir", "/proc/version/x"], "cannot be used"),
    ],
)
async def test_what_it_cannot_do_is_told(here: Place, arguments: list[str], words: str) -> None:
    status, said = await ends(StrataUp(here, arguments=arguments))
    assert status == 2
    assert any(words in line for line in said.splitlines() if line.startswith("strata: error: "))
    assert "Traceback" not in said
    assert not here.processes()


async def test_a_folder_for_sockets_that_is_too_long_is_told(here: Place) -> None:
    environment = {"STRATA_HOST__RUNTIME_DIR": str(here.folder / ("x" * 80))}
    status, said = await ends(StrataUp(here, environment=environment))
    assert status == 70
    assert "set host.runtime_dir to a shorter one" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("half", ["host", "control"])
async def test_a_half_that_is_killed_at_its_start_is_started_again(here: Place, half: str) -> None:
    one = StrataUp(here)
    try:
        pid = None

        def found() -> bool:
            nonlocal pid
            pid = one.pid_of("host") if half == "host" else one.pid_of("control")
            return pid is not None and one.pid_of("host") is not None

        await until(found, END_DEADLINE_S, "both are there")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await one.ready()
        assert f"{half} ended with status -9; starting it again" in one.said()
        assert await one.stop() == 0
        assert not here.processes()
    finally:
        await one.__aexit__()


async def test_control_and_host_may_be_started_by_themselves(here: Place) -> None:
    """As on two machines, or under a service manager; the order does not matter."""
    port = free_tcp_port()
    line = [
        *("--listen", f"127.0.0.1:{port}", "--data-dir", str(here.data)),
        *("--port-range", free_port_range(8)),
    ]
    command = [sys.executable, "-I", "-m", "strata"]

    async def readiness() -> int | None:
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code
            except httpx.TransportError:
                return None

    async def is_waiting() -> bool:
        return await readiness() == 503

    async def is_ready() -> bool:
        return await readiness() == 200

    environment = environment_of(here)
    control = Child([*command, "control", *line], here.folder / "control.log", env=environment)
    async with control:
        await eventually(is_waiting, END_DEADLINE_S, "it waits for the host")
        host = Child([*command, "host", *line], here.folder / "host.log", env=environment)
        async with host:
            await eventually(is_ready, END_DEADLINE_S, "they have found each other")
            assert await host.end() == 0
        await eventually(is_waiting, END_DEADLINE_S, "it waits again")
        assert await control.end() == 0
    assert not here.processes()
