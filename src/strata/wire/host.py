"""What control and host say to each other: one JSON object (a :class:`Frame`) per line.

A request has an id and gets one reply with the same id; notices come whenever something
happens. Secrets travel here, so the transport must be private (a Unix socket with mode
0600 on one machine).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from strata.errors import StrataError
from strata.wire import worker

EndReason: TypeAlias = Literal["user_stop", "eos", "no_input", "worker_crash", "out_of_memory"]

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""A snapshot of 500 streams with their latest statistics has about 1.5 MB."""


# --- control -> host -----------------------------------------------------------------


class Start(msgspec.Struct, tag_field="request", tag="start", frozen=True):
    """control -> host: receive a stream on ``links`` ports and forward it.

    ``name`` is shown on its slate; ``slate`` is ``on``, ``off`` or the path of a picture or
    movie on the host. ``first_media_s`` is how long its first media may take, 0 for ever.
    """

    stream_id: str
    psk: str
    forwards: list[str]
    links: int
    name: str = ""
    slate: str = "on"
    first_media_s: float = 300.0

    def __repr__(self) -> str:
        return f"Start({self.stream_id}, {self.links} links, {len(self.forwards)} forwards)"


class Stop(msgspec.Struct, tag_field="request", tag="stop", frozen=True):
    """control -> host: end a stream; answered when its worker has gone."""

    stream_id: str


class List(msgspec.Struct, tag_field="request", tag="list", frozen=True):
    """control -> host: what do you run?"""


class Entrust(msgspec.Struct, tag_field="request", tag="entrust", frozen=True):
    """control -> host: the secrets of a stream that runs, for its next worker.

    A host keeps them in memory alone, so one that was started anew has to be told. What it
    has carried out itself since then counts more.

    ``forward_ids`` names the forwards, in their order. Without it they are those that the host
    knows of, if they are as many, or else ``fwd_1`` and so on.
    """

    stream_id: str
    psk: str
    forwards: list[str]
    forward_ids: list[str] = []

    def __repr__(self) -> str:
        return f"Entrust({self.stream_id}, {len(self.forwards)} forwards)"


class AddForward(msgspec.Struct, tag_field="request", tag="add_forward", frozen=True):
    """control -> host: one more forward. Answered when its destination has taken media."""

    stream_id: str
    url: str

    def __repr__(self) -> str:
        return f"AddForward({self.stream_id}, ****)"


class ReplaceForward(msgspec.Struct, tag_field="request", tag="replace_forward", frozen=True):
    """control -> host: lead a forward to elsewhere. Answered when the new destination has taken
    media; one that cannot be leaves the old one on the air."""

    stream_id: str
    forward: str
    url: str

    def __repr__(self) -> str:
        return f"ReplaceForward({self.stream_id}, {self.forward}, ****)"


class RemoveForward(msgspec.Struct, tag_field="request", tag="remove_forward", frozen=True):
    """control -> host: close a forward cleanly. Answered when it has been."""

    stream_id: str
    forward: str


class Configure(msgspec.Struct, tag_field="request", tag="configure", frozen=True):
    """control -> host: other settings of a stream that runs, which its next worker keeps.

    What is None stays as it is; see :class:`strata.wire.worker.Configure`. A slate that is
    switched off or becomes another one is not held any more, unless ``slate_now`` says so.
    """

    stream_id: str
    slate: str | None = None
    slate_now: bool | None = None
    max_egress_kbps: int | None = None
    keep_damaged: bool | None = None


Order: TypeAlias = AddForward | ReplaceForward | RemoveForward | Configure
"""What changes a stream that runs."""

Request: TypeAlias = Start | Stop | List | Entrust | Order


# --- host -> control -----------------------------------------------------------------


class Started(msgspec.Struct, tag_field="reply", tag="started", frozen=True):
    """host -> control: the worker is ready on these ports."""

    ports: list[int]
    pid: int


class Stopped(msgspec.Struct, tag_field="reply", tag="stopped", frozen=True):
    """host -> control: the worker has gone and its ports are free."""

    reason: EndReason
    detail: str


class Done(msgspec.Struct, tag_field="reply", tag="done", frozen=True):
    """host -> control: it has been carried out, and there is nothing to say of it."""


class Changed(msgspec.Struct, tag_field="reply", tag="changed", frozen=True):
    """host -> control: a forward has been added, replaced or removed.

    ``overlap`` tells of one that was replaced whether both destinations were on the air for a
    moment.
    """

    forward: str
    overlap: bool | None = None


class Alarm(msgspec.Struct, frozen=True):
    """Something that is wrong with a stream, as a look at it found.

    Attributes:
        kind: for programs: ``no_stats``, ``stalled``, ``forward``, ``restarting``.
        detail: in plain words.
        forward: which one, where it is about a forward.
    """

    kind: str
    detail: str
    forward: str | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """One stream that the host runs, with the latest of each of its worker's events.

    ``pid`` is 0 while its worker has died and the next one is not there yet;
    ``needs_secrets`` tells that there will be none before control has entrusted them.

    Attributes:
        forward_ids: of the forwards that it has now, the oldest first.
        slate, slate_now, max_egress_kbps, keep_damaged: as they are now; see
            :class:`Configure`.
    """

    stream_id: str
    ports: list[int]
    pid: int
    events: list[worker.Event]
    alarms: list[Alarm] = []
    needs_secrets: bool = False
    forward_ids: list[str] = []
    slate: str = "on"
    slate_now: bool = False
    max_egress_kbps: int | None = None
    keep_damaged: bool = False


class Streams(msgspec.Struct, tag_field="reply", tag="streams", frozen=True):
    """host -> control: everything that runs here, and how the latest others ended: control
    may not have been there to hear it. ``load``: how full the machine is."""

    streams: list[Snapshot]
    ended: list[Ended] = []
    load: Load | None = None


class Failed(msgspec.Struct, tag_field="reply", tag="failed", frozen=True):
    """host -> control: the request was not carried out and left nothing behind.

    ``code`` is that of an error in :mod:`strata.errors`.
    """

    code: str
    message: str


Reply: TypeAlias = Started | Stopped | Streams | Done | Changed | Failed


class WorkerSaid(msgspec.Struct, tag_field="notice", tag="worker_said", frozen=True):
    """host -> control: an event of a worker, as it came."""

    stream_id: str
    event: worker.Event


class Ended(msgspec.Struct, tag_field="notice", tag="ended", frozen=True):
    """host -> control: a worker has gone, asked to or not."""

    stream_id: str
    reason: EndReason
    detail: str


class Restarting(msgspec.Struct, tag_field="notice", tag="restarting", frozen=True):
    """host -> control: a worker has died, and the next one takes its place.

    What the dead one said of itself holds no more.
    """

    stream_id: str
    detail: str


class Alarms(msgspec.Struct, tag_field="notice", tag="alarms", frozen=True):
    """host -> control: what is wrong with a stream now, whenever that has changed."""

    stream_id: str
    alarms: list[Alarm]


class Load(msgspec.Struct, tag_field="notice", tag="load", frozen=True):
    """host -> control, with each look at its streams: how full the machine is.

    Attributes:
        cpu_cores, memory_mb: of the machine.
        used_cpu_cores, used_memory_mb, used_egress_kbps: by streams, with what is reserved
            for those that have just been started.
        egress_kbps: what may go out; None where nobody has said.
        limits: how workers are limited, in plain words.
        warnings: what an operator should mend.
    """

    cpu_cores: float
    memory_mb: float
    free_disk_mb: float
    streams: int
    free_ports: int
    used_cpu_cores: float
    used_memory_mb: float
    used_egress_kbps: float
    egress_kbps: float | None
    limits: str
    warnings: list[str] = []


Notice: TypeAlias = WorkerSaid | Ended | Restarting | Alarms | Load


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of the three is there."""

    id: int | None = None
    request: Request | None = None
    reply: Reply | None = None
    notice: Notice | None = None


_decoder: Final[msgspec.json.Decoder[Frame]] = msgspec.json.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """One line, with its line break."""
    return msgspec.json.encode(frame) + b"\n"


def decode(line: bytes) -> Frame:
    """One line.

    Raises:
        msgspec.DecodeError: the other side speaks another language.
    """
    try:
        return _decoder.decode(line)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"not a frame: {error}") from None


def error_of(failed: Failed) -> StrataError:
    """The error that the other side had, of the same class where this side knows it."""
    for kind in _all_kinds(StrataError):
        if kind.code == failed.code:
            error = kind.__new__(kind)
            error.args = (failed.message,)
            return error
    return StrataError(failed.message)


def _all_kinds(kind: type[StrataError]) -> list[type[StrataError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _all_kinds(child))]
