"""Streams: starting, watching and stopping them."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from strata.control import lifecycle, policy, tables
from strata.control.api.access import At, Operator, Viewer
from strata.control.api.body import Body
from strata.control.api.events import EventOut
from strata.control.ledger import LISTED
from strata.control.policy import Policy
from strata.control.posts import Crew
from strata.control.streams import StartRequest, View
from strata.secrets import Secret
from strata.settings import Host
from strata.wire import agent

router = APIRouter(prefix="/api/streams", tags=["streams"])

FORWARDS_MAX = 16
LINKS_MAX = 8
LIMIT_MAX = 1000
KBPS_MAX = 1_000_000
AES_BITS = 256


class PolicyIn(Body):
    """What is done when little arrives: an alarm, the slate, and back."""

    alarm_below_kbps: int | None = Field(default=None, ge=1, le=KBPS_MAX, description="an alarm")
    slate_below_kbps: int | None = Field(
        default=None, ge=1, le=KBPS_MAX, description="the slate; not above alarm_below_kbps"
    )
    back_above_kbps: int = Field(ge=1, le=KBPS_MAX, description="both end; not below either")
    for_s: float = Field(default=3.0, ge=0, le=600, description="how long it is too little")
    back_for_s: float = Field(default=5.0, ge=0, le=600, description="how long it is enough")

    @model_validator(mode="after")
    def _is_in_order(self) -> PolicyIn:
        below = [each for each in (self.slate_below_kbps, self.alarm_below_kbps) if each]
        if not below or [*below, self.back_above_kbps] != sorted([*below, self.back_above_kbps]):
            raise ValueError(
                "give slate_below_kbps, alarm_below_kbps or both, and "
                "slate_below_kbps <= alarm_below_kbps <= back_above_kbps"
            )
        return self

    def policy(self) -> Policy:
        return Policy(**self.model_dump())


class PolicyOut(BaseModel):
    alarm_below_kbps: int | None
    slate_below_kbps: int | None
    back_above_kbps: int
    for_s: float
    back_for_s: float

    @classmethod
    def of(cls, row: tables.Stream) -> PolicyOut | None:
        found = policy.of_row(row.policy)
        return cls.model_validate(found, from_attributes=True) if found else None


Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^[^\x00-\x1f]+$")]


class SourceIn(Body):
    """Where a sender takes the picture from. A password in ``uri`` is shown to nobody again."""

    mode: Literal["test", "file", "v4l2", "uri"]
    path: Name | None = Field(default=None, description="of a file on the sender")
    device: Name | None = Field(default=None, description="such as /dev/video0")
    audio_device: Name | None = Field(default=None, description="sound from elsewhere")
    uri: Name | None = Field(default=None, description="such as rtsp://camera/1")
    loop: bool = Field(default=False, description="the file, again and again")

    @model_validator(mode="after")
    def _is_whole(self) -> SourceIn:
        needs = {"file": self.path, "v4l2": self.device, "uri": self.uri}
        if needs.get(self.mode, "") is None:
            name = {"file": "path", "v4l2": "device", "uri": "uri"}[self.mode]
            raise ValueError(f"a source of mode {self.mode} needs {name}")
        return self

    def source(self) -> agent.Source:
        return agent.Source(**self.model_dump(include=set(SourceIn.model_fields)))


class EncoderIn(Body):
    codec: Literal["h264", "h265"] = "h264"
    bitrate_kbps: int = Field(default=5000, ge=100, le=100_000)
    keyint_max: int = Field(default=60, ge=1, le=1000, description="pictures between key frames")


class StreamIn(Body):
    """Without ``sender_id`` any RIST encoder may send to the ports."""

    sender_id: str | None = Field(default=None, max_length=40, description="a sender of yours")
    source: SourceIn | None = Field(
        default=None, description="with sender_id; null: its first input, never a test picture"
    )
    encoder: EncoderIn | None = Field(default=None, description="with sender_id")
    forward_to: list[Annotated[str, Field(min_length=1, max_length=2048)]] = Field(
        default=[], max_length=FORWARDS_MAX, description="forward URLs"
    )
    destinations: list[Annotated[str, Field(min_length=1, max_length=40)]] = Field(
        default=[], max_length=FORWARDS_MAX, description="ids of destinations"
    )
    links: int = Field(default=2, ge=1, le=LINKS_MAX, description="ports, one per link")
    record: bool = Field(default=False, description="record into the media folder, too")
    preview: bool = Field(default=False, description="as HLS at /hls/{stream}/index.m3u8, too")
    name: str = Field(default="", max_length=120, description="shown on the slate, too")
    slate: str = Field(
        default="on",
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f]+$",
        description="while no media comes: on, off, or a picture or movie in the media folder",
    )

    policy: PolicyIn | None = Field(default=None, description="what is done when little arrives")

    @model_validator(mode="after")
    def _has_sender(self) -> StreamIn:
        if self.sender_id is None and (self.source or self.encoder):
            raise ValueError("source and encoder are a sender's; name one as sender_id")
        return self

    def request(self) -> StartRequest:
        return StartRequest(
            tuple(self.forward_to),
            self.links,
            self.name,
            self.record,
            self.slate,
            self.crew(),
            tuple(self.destinations),
            self.preview,
            self.policy.policy() if self.policy else None,
        )

    def crew(self) -> Crew | None:
        if self.sender_id is None:
            return None
        source = self.source.source() if self.source is not None else None
        encoder = self.encoder or EncoderIn()
        told = agent.Encoder(**encoder.model_dump(include=set(EncoderIn.model_fields)))
        return Crew(self.sender_id, source, told)


class ForwardOut(BaseModel):
    forward: str
    kind: str
    state: str
    url: str
    message: str
    destination: str | None = Field(description="the id of the one that it was made from")
    name: str


class AlarmOut(BaseModel):
    kind: str
    detail: str
    forward: str | None


class StreamOut(BaseModel):
    id: str
    name: str
    sender_id: str | None
    source: dict[str, Any] | None = Field(description="what its sender shows; null: not ours")
    encoder: dict[str, Any] | None
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
    slate_held: bool = Field(description="somebody asked for the slate, whatever media comes")
    stats: dict[str, Any] | None
    alarms: list[AlarmOut]
    policy: PolicyOut | None
    events: list[EventOut]
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, view: View, host: Host) -> StreamOut:
        return cls(**_stream(view, host))


class StartedOut(StreamOut):
    """The answer to a start; without a sender of ours the key is told, this once."""

    psk: str | None
    sender_command: str | None

    @classmethod
    def started(cls, view: View, host: Host, buffer_ms: int) -> StartedOut:
        fields = _stream(view, host)
        if view.psk is None:
            return cls(**fields, psk=None, sender_command=None)
        command = sender_command(fields["receive_urls"], view.psk, buffer_ms)
        return cls(**fields, psk=view.psk.reveal(), sender_command=command)


def with_key(url: str, psk: Secret, buffer_ms: int) -> str:
    """As programs that are built on librist take it.

    Without ``buffer`` they keep packets for a second or two, depending on the version, however
    long the receiver would wait for a repair.
    """
    return f"{url}?secret={psk.reveal()}&aes-type={AES_BITS}&buffer={buffer_ms}"


def sender_command(urls: list[str], psk: Secret, buffer_ms: int) -> str:
    """A line for any machine with rist-tools; MPEG-TS goes to its UDP port 5000."""
    peers = ",".join(f"{with_key(url, psk, buffer_ms)}&weight=100" for url in urls)
    return f"ristsender -p 1 -i {shlex.quote('udp://127.0.0.1:5000')} -o {shlex.quote(peers)}"


def _stream(view: View, host: Host) -> dict[str, Any]:
    row, live = view.row, view.live
    stats = msgspec.to_builtins(live.stats) if live and live.stats else None
    state: lifecycle.State = row.state  # type: ignore[assignment]
    return {
        "id": row.id,
        "name": row.name,
        "sender_id": row.sender_id,
        "source": row.request.get("source"),
        "encoder": row.request.get("encoder"),
        "state": row.state,
        "on_air": live is not None
        and lifecycle.is_on_air(state, live.is_fed, live.forward_states()),
        "observed": view.is_observed or state in lifecycle.OVER,
        "reason": row.reason,
        "detail": row.detail,
        "host": row.host,
        "ports": row.ports,
        "receive_urls": host.receive_urls(row.ports),
        "forwards": _forwards(view),
        "links": stats["links"] if stats else [],
        "media": stats["media"] if stats else None,
        "program": msgspec.structs.asdict(live.program) if live else None,
        "slate_held": live is not None and live.is_slate_held,
        "stats": stats,
        "alarms": [AlarmOut(**msgspec.structs.asdict(each)) for each in live.standing]
        if live
        else [],
        "policy": PolicyOut.of(row),
        "events": [EventOut.of(each) for each in view.events],
        "created_at": row.created_at,
        "ended_at": row.ended_at,
    }


def _forwards(view: View) -> list[ForwardOut]:
    found = []
    for each in view.live.forwards.values() if view.live else ():
        wanted = view.forwards.get(each.forward)
        found.append(
            ForwardOut(
                **msgspec.structs.asdict(each),
                destination=wanted.destination if wanted else None,
                name=wanted.name if wanted else "",
            )
        )
    return found


@router.get("")
async def list_streams(
    at: At,
    caller: Viewer,
    before: Annotated[
        str | None, Query(max_length=40, description="the id of a stream: only older ones")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LISTED,
) -> list[StreamOut]:
    """The newest first. Without ``before`` each that is not over is among them, however old."""
    views = await at.streams.visible_to(caller, before, limit)
    return [StreamOut.of(view, at.settings.host) for view in views]


@router.post("", status_code=201)
async def start_stream(at: At, caller: Operator, body: StreamIn) -> StartedOut:
    """Answered when a sender may start, or, with ``sender_id``, when that has."""
    view = await at.streams.begin(caller, body.request())
    return StartedOut.started(view, at.settings.host, at.settings.worker.buffer_ms)


@router.get("/{stream_id}")
async def get_stream(at: At, caller: Viewer, stream_id: str) -> StreamOut:
    return StreamOut.of(await at.streams.view(caller, stream_id), at.settings.host)


@router.post("/{stream_id}/stop")
async def stop_stream(at: At, caller: Operator, stream_id: str) -> StreamOut:
    """Answered when it has ended."""
    return StreamOut.of(await at.streams.stop(caller, stream_id), at.settings.host)


@router.put("/{stream_id}/policy")
async def set_policy(at: At, caller: Operator, stream_id: str, body: PolicyIn) -> PolicyOut:
    """From now on; the stream goes on as it is."""
    await at.policies.set(caller, stream_id, body.policy())
    return PolicyOut(**body.model_dump())


@router.delete("/{stream_id}/policy", status_code=204)
async def drop_policy(at: At, caller: Operator, stream_id: str) -> None:
    """Nothing is done any more; a slate that is on the air for its sake is taken off."""
    await at.policies.set(caller, stream_id, None)
