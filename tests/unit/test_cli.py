from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import strata
from strata import cli, logs, settings, up
from strata.control import service as control_service
from strata.control.seal import Seal
from strata.control.store import Store
from strata.demo import nginx
from strata.errors import Conflict
from strata.host import service as host_service
from strata.settings import Settings
from support.control import Place, place


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with place() as one:
        monkeypatch.setenv("STRATA_HOST__RUNTIME_DIR", str(one.run))
        monkeypatch.setattr(logs, "set_up", lambda where: None)
        yield one


COMMANDS = (
    *(
        "up",
        "control",
        "host",
        "doctor",
        "impair",
        "version",
        "backup",
        "restore",
        "login",
        "logout",
    ),
    *("streams", "start", "stop", "senders", "destinations", "hosts", "alerts", "events"),
    *("users", "tokens", "rotate-key", "--install-completion"),
)


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def strata_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["strata", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        status = ended.value.code
        return Outcome(status if isinstance(status, int) else 0, said.out, said.err)

    return run


def test_version(strata_command: Any) -> None:
    assert strata_command("version").out == f"strata {strata.__version__}\n"


def test_help_names_every_command_and_flag(strata_command: Any) -> None:
    found = strata_command("--help")
    assert found.status == 0
    assert all(name in found.out for name in COMMANDS)
    flags = strata_command("up", "--help").out
    for flag in ("--listen", "--data-dir", "--port-range", "--public-host", "--config", "--demo"):
        assert flag in flags


def test_what_takes_long_to_load_is_not_loaded_for_nothing() -> None:
    """Completion and short commands wait for what the command imports."""
    heavy = ("asyncio", "httpx", "pydantic_settings", "rich", "sqlalchemy", "uvicorn")
    code = f"import sys, strata.cli; print([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_backup_and_its_restore(here: Place, strata_command: Any) -> None:
    archive = here.folder / "one.tar.gz"
    data = ("--data-dir", str(here.data))
    found = strata_command("backup", str(archive), *data)
    assert found.status == 2
    assert "no database with its key" in found.err
    here.data.mkdir()
    loaded = settings.load(data_dir=here.data)

    async def make() -> None:
        store = Store(loaded)
        await store.open()
        await store.close()

    asyncio.run(make())
    Seal.load(here.data / "seal.key")
    found = strata_command("backup", str(archive), *data)
    assert found.out.startswith(f"{archive}: sqlite of Strata {strata.__version__}, ")
    assert "can open the secrets" in found.out
    found = strata_command("restore", str(archive), *data)
    assert found.status == 2
    assert "--force" in found.err
    found = strata_command("restore", str(archive), *data, "--force")
    assert found.status == 0
    assert "what was there is in" in found.out


@pytest.mark.parametrize("arguments", [("fly",), ("up", "--faster"), ("host", "--demo")])
def test_what_is_no_command_is_status_2(strata_command: Any, arguments: tuple[str, ...]) -> None:
    assert strata_command(*arguments).status == 2


@pytest.mark.parametrize("command", ["up", "control", "host"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "8080"), "server.listen"),
        (("--port-range", "15000"), "host.port_range"),
        (("--config", "/nonexistent.toml"), "/nonexistent.toml does not exist"),
    ],
)
def test_a_bad_setting_is_one_line_and_status_2(
    here: Place, strata_command: Any, command: str, arguments: tuple[str, ...], words: str
) -> None:
    found = strata_command(command, *arguments)
    assert found.status == 2
    assert found.err.startswith("strata: error: ")
    assert words in found.err
    assert found.err.count("\n") == 1


def test_an_error_of_ours_has_its_own_status(
    here: Place, strata_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Conflict("another strata runs")

    monkeypatch.setattr(host_service, "run", fail)
    found = strata_command("host", "--data-dir", str(here.data))
    assert (found.status, found.err) == (2, "strata: error: another strata runs\n")


def test_up_hands_its_arguments_on_as_they_were(
    here: Place, strata_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], bool]] = []

    async def run(arguments: list[str], demo: bool) -> int:
        seen.append((arguments, demo))
        return 3

    monkeypatch.setattr(up, "run", run)
    arguments = ["--listen", "127.0.0.1:1", "--demo", "--data-dir", str(here.data)]
    assert strata_command("up", *arguments).status == 3
    assert seen == [(arguments, True)]


def test_every_flag_ends_up_in_the_settings(
    here: Place, strata_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []
    parents: list[int | None] = []

    async def run(loaded: Settings, parent: int | None = None) -> None:
        seen.append(loaded)
        parents.append(parent)

    monkeypatch.setattr(host_service, "run", run)
    config = here.folder / "strata.toml"
    config.write_text("[worker]\nbuffer_ms = 777\n")
    found = strata_command(
        *("host", "--listen", "127.0.0.1:1", "--data-dir", str(here.data)),
        *("--port-range", "2000-2001", "--public-host", "live.example.org"),
        *("--config", str(config), "--parent", "4711"),
    )
    assert found.status == 0
    [loaded] = seen
    assert loaded.server.listen == "127.0.0.1:1"
    assert loaded.data_dir == here.data
    assert loaded.host.port_range == "2000-2001"
    assert loaded.host.public_host == "live.example.org"
    assert loaded.worker.buffer_ms == 777
    assert parents == [4711]


def test_the_file_of_settings_can_be_named_in_the_environment(
    here: Place, strata_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = here.folder / "strata.toml"
    config.write_text("[server]\nlisten = 'nowhere'\n")
    monkeypatch.setenv("STRATA_CONFIG", str(config))
    found = strata_command("host", "--data-dir", str(here.data))
    assert found.status == 2
    assert "server.listen" in found.err


@pytest.mark.parametrize("demo", [False, True])
def test_the_demonstration_may_forward_to_its_own_platform_only(
    here: Place, strata_command: Any, monkeypatch: pytest.MonkeyPatch, demo: bool
) -> None:
    seen: list[tuple[Settings, Path, bool]] = []
    parents: list[int | None] = []

    async def run(
        loaded: Settings,
        path: Path,
        beside: object = None,
        parent: int | None = None,
        pages: object = None,
    ) -> None:
        assert pages is not None
        seen.append((loaded, path, beside is not None))
        parents.append(parent)

    monkeypatch.setattr(control_service, "run", run)
    monkeypatch.setattr(nginx, "_free_port", lambda wanted: wanted + 10_000)
    flags = ["--parent", "4711", *(["--demo"] if demo else [])]
    assert strata_command("control", "--data-dir", str(here.data), *flags).status == 0
    [(loaded, path, beside)] = seen
    assert beside is demo
    assert parents == [4711]
    assert path.parent == here.run
    assert loaded.forward.allow == (("127.0.0.1:11935",) if demo else ())
    assert loaded.forward.allow_private is False
