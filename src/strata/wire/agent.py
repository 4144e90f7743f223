"""What control and the agents in the field say to each other, over a WebSocket that the agent
dials: one JSON object (a :class:`Frame`) in each text frame.

    {"id": "<uuidv7>", "type": "stream.start", "ts": "<RFC 3339>", "payload": {...}}

An answer repeats the id and has the type with ``.response``. Neither end is the newer one for
ever: fields that are unknown are ignored, and a type that is unknown is answered with ``error``,
as is a frame that cannot be read; the connection goes on. Secrets travel here, so the way must
be encrypted (``wss``).

What an agent runs is judged by what it reports (``stream_state`` of ``device.status``, first of
all things after its login), not by what it was told: both ends may say everything again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_FRAME_BYTES: Final = 64 * 1024
ANSWER: Final = ".response"

CLOSE_FAILED: Final = 1011
"""Something went wrong here; the agent comes back after its usual wait."""
CLOSE_NOT_ALLOWED: Final = 4401
CLOSE_LATE: Final = 4408
"""No login came in time, or something that was sent was not taken."""
CLOSE_REPLACED: Final = 4409
"""The same sender has logged in anew. Who is told so waits for as long as it waits at most, or
two boxes with one token would take turns for ever."""
CLOSE_REMOVED: Final = 4410
CLOSE_TOO_MANY: Final = 4429

Word: TypeAlias = Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f]*$")]
Address: TypeAlias = Annotated[str, Meta(max_length=2048, pattern=r"^[^\x00-\x1f]+$")]


PLAIN_CHARS_MAX: Final = 500
_UNFIT: Final = dict.fromkeys(range(32))


def plain(text: str) -> str:
    """What the other end says in its own words, fit for a database and a page."""
    return text.translate(_UNFIT)[:PLAIN_CHARS_MAX]


class BadFrame(Exception):
    """A frame that is none. ``id`` and ``type`` are what could be read of them.

    Attributes:
        code: ``bad_frame``, ``too_long`` or ``unknown_type``.
    """

    def __init__(self, code: str, message: str, id: str = "", type: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.id = id
        self.type = type

    def answer(self) -> Frame | None:
        """What is to be said to it; None to an answer: two ends must not correct each other
        for ever."""
        if self.type == "error" or self.type.endswith(ANSWER):
            return None
        return Frame(self.id, "error", Error(self.code, str(self)))


# --- agent -> control ----------------------------------------------------------------


class Login(msgspec.Struct, frozen=True, omit_defaults=True):
    """agent -> control, first of all: who it is. Exactly one of the tokens is there."""

    enrollment_token: Annotated[str, Meta(max_length=200)] | None = None
    device_token: Annotated[str, Meta(max_length=200)] | None = None
    agent_version: Annotated[str, Meta(max_length=40, pattern=r"^[^\x00-\x1f]*$")] = ""
    hostname: Annotated[str, Meta(max_length=253, pattern=r"^[^\x00-\x1f]*$")] = ""
    arch: Annotated[str, Meta(max_length=40, pattern=r"^[^\x00-\x1f]*$")] = ""

    def __repr__(self) -> str:
        return f"Login({self.hostname!r}, {self.agent_version!r}, ****)"


class NetworkInterface(msgspec.Struct, frozen=True, omit_defaults=True):
    """``kind``: ``ethernet``, ``wifi``, ``cellular`` or another word; ``is_up``: whether it
    could carry a link now."""

    name: Word
    kind: Word = "other"
    is_up: bool | None = None
    addresses: Annotated[list[Word], Meta(max_length=32)] = []
    signal_percent: float | None = None


class MediaInput(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a picture can be taken from, as :class:`Source` names it."""

    mode: Word
    device: Address
    name: Word = ""


class StreamState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the agent makes of the stream that it was told to send last.

    ``starting``, ``running`` or another word: it sends, or is about to. ``ended``: it has given
    up by itself, ``detail`` says why; it will do nothing more without a new order.
    """

    stream_id: Word
    state: Word
    detail: str = ""


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """agent -> control, right after the login, every 10 s and on change.

    ``stream_state`` is None where it has been told of no stream, or of none since it was
    started; what is not there at all is not known.
    """

    network_interfaces: Annotated[list[NetworkInterface], Meta(max_length=64)] | UnsetType = UNSET
    media_inputs: Annotated[list[MediaInput], Meta(max_length=64)] | UnsetType = UNSET
    stream_state: StreamState | UnsetType | None = UNSET
    cpu_percent: float | UnsetType = UNSET
    uptime_s: float | UnsetType = UNSET


class LinkStats(msgspec.Struct, frozen=True):
    """One link, as its sending end sees it; what is None is not known. ``port``: of the receiver,
    by which its other end knows it."""

    id: Word
    interface: Word | None = None
    state: Word | None = None
    rtt_ms: float | None = None
    loss_rate: float | None = None
    sent_bytes: Annotated[int, Meta(ge=0)] | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None


class StreamStats(msgspec.Struct, frozen=True):
    """agent -> control, every second while it sends."""

    stream_id: Word
    uptime_s: float | None = None
    encoder_bitrate_kbps: float | None = None
    links: Annotated[list[LinkStats], Meta(max_length=32)] = []


class StreamEnded(msgspec.Struct, frozen=True, omit_defaults=True):
    """agent -> control: it sends no more although nobody told it to stop; repeated until it is
    answered. ``reason``: ``eos`` (the file is over), ``encoder``, ``source`` or another word."""

    stream_id: Word
    reason: Word
    detail: str = ""
    duration_s: float | None = None
    total_bytes: Annotated[int, Meta(ge=0)] | None = None


# --- control -> agent ----------------------------------------------------------------


class Config(msgspec.Struct, frozen=True):
    """How an agent is to behave."""

    name: str = ""
    status_interval_s: float = 10.0
    stats_interval_s: float = 1.0


class LoggedIn(msgspec.Struct, frozen=True, omit_defaults=True):
    """control -> agent: the answer to ``auth.login``.

    ``device_token`` is there after an enrollment: it is told this once, and is what the agent
    logs in with from now on. Without success ``code`` and ``message`` say why.
    """

    success: bool
    sender_id: str | None = None
    device_token: str | None = None
    config: Config | None = None
    code: str | None = None
    message: str | None = None

    def __repr__(self) -> str:
        return f"LoggedIn({self.success}, {self.sender_id}, {self.code})"


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the picture comes from: a test picture, a file of the sender's (``path``, again and
    again with ``loop``), a device (``device``, sound from ``audio_device``) or ``uri``."""

    mode: Literal["test", "file", "v4l2", "uri"]
    path: Address | None = None
    device: Address | None = None
    audio_device: Address | None = None
    uri: Address | None = None
    loop: bool = False

    def __repr__(self) -> str:
        return f"Source({self.mode})"


class Encoder(msgspec.Struct, frozen=True):
    """``keyint_max``: pictures from one key frame to the next, at most."""

    codec: Literal["h264", "h265"] = "h264"
    bitrate_kbps: Annotated[int, Meta(ge=100, le=100_000)] = 5000
    keyint_max: Annotated[int, Meta(ge=1, le=1000)] = 60


class StreamStart(msgspec.Struct, frozen=True):
    """control -> agent: send. Answered when it has begun to. One that sends this very stream
    already answers that it succeeded; one that sends another refuses with ``busy``."""

    stream_id: str
    source: Source
    encoder: Encoder
    destinations: list[str]
    psk: str
    aes_type: int = 256
    buffer_ms: int = 1000

    def __repr__(self) -> str:
        return f"StreamStart({self.stream_id}, {self.source.mode})"


class StreamStop(msgspec.Struct, frozen=True):
    """control -> agent: send no more. Answered when it does not; one that did not send it
    answers that it succeeded."""

    stream_id: str
    reason: str


class StreamMove(msgspec.Struct, frozen=True):
    """control -> agent: the same stream, elsewhere from now on."""

    stream_id: str
    destinations: list[str]
    psk: str

    def __repr__(self) -> str:
        return f"StreamMove({self.stream_id})"


class ConfigUpdate(msgspec.Struct, frozen=True):
    """control -> agent: behave like that from now on."""

    config: Config


# --- both ways -----------------------------------------------------------------------


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to all but a login: whether it was done, and why it was not."""

    success: bool
    code: str = ""
    message: str = ""


class Error(msgspec.Struct, frozen=True):
    """Instead of an answer: a frame that could not be read, or is not known here."""

    code: str = ""
    message: str = ""


Report: TypeAlias = Login | Status | StreamStats | StreamEnded
Order: TypeAlias = StreamStart | StreamStop | StreamMove | ConfigUpdate
Message: TypeAlias = Report | Order | LoggedIn | Done | Error

REPORTS: Final[Mapping[type[Any], str]] = {
    Login: "auth.login",
    Status: "device.status",
    StreamStats: "stream.stats",
    StreamEnded: "stream.ended",
}
ORDERS: Final[Mapping[type[Any], str]] = {
    StreamStart: "stream.start",
    StreamStop: "stream.stop",
    StreamMove: "stream.move",
    ConfigUpdate: "config.update",
}


class Frame(msgspec.Struct, frozen=True):
    """A message, its id and its type."""

    id: str
    type: str
    message: Message

    def answered(self, message: LoggedIn | Done) -> Frame:
        """The answer to it."""
        return Frame(self.id, self.type + ANSWER, message)


def frame(id: str, message: Report | Order) -> Frame:
    """Something that the other end is told or asked.

    Args:
        id: a UUIDv7 that was not used before.
    """
    return Frame(id, {**REPORTS, **ORDERS}[type(message)], message)


_Decoders: TypeAlias = Mapping[str, msgspec.json.Decoder[Any]]

_FROM_AGENT: Final[_Decoders] = {
    **{type: msgspec.json.Decoder(kind) for kind, type in REPORTS.items()},
    **{type + ANSWER: msgspec.json.Decoder(Done) for type in ORDERS.values()},
    "error": msgspec.json.Decoder(Error),
}
_FROM_CONTROL: Final[_Decoders] = {
    **{type: msgspec.json.Decoder(kind) for kind, type in ORDERS.items()},
    **{type + ANSWER: msgspec.json.Decoder(Done) for type in REPORTS.values()},
    "auth.login.response": msgspec.json.Decoder(LoggedIn),
    "error": msgspec.json.Decoder(Error),
}


class _Envelope(msgspec.Struct, frozen=True):
    type: Word
    id: Word = ""
    payload: msgspec.Raw = msgspec.Raw(b"{}")


_envelope: Final[msgspec.json.Decoder[_Envelope]] = msgspec.json.Decoder(_Envelope)

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)


def decode_from_agent(data: str | bytes) -> Frame:
    """One text frame, as control reads it.

    Raises:
        BadFrame: it cannot be read, or nobody here knows what it is.
    """
    return _decode(data, _FROM_AGENT)


def decode_from_control(data: str | bytes) -> Frame:
    """One text frame, as an agent reads it.

    Raises:
        BadFrame: it cannot be read, or nobody here knows what it is.
    """
    return _decode(data, _FROM_CONTROL)


def _decode(data: str | bytes, decoders: _Decoders) -> Frame:
    try:
        data = data.encode() if isinstance(data, str) else data
        if len(data) > MAX_FRAME_BYTES:
            raise BadFrame("too_long", f"a frame has more than {MAX_FRAME_BYTES} bytes")
        envelope = _envelope.decode(data)
    except _UNREADABLE as error:
        # Cut, because it quotes.
        raise BadFrame("bad_frame", f"not a frame: {str(error)[:200]}") from None
    decoder = decoders.get(envelope.type)
    if decoder is None:
        text = f"{envelope.type!r} is not known here, and was ignored"
        raise BadFrame("unknown_type", text, envelope.id, envelope.type)
    try:
        return Frame(envelope.id, envelope.type, decoder.decode(envelope.payload))
    except _UNREADABLE as error:
        text = f"the payload of {envelope.type} cannot be read: {str(error)[:200]}"
        raise BadFrame("bad_frame", text, envelope.id, envelope.type) from None


class _Wire(msgspec.Struct, frozen=True):
    id: str
    type: str
    ts: datetime
    payload: Message


def encode(frame: Frame, at: datetime) -> str:
    """The frame as text.

    Args:
        at: now, with its zone.

    Raises:
        BadFrame: the other end would not take it, for its length.
    """
    data = msgspec.json.encode(_Wire(frame.id, frame.type, at, frame.message))
    if len(data) > MAX_FRAME_BYTES:
        raise BadFrame("too_long", f"{frame.type} has more than {MAX_FRAME_BYTES} bytes", frame.id)
    return data.decode()
