"""The ``strata`` command: wiring only, and quick to load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import strata
from strata.client import commands
from strata.errors import BadArguments, StrataError
from strata.secrets import keep_out_of_core_files

# What takes long to load is imported by the command that needs it: the others are quick then,
# and so is the shell's completion.
if TYPE_CHECKING:
    from strata.settings import Settings

app = typer.Typer(
    name="strata",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Puts a field crew's picture on the air.",
)

Listen = Annotated[str | None, typer.Option(help="address and port of the API")]
DataDir = Annotated[Path | None, typer.Option(help="database, keys, logs and recordings")]
PortRange = Annotated[str | None, typer.Option(help="UDP ports for senders, as 15000-16000")]
PublicHost = Annotated[str | None, typer.Option(help="name or address that senders are told")]
ConfigFile = Annotated[Path | None, typer.Option(envvar="STRATA_CONFIG", help="settings in TOML")]
Parent = Annotated[
    int | None, typer.Option(hidden=True, help="end when that process ends; streams go on")
]
HERE = "This machine"
Demo = Annotated[bool, typer.Option("--demo", help="add a test sender and a local platform")]


@app.command(rich_help_panel=HERE)
def up(
    listen: Listen = None,
    data_dir: DataDir = None,
    port_range: PortRange = None,
    public_host: PublicHost = None,
    config: ConfigFile = None,
    demo: Demo = False,
) -> None:
    """Everything on one machine: the control plane and a host, as two processes."""
    import asyncio

    from strata import logs
    from strata import up as both

    load(config, listen, data_dir, port_range, public_host)  # what is wrong, said once
    logs.set_up("up")
    raise typer.Exit(asyncio.run(both.run(sys.argv[2:], demo)))


@app.command(rich_help_panel=HERE)
def control(
    listen: Listen = None,
    data_dir: DataDir = None,
    port_range: PortRange = None,
    public_host: PublicHost = None,
    config: ConfigFile = None,
    demo: Demo = False,
    parent: Parent = None,
) -> None:
    """The control plane alone."""
    import asyncio

    from strata import logs
    from strata.control import service
    from strata.dashboard.service import running as pages
    from strata.host.service import socket_path

    logs.set_up("control")
    loaded = load(config, listen, data_dir, port_range, public_host)
    if not demo:
        asyncio.run(service.run(loaded, socket_path(loaded), parent=parent, pages=pages))
        return
    from strata.demo import broadcast
    from strata.demo.nginx import LocalPlatform

    platform = LocalPlatform(loaded.data_dir / "demo")
    allow = (*loaded.forward.allow, f"127.0.0.1:{platform.rtmp_port}")
    loaded = loaded.model_copy(
        update={"forward": loaded.forward.model_copy(update={"allow": allow})}
    )
    asyncio.run(
        service.run(
            loaded,
            socket_path(loaded),
            lambda opened: broadcast.running(loaded, platform, opened),
            parent=parent,
            pages=pages,
        )
    )


@app.command(rich_help_panel=HERE)
def host(
    listen: Listen = None,
    data_dir: DataDir = None,
    port_range: PortRange = None,
    public_host: PublicHost = None,
    config: ConfigFile = None,
    parent: Parent = None,
) -> None:
    """The host alone: receives what its control plane tells it to."""
    import asyncio

    from strata import logs
    from strata.host import service

    logs.set_up("host")
    loaded = load(config, listen, data_dir, port_range, public_host)
    asyncio.run(service.run(loaded, parent=parent))


@app.command(rich_help_panel=HERE)
def impair(
    profile: Annotated[Path | None, typer.Argument(help="in TOML; see deploy/bad-day.toml")] = None,
    link: Annotated[
        list[str] | None, typer.Option(help="as 16000=127.0.0.1:15000,loss=10,delay=40")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="the same one loses the same packets again")
    ] = None,
) -> None:
    """A bad day, to rehearse: relays UDP, and loses, delays, reorders and throttles it."""
    import asyncio

    from strata import logs
    from strata.impair import cli as rehearse

    logs.set_up("impair")
    asyncio.run(rehearse.run(rehearse.load(profile, link or (), seed)))


@app.command(rich_help_panel=HERE)
def doctor(
    listen: Listen = None,
    data_dir: DataDir = None,
    port_range: PortRange = None,
    public_host: PublicHost = None,
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """What is missing on this machine, and the command that mends it. Status 1: something is."""
    import asyncio
    import logging

    from strata import logs
    from strata.doctor import finding
    from strata.doctor.examination import examine

    logs.set_up("doctor", logging.ERROR)  # what is worth a warning is a finding
    loaded, problem = None, ""
    try:
        loaded = load(config, listen, data_dir, port_range, public_host)
    except BadArguments as error:
        problem = error.message
    found = asyncio.run(examine(loaded, problem))
    typer.echo(finding.as_json(found) if json else finding.table(found))
    raise typer.Exit(finding.exit_status(found))


@app.command(rich_help_panel=HERE)
def version() -> None:
    """The version of this installation."""
    typer.echo(f"strata {strata.__version__}")


@app.command(rich_help_panel=HERE)
def backup(
    file: Annotated[Path, typer.Argument(help="the archive to be made, as strata.tar.gz")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Save database and key into one archive, while all runs.

    Recordings are not in it. Whoever has the archive can open the secrets in it: keep it as you
    keep the stream keys themselves.
    """
    from strata.control import backup as backups

    made = backups.make(load(config, None, data_dir, None, None), file)
    typer.echo(f"{file}: {made}")
    typer.echo("whoever has it can open the secrets in it; recordings are not in it")


@app.command(rich_help_panel=HERE)
def restore(
    file: Annotated[Path, typer.Argument(help="an archive of strata backup")],
    data_dir: DataDir = None,
    config: ConfigFile = None,
    force: Annotated[
        bool, typer.Option("--force", help="over a database that is there; it is kept aside")
    ] = False,
) -> None:
    """Put database and key of an archive in their places; Strata must not run there."""
    import asyncio

    from strata.control import backup as backups

    loaded = load(config, None, data_dir, None, None)
    for line in asyncio.run(backups.restore(loaded, file, force)):
        typer.echo(line)


commands.add_to(app)


def load(
    config: Path | None,
    listen: str | None,
    data_dir: Path | None,
    port_range: str | None,
    public_host: str | None,
) -> Settings:
    from strata import settings

    return settings.load(
        config,
        data_dir=data_dir,
        server={"listen": listen},
        host={"port_range": port_range, "public_host": public_host},
    )


def main() -> None:
    """Runs the command; an error that we raised on purpose is one line, not a traceback."""
    keep_out_of_core_files()
    try:
        app()
    except StrataError as error:
        print(f"strata: error: {error.message}", file=sys.stderr)
        sys.exit(error.exit_status)
