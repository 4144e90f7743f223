"""Looks at this very machine, and at folders and sockets that a test made."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from strata import settings
from strata.doctor import looks
from strata.settings import Settings
from support.control import free_port_range
from support.ports import free_tcp_port

NOBODY = 65534


@pytest.fixture
def loaded(tmp_path: Path) -> Settings:
    return settings.load(data_dir=tmp_path / "data", host={"runtime_dir": tmp_path / "run"})


def test_the_parts_of_a_worker_load_here() -> None:
    found = looks.parts()
    assert found.error == ""
    assert found.found is not None
    assert found.found["missing"] == {}
    assert found.found["librist"].startswith("0.2.")


def test_what_a_process_without_parts_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho warning >&2; echo librist is gone >&2; exit 4\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert looks.parts() == looks.Parts(None, "librist is gone")
    python.write_text("#!/bin/sh\nexit 4\n")
    assert looks.parts() == looks.Parts(None, "it ended with status 4")


def test_a_gstreamer_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(looks, "PARTS_DEADLINE_S", 0.1)
    assert "did not load" in looks.parts().error


def test_fonts(tmp_path: Path) -> None:
    assert looks.fonts((tmp_path, tmp_path / "nowhere")) == 0
    (tmp_path / "truetype").mkdir()
    (tmp_path / "truetype" / "Sans.TTF").touch()
    (tmp_path / "README").touch()
    assert looks.fonts((tmp_path, tmp_path / "nowhere")) == 1


def test_what_the_kernel_says() -> None:
    wanted = Path("/proc/sys/net/core/rmem_max").read_text()
    assert looks.core_setting("rmem_max") == int(wanted)
    assert looks.clock_is_synchronised() in (True, False, None)
    assert looks.open_files() != 0


def test_a_folder_that_may_have_to_be_made(tmp_path: Path) -> None:
    assert looks.unusable(tmp_path / "a" / "b") == ""
    (tmp_path / "file").touch()
    assert looks.unusable(tmp_path / "file" / "b") == f"{tmp_path}/file is no folder"
    assert looks.free_mb(tmp_path / "a" / "b") > 0
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_somebody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"may not write to {tmp_path}" in looks.unusable(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody else")
def test_what_belongs_to_somebody_else(tmp_path: Path) -> None:
    for name in ("logs", "media"):
        (tmp_path / name).mkdir()
    assert looks.foreign(tmp_path) == []
    os.chown(tmp_path / "logs", NOBODY, NOBODY)
    assert looks.foreign(tmp_path) == ["logs"]
    assert looks.foreign(tmp_path / "nowhere") == []
    assert looks.owner(tmp_path / "logs" / "below") == looks.name_of_user(NOBODY)
    assert looks.name_of_user(4_000_000) == "4000000"


async def test_a_database_that_is_not_there_yet(loaded: Settings) -> None:
    where, problem = await looks.database(loaded)
    assert "made at the first start" in where
    assert problem == ""
    assert not loaded.data_dir.exists()


async def test_a_database_that_is_none(loaded: Settings) -> None:
    loaded.data_dir.mkdir()
    (loaded.data_dir / "strata.db").write_text("x" * 4096)
    _, problem = await looks.database(loaded)
    assert "not a database" in problem


async def test_a_database_that_answers(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/other.db"
    where, problem = await looks.database(settings.load(database={"url": url}))
    assert (where, problem) == (url, "")


async def test_a_database_that_cannot_be_reached_tells_no_password() -> None:
    port = free_tcp_port()
    url = f"postgresql+psycopg://me:canary-password@127.0.0.1:{port}/strata"
    where, problem = await looks.database(settings.load(database={"url": url}))
    assert where == f"postgresql+psycopg://me:***@127.0.0.1:{port}/strata"
    assert "refused" in problem
    assert "canary-password" not in problem


def test_an_address_to_listen_on() -> None:
    port = free_tcp_port()
    assert looks.listening(f"127.0.0.1:{port}") == "free"
    assert looks.listening("192.0.2.1:80") == "Cannot assign requested address"
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.1)
        port = other.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(looks, "DEADLINE_S", 0.2)  # it takes the call and says nothing
            assert looks.listening(f"127.0.0.1:{port}") == "Address already in use"


def test_ports_that_others_hold() -> None:
    text = free_port_range(4)
    first = int(text.split("-")[0])
    assert looks.taken_ports(text, "0.0.0.0") == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", first + 1))
        assert looks.taken_ports(text, "0.0.0.0") == [first + 1]


async def test_sockets_and_a_host_that_does_not_run(loaded: Settings) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        run = Path(short, "run")
        loaded = settings.load(data_dir=loaded.data_dir, host={"runtime_dir": run})
        assert looks.sockets(loaded) == (str(run), "")
        assert await looks.running_host(loaded) is None
        assert not run.exists()
    deep = settings.load(host={"runtime_dir": Path("/run") / ("x" * 80)})
    assert "set host.runtime_dir to a shorter one" in looks.sockets(deep)[1]
    assert await looks.running_host(deep) is None


async def test_rules_are_tried_and_nothing_of_them_is_left(loaded: Settings) -> None:
    described, warnings = await looks.rules(loaded)
    assert described
    assert all(isinstance(each, str) for each in warnings)
    if os.geteuid() == 0:
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        assert "doctor" not in tables


async def test_an_operator_who_does_without_limits(loaded: Settings) -> None:
    without = loaded.model_copy(
        update={"limits": settings.Limits(enforce=False, kernel_egress=False, kernel_nonces=False)}
    )
    assert await looks.rules(without) == (
        "nothing",
        ["workers are not limited: limits.enforce is false"],
    )


def test_chains_that_drop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nft = tmp_path / "nft"
    nft.write_text(
        "#!/bin/sh\ncat <<'END'\n"
        '{"nftables": [{"metainfo": {}},'
        ' {"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1,'
        ' "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},'
        ' {"chain": {"family": "inet", "table": "strata_x", "name": "in", "handle": 1,'
        ' "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}},'
        ' {"chain": {"family": "inet", "table": "filter", "name": "mine", "handle": 2}}]}\n'
        "END\n"
    )
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert looks.dropping_chains() == ["inet filter input"]
    nft.write_text("#!/bin/sh\nexit 1\n")
    assert looks.dropping_chains() is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert looks.dropping_chains() is None
