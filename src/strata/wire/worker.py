"""The control socket of a worker: line-delimited JSON over a Unix socket.

Commands go to the worker, events come from it. Fields unknown to one side are ignored, so
that a worker and a host of neighbouring versions understand each other; ``PROTOCOL`` in
``ready`` counts the changes that this cannot bridge.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

PROTOCOL: Final = 1

EGRESS_KBPS_MAX: Final = 10_000_000

InputState: TypeAlias = Literal["waiting", "receiving", "stalled"]
ForwardState: TypeAlias = Literal["connecting", "live", "retrying", "failed", "stopped"]
StopReason: TypeAlias = Literal["eos", "no_input", "orphaned", "failed"]
CommandId: TypeAlias = str | int | None


class BadCommand(Exception):
    """A line that is no command. ``id`` is what could be read of its id."""

    def __init__(self, message: str, id: CommandId = None) -> None:
        super().__init__(message)
        self.id = id


# --- to the worker -------------------------------------------------------------------


class Stop(msgspec.Struct, tag_field="cmd", tag="stop", frozen=True, omit_defaults=True):
    """host -> worker: flush, close every forward cleanly and exit with status 0.

    With the reason ``no_input`` the forwards are closed as after a loss, so that a platform
    keeps the broadcast for a sender that comes back, and the exit status is 10.
    """

    reason: Literal["eos", "no_input"] = "eos"
    id: CommandId = None


class Shutdown(msgspec.Struct, tag_field="cmd", tag="shutdown", frozen=True, omit_defaults=True):
    """host -> worker: the same as ``stop``."""

    id: CommandId = None


class GetStats(msgspec.Struct, tag_field="cmd", tag="stats", frozen=True, omit_defaults=True):
    """host -> worker: send a ``stats`` event now."""

    id: CommandId = None


class GetKeyFrame(
    msgspec.Struct, tag_field="cmd", tag="key_frame", frozen=True, omit_defaults=True
):
    """host -> worker: the picture that is on the air. Answered with ``key_frame`` events."""

    id: CommandId = None


class UpdateForward(
    msgspec.Struct, tag_field="cmd", tag="update_forward", frozen=True, omit_defaults=True
):
    """host -> worker: replace a forward, the first one where none is named. Answered when
    the new destination has taken media."""

    url: str
    forward: str | None = None
    id: CommandId = None

    def __repr__(self) -> str:
        return f"UpdateForward({self.forward}, ****)"


class AddForward(
    msgspec.Struct, tag_field="cmd", tag="add_forward", frozen=True, omit_defaults=True
):
    """host -> worker: one more forward. Answered when its destination has taken media."""

    url: str
    id: CommandId = None

    def __repr__(self) -> str:
        return "AddForward(****)"


class RemoveForward(
    msgspec.Struct, tag_field="cmd", tag="remove_forward", frozen=True, omit_defaults=True
):
    """host -> worker: close a forward cleanly. Answered when it has been."""

    forward: str
    id: CommandId = None


class Configure(msgspec.Struct, tag_field="cmd", tag="configure", frozen=True, omit_defaults=True):
    """host -> worker: other settings, any of them; what is not named stays as it is.

    ``slate``: on, off, or the path of a picture or movie. ``slate_now``: the slate goes on the
    air whatever comes in, until it is set to false. ``keep_damaged``: pictures after a gap go
    out as they are.
    """

    stats_interval_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] | None = None
    max_egress_kbps: Annotated[int, msgspec.Meta(ge=0, le=EGRESS_KBPS_MAX)] | None = None
    slate: str | None = None
    slate_now: bool | None = None
    keep_damaged: bool | None = None
    id: CommandId = None


ForwardCommand: TypeAlias = UpdateForward | AddForward | RemoveForward
Command: TypeAlias = Stop | Shutdown | GetStats | GetKeyFrame | ForwardCommand | Configure

_command_decoder: Final[msgspec.json.Decoder[Command]] = msgspec.json.Decoder(Command)
_decode_any = msgspec.json.Decoder().decode


def decode_command(line: bytes) -> Command:
    """One line as a command.

    Raises:
        BadCommand: no JSON, no known command, or a field of the wrong type.
    """
    try:
        return _command_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Cut, because it quotes: the answer must fit a line too.
        raise BadCommand(f"not a command: {str(error)[:200]}", _id_of(line)) from None


def _id_of(line: bytes) -> CommandId:
    try:
        value = _decode_any(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str | int) else None


# --- from the worker -----------------------------------------------------------------


class Ready(msgspec.Struct, tag_field="event", tag="ready", frozen=True):
    """worker -> host: the ports are bound; a sender may start."""

    ports: list[int]
    stream_id: str
    pid: int
    version: str
    protocol: int = PROTOCOL


class Input(msgspec.Struct, tag_field="event", tag="input", frozen=True):
    """worker -> host: whether media arrives.

    ``waiting``: none yet; ``stalled``: none for the stall timeout. ``since_s`` is the time
    in that state.
    """

    state: InputState
    since_s: float


class Program(msgspec.Struct, tag_field="event", tag="program", frozen=True):
    """worker -> host: what the forwards are fed."""

    video: Literal["live", "slate", "none"]
    audio: Literal["live", "silence", "none"]


class Forward(msgspec.Struct, tag_field="event", tag="forward", frozen=True):
    """worker -> host: a forward changed its state. ``url`` is redacted.

    ``live``: the destination takes media. ``retrying``: it will be tried again. ``failed``:
    trying again cannot help.
    """

    forward: str
    kind: str
    state: ForwardState
    url: str
    message: str = ""


class VideoMedia(msgspec.Struct, frozen=True):
    codec: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    keyframe_interval_s: float | None = None


class AudioMedia(msgspec.Struct, frozen=True):
    codec: str
    rate: int | None = None
    channels: int | None = None


class Media(msgspec.Struct, frozen=True):
    video: VideoMedia | None = None
    audio: AudioMedia | None = None


class Flow(msgspec.Struct, frozen=True):
    """Packets since the worker started. ``recovered``, ``late`` and ``duplicates`` come
    from librist's reports and lag by up to 10 s; the rest is counted as it happens."""

    received: int = 0
    recovered: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    quality_percent: float = 100.0


class LinkStats(msgspec.Struct, frozen=True):
    """One port. ``peer`` is the sender's address; None where nobody has been seen.

    ``reason`` says why the link is not ``up``. A link that brings media is ``down`` all the
    same where nothing gets back to the sender: requests for lost packets are swallowed there.
    """

    port: int
    peer: str | None
    bitrate_kbps: float
    share_percent: float
    received: int
    last_packet_age_s: float | None
    state: Literal["up", "silent", "down"]
    rtt_ms: float | None = None
    reason: str | None = None


class ForwardStats(msgspec.Struct, frozen=True):
    """One forward, over all its connections.

    ``bitrate_kbps`` is what the destination took. Where media goes out as it comes, that is
    since the ``stats`` before. HLS is taken a segment at a time, so there it is the average
    over the last two segments, of fewer right after the start, and 0 when none has been taken
    for as long as three last. ``bytes`` is the exact total of what was taken.
    """

    forward: str
    kind: str
    state: ForwardState
    bitrate_kbps: float
    bytes: int
    dropped_frames: int
    reconnects: int
    live_s: float
    last_progress_age_s: float | None


class Line(msgspec.Struct, frozen=True):
    """What was done to keep the broadcast whole, since the worker started.

    Attributes:
        gaps: places where something of the picture was missing.
        damaged_frames: pictures that were left out because of those.
        bad_stamps: units that were dropped because their time could not be true.
        clock_moves: how often the sender's clock was set anew.
        slates: how often the slate went on the air.
        slate_s, silence_s: for how long in all.
    """

    gaps: int = 0
    damaged_frames: int = 0
    bad_stamps: int = 0
    clock_moves: int = 0
    slates: int = 0
    slate_s: float = 0.0
    silence_s: float = 0.0


class Stats(msgspec.Struct, tag_field="event", tag="stats", frozen=True):
    """worker -> host, each ``--stats-interval-ms``: everything measured.

    ``bitrate_in_kbps`` is what came since the ``stats`` before, ``bitrate_out_kbps`` the sum of
    the forwards' bitrates. ``buffer_ms`` is the time that media spent in the recovery buffer,
    as librist measured it over its last report; None until the first one.
    """

    bitrate_in_kbps: float
    bitrate_out_kbps: float
    buffer_ms: float | None
    uptime_s: float
    cpu_percent: float
    rss_mb: float
    media: Media
    flow: Flow
    links: list[LinkStats]
    forwards: list[ForwardStats]
    line: Line = Line()
    id: CommandId = None


def with_id(stats: Stats, id: CommandId) -> Stats:
    """The same numbers as the answer to a command."""
    return msgspec.structs.replace(stats, id=id)


class Ok(msgspec.Struct, tag_field="event", tag="ok", frozen=True):
    """worker -> whoever asked: the command has been carried out.

    ``forward`` names the forward that it was about; ``overlap`` tells whether the old and the
    new destination were both on the air for a moment.
    """

    cmd: str
    id: CommandId = None
    forward: str | msgspec.UnsetType = msgspec.UNSET
    overlap: bool | msgspec.UnsetType = msgspec.UNSET


class Error(msgspec.Struct, tag_field="event", tag="error", frozen=True, omit_defaults=True):
    """worker -> host, or whoever asked: what went wrong and what it means.

    ``forward`` names the forward that it is about.
    """

    message: str
    code: str
    id: CommandId = None
    forward: str | None = None


class KeyFrame(msgspec.Struct, tag_field="event", tag="key_frame", frozen=True):
    """worker -> whoever asked: the last key frame that went on the air, as it is coded, in
    pieces that fit a line.

    Attributes:
        part, parts: which piece this is, counted from 0, and of how many.
        data: pictures with the length of each NAL unit before it (four bytes).
        config: its configuration record (``avcC`` or ``hvcC``), with the first piece.
        shows: whether the picture is the sender's.
        age_s: since it went on the air.
    """

    part: int
    parts: int
    codec: str
    shows: Literal["live", "slate"]
    age_s: float
    data: bytes
    config: bytes = b""
    id: CommandId = None


class Stopped(msgspec.Struct, tag_field="event", tag="stopped", frozen=True):
    """worker -> host, last of all."""

    reason: StopReason


_FORWARD_ID: Final = re.compile(r"fwd_([1-9][0-9]{0,8})")


def forward_id(number: int) -> str:
    """What the forward with that number is called; the first has 1."""
    return f"fwd_{number}"


def forward_number(id: str) -> int:
    """The number in a forward's id; 0 where it is none."""
    found = _FORWARD_ID.fullmatch(id)
    return int(found[1]) if found else 0


Event: TypeAlias = Ready | Input | Program | Forward | Stats | Ok | Error | KeyFrame | Stopped

_event_decoder: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)


def decode_event(line: bytes) -> Event | None:
    """One line as an event; None for one that this version does not know.

    Raises:
        msgspec.DecodeError: a known event with fields that cannot be read, or no JSON.
    """
    try:
        try:
            return _event_decoder.decode(line)
        except msgspec.ValidationError:
            value: Any = _decode_any(line)
            if isinstance(value, dict) and value.get("event") not in _EVENT_TAGS:
                return None
            raise
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"not an event: {error}") from None


_EVENT_TAGS: Final = frozenset(
    ("ready", "input", "program", "forward", "stats", "ok", "error", "key_frame", "stopped")
)


def encode(message: Command | Event) -> bytes:
    """One line, with its line break."""
    return msgspec.json.encode(message) + b"\n"


# --- on standard input ---------------------------------------------------------------


class Secrets(msgspec.Struct, frozen=True):
    """host -> worker, the one line on standard input with ``--secrets-stdin``.

    ``forward_ids`` names the forwards, in their order, as those of an earlier worker were;
    without it they are ``fwd_1`` and so on. Forwards that are added later get numbers above
    ``last_forward``, so that an id never means another one.
    """

    psk: str | None = None
    forwards: list[str] = []
    forward_ids: list[str] = []
    last_forward: int = 0

    def __repr__(self) -> str:
        return "Secrets(****)"
