"""Every setting, its default and its unit, from TOML and environment.

``STRATA_`` + section + ``__`` + key in the environment (``STRATA_FORWARD__ALLOW_PRIVATE``)
goes before the same key in the file that ``--config`` names, and command-line flags go
before both.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from strata import config_file
from strata.config_file import Section
from strata.errors import BadArguments


class Server(Section):
    """Where people and programs reach the control plane."""

    listen: str = "127.0.0.1:8080"
    session_hours: float = Field(default=72.0, gt=0, description="life of a login")
    ping_interval_s: float = Field(default=5.0, gt=0, description="of WebSockets")
    ping_timeout_s: float = Field(
        default=10.0, gt=0, description="for the answer; then the connection is cut"
    )

    @field_validator("listen")
    @classmethod
    def _has_port(cls, value: str) -> str:
        split_listen(value)
        return value


class Database(Section):
    url: SecretStr = Field(
        default=SecretStr(""),
        description="postgresql+psycopg://user:password@host/name; empty: SQLite, in data_dir",
    )
    timeout_s: float = Field(default=5.0, gt=0, description="it is waited for")
    keep_events_days: float = Field(default=365.0, gt=0, description="the log of events")
    keep_samples_days: float = Field(default=14.0, gt=0, description="the numbers for charts")

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: SecretStr) -> SecretStr:
        scheme = value.get_secret_value().partition(":")[0]
        if scheme not in ("", "sqlite+aiosqlite", "postgresql+psycopg"):
            raise ValueError("write postgresql+psycopg://user:password@host/name")
        return value


class Admin(Section):
    """The first administrator; made once, at the first start."""

    email: str = "admin@localhost"
    password: SecretStr | None = Field(default=None, description="None: one is made and printed")


class Metrics(Section):
    """What Prometheus reads at /metrics."""

    open: bool = Field(
        default=False, description="without a token: who runs which broadcast can be read there"
    )


class Forward(Section):
    allow_private: bool = Field(
        default=False,
        description="forwards may name loopback, private and link-local addresses",
    )
    allow: tuple[str, ...] = Field(
        default=(), description="host:port pairs that are allowed although they are private"
    )
    resolve_timeout_s: float = Field(default=5.0, gt=0)


class Host(Section):
    """The machine that runs the workers."""

    port_range: str = Field(default="15000-16000", description="UDP ports for senders, inclusive")
    public_host: str = Field(default="127.0.0.1", description="name that senders are told")
    bind: str = "0.0.0.0"
    runtime_dir: Path | None = Field(
        default=None, description="sockets; None: /run/strata or $XDG_RUNTIME_DIR/strata"
    )
    ready_timeout_s: float = Field(default=10.0, gt=0, description="from spawn to ready")
    stop_timeout_s: float = Field(default=15.0, gt=0, description="before a worker is killed")
    port_rest_s: float = Field(default=60.0, ge=0, description="before a freed port is used again")
    port_attempts: int = Field(default=5, ge=1, description="pairs tried when ports are taken")
    port_quarantine_s: float = Field(
        default=300.0, ge=0, description="before a port is tried again that a stranger held"
    )
    starting_at_once: int = Field(
        default=0, ge=0, description="workers on their way to ready; 0: two for each core"
    )
    silence_timeout_s: float = Field(
        default=15.0, ge=0, description="a worker that reports nothing is killed; 0: never"
    )
    no_input_timeout_s: float = Field(
        default=60.0, ge=0, description="without media, before a stream is ended; 0: never"
    )
    first_media_timeout_s: float = Field(
        default=300.0, ge=0, description="the same, before the first media; 0: never"
    )
    egress_mbps: float | None = Field(
        default=None, gt=0, description="the machine's uplink; None: not counted"
    )
    request_timeout_s: float = Field(default=90.0, gt=0, description="control waits for the host")

    @field_validator("port_range")
    @classmethod
    def _is_range(cls, value: str) -> str:
        split_range(value)
        return value

    def receive_urls(self, ports: Iterable[int]) -> list[str]:
        """Where a sender sends to."""
        name = f"[{self.public_host}]" if ":" in self.public_host else self.public_host
        return [f"rist://{name}:{port}" for port in ports]


class Limits(Section):
    """What one worker may take of its machine."""

    enforce: bool = Field(default=True, description="False: no control groups at all")
    cgroup: Path | None = Field(
        default=None, description="of version 2, in which to make groups; None: found out"
    )
    cpu_cores: float = Field(default=0.5, gt=0, description="once it is ready")
    memory_mb: int = Field(default=256, ge=32)
    tasks: int = Field(default=256, ge=32, description="processes and threads")
    kernel_egress: bool = Field(
        default=True, description="rules of nftables on how fast each worker sends"
    )
    kernel_nonces: bool = Field(
        default=True, description="rules of nftables on how many new keys come to each worker"
    )


class Admission(Section):
    """When a newcomer is refused."""

    reserve_cpu_cores: float = Field(default=0.1, ge=0, description="until it is measured")
    reserve_memory_mb: float = Field(default=64.0, ge=0)
    reserve_egress_kbps: float = Field(default=8000.0, ge=0, description="for each forward")
    settle_s: float = Field(default=30.0, ge=0, description="of media, before a measure counts")
    fill_percent: float = Field(
        default=80.0, gt=0, le=100, description="of cores and memory, for all streams"
    )
    min_disk_mb: float = Field(default=1024.0, ge=0, description="free, for one that records")


class Agents(Section):
    """The senders in the field, which dial in."""

    enrollment_days: float = Field(default=7.0, gt=0, description="life of an enrollment token")
    login_timeout_s: float = Field(default=10.0, gt=0, description="from connection to login")
    answer_timeout_s: float = Field(default=10.0, gt=0, description="to a start or a stop")
    first_media_timeout_s: float = Field(default=60.0, ge=0, description="from its start; 0: never")
    offline_alarm_s: float = Field(
        default=30.0, gt=0, description="a sender that should send may be away"
    )
    messages_per_s: float = Field(
        default=50.0, gt=0, description="of each; ten times as many at once"
    )


class Worker(Section):
    """What each worker is started with; see ``strata-receiver --help``."""

    buffer_ms: int = Field(default=1000, ge=50, le=30_000)
    max_egress_kbps: int = Field(default=20_000, ge=0)
    stats_interval_ms: int = Field(default=1000, ge=100, le=60_000)
    stall_timeout_s: float = Field(default=30.0, gt=0)
    orphan_timeout_s: float = Field(
        default=120.0, ge=0, description="without media and without a host, a worker ends itself"
    )


class Settings(config_file.Settings):
    """The whole tree. ``data_dir`` holds database, keys, logs and the media folder."""

    model_config = SettingsConfigDict(env_prefix="STRATA_")

    data_dir: Path = Path(".strata")
    server: Server = Server()
    database: Database = Database()
    admin: Admin = Admin()
    metrics: Metrics = Metrics()
    forward: Forward = Forward()
    host: Host = Host()
    limits: Limits = Limits()
    admission: Admission = Admission()
    agents: Agents = Agents()
    worker: Worker = Worker()

    @property
    def media_dir(self) -> Path:
        return self.data_dir / "media"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"


def load(config: Path | None = None, **flags: Any) -> Settings:
    """Reads file and environment; ``flags`` (nested dicts, None for not given) override.

    Raises:
        BadArguments: an unknown key or a value that cannot be; names each of them.
    """
    flags = config_file.given(flags)
    _add_admin(flags)
    settings = config_file.load(Settings, config, flags, "STRATA_SECTION__KEY")
    data_dir = settings.data_dir.expanduser().absolute()
    return settings.model_copy(update={"data_dir": data_dir})


def make_folders(settings: Settings) -> None:
    """Makes the data folder and what it holds, for this user alone.

    Raises:
        BadArguments: it cannot be made or written to.
    """
    try:
        for folder in (settings.data_dir, settings.media_dir, settings.log_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise BadArguments(
            f"the data folder {settings.data_dir} cannot be used: {error.strerror}; choose "
            "another with --data-dir"
        ) from None


def _add_admin(flags: dict[str, Any]) -> None:
    """``STRATA_ADMIN_EMAIL`` and ``STRATA_ADMIN_PASSWORD``, with their single underscore."""
    for name in ("email", "password"):
        value = os.environ.get(f"STRATA_ADMIN_{name.upper()}")
        if value:
            flags.setdefault("admin", {}).setdefault(name, value)


def split_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:8080`` as address and port.

    Raises:
        ValueError: it is neither.
    """
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is no address with a port; write it like 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def split_range(text: str) -> range:
    """``15000-16000`` as the range of both and all between.

    Raises:
        ValueError: no range of ports.
    """
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= 65535:
        raise ValueError(f"{text!r} is no range of UDP ports; write it like 15000-16000")
    return range(int(found[1]), int(found[2]) + 1)
