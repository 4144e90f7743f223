"""Bodies of requests and answers."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from strata.control import lifecycle
from strata.control.accounts import User
from strata.control.streams import StartRequest, View
from strata.secrets import Secret
from strata.settings import Host
from strata.wire import host as host_wire

FORWARDS_MAX = 16
LINKS_MAX = 8


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Login(Body):
    email: str = Field(max_length=254)
    password: SecretStr = Field(max_length=1024)


class UserOut(BaseModel):
    id: str
    email: str
    role: str

    @classmethod
    def of(cls, user: User) -> UserOut:
        return cls(id=user.id, email=user.email, role=user.role)


class LoginOut(BaseModel):
    token: str
    user: UserOut


class StreamIn(Body):
    """A start without a sender of ours: any RIST encoder may send to the ports."""

    forward_to: list[Annotated[str, Field(min_length=1, max_length=2048)]] = Field(
        default=[], max_length=FORWARDS_MAX, description="forward URLs"
    )
    links: int = Field(default=2, ge=1, le=LINKS_MAX, description="ports, one per link")
    record: bool = Field(default=False, description="record into the media folder, too")
    name: str = Field(default="", max_length=120, description="shown on the slate, too")
    slate: str = Field(
        default="on",
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f]+$",
        description="while no media comes: on, off, or a picture or movie in the media folder",
    )

    def request(self) -> StartRequest:
        return StartRequest(tuple(self.forward_to), self.links, self.name, self.record, self.slate)


class ForwardOut(BaseModel):
    forward: str
    kind: str
    state: str
    url: str
    message: str


class AlarmOut(BaseModel):
    kind: str
    detail: str
    forward: str | None


class HostOut(BaseModel):
    """How full a host is, as it last told; figures are null before it has."""

    id: str
    connected: bool
    streams: int | None
    free_ports: int | None
    cpu_cores: float | None
    used_cpu_cores: float | None
    memory_mb: float | None
    used_memory_mb: float | None
    egress_kbps: float | None
    used_egress_kbps: float | None
    free_disk_mb: float | None
    limits: str | None
    warnings: list[str]

    @classmethod
    def of(cls, id: str, connected: bool, load: host_wire.Load | None) -> HostOut:
        names = [name for name in cls.model_fields if name not in ("id", "connected", "warnings")]
        told = {name: getattr(load, name) if load is not None else None for name in names}
        return cls(
            id=id, connected=connected, warnings=load.warnings if load is not None else [], **told
        )


class EventOut(BaseModel):
    at: datetime
    type: str
    data: dict[str, Any]


class StreamOut(BaseModel):
    id: str
    name: str
    state: str
    on_air: bool
    observed: bool
    reason: str | None
    detail: str | None
    host: str | None
    ports: list[int]
    receive_urls: list[str]
    forwards: list[ForwardOut]
    links: list[dict[str, Any]]
    media: dict[str, Any] | None
    program: dict[str, str] | None
    stats: dict[str, Any] | None
    alarms: list[AlarmOut]
    events: list[EventOut]
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, view: View, host: Host) -> StreamOut:
        return cls(**_stream(view, host))


class StartedOut(StreamOut):
    """The answer to a start; the key is told this once."""

    psk: str
    sender_command: str

    @classmethod
    def started(cls, view: View, host: Host) -> StartedOut:
        assert view.psk is not None
        fields = _stream(view, host)
        return cls(
            **fields,
            psk=view.psk.reveal(),
            sender_command=sender_command(fields["receive_urls"], view.psk),
        )


def receive_urls(ports: list[int], host: Host) -> list[str]:
    name = f"[{host.public_host}]" if ":" in host.public_host else host.public_host
    return [f"rist://{name}:{port}" for port in ports]


def sender_command(urls: list[str], psk: Secret) -> str:
    """A line for any machine with rist-tools; MPEG-TS goes to its UDP port 5000."""
    peers = ",".join(f"{url}?secret={psk.reveal()}&aes-type=256&weight=100" for url in urls)
    return f"ristsender -p 1 -i {shlex.quote('udp://127.0.0.1:5000')} -o {shlex.quote(peers)}"


def _stream(view: View, host: Host) -> dict[str, Any]:
    row, live = view.row, view.live
    stats = msgspec.to_builtins(live.stats) if live and live.stats else None
    state: lifecycle.State = row.state  # type: ignore[assignment]
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "on_air": live is not None
        and lifecycle.is_on_air(state, live.is_fed, live.forward_states()),
        "observed": view.is_observed or state in lifecycle.OVER,
        "reason": row.reason,
        "detail": row.detail,
        "host": row.host,
        "ports": row.ports,
        "receive_urls": receive_urls(row.ports, host),
        "forwards": [ForwardOut(**msgspec.structs.asdict(each)) for each in live.forwards.values()]
        if live
        else [],
        "links": stats["links"] if stats else [],
        "media": stats["media"] if stats else None,
        "program": msgspec.structs.asdict(live.program) if live else None,
        "stats": stats,
        "alarms": [AlarmOut(**msgspec.structs.asdict(each)) for each in live.alarms]
        if live
        else [],
        "events": [EventOut(at=each.at, type=each.type, data=each.data) for each in view.events],
        "created_at": row.created_at,
        "ended_at": row.ended_at,
    }
