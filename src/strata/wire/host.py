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

EndReason: TypeAlias = Literal["user_stop", "eos", "no_input", "worker_crash"]

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""A snapshot of 500 streams with their latest statistics has about 1.5 MB."""


# --- control -> host -----------------------------------------------------------------


class Start(msgspec.Struct, tag_field="request", tag="start", frozen=True):
    """control -> host: receive a stream on ``links`` ports and forward it.

    ``name`` is shown on its slate; ``slate`` is ``on``, ``off`` or the path of a picture or
    movie on the host.
    """

    stream_id: str
    psk: str
    forwards: list[str]
    links: int
    name: str = ""
    slate: str = "on"

    def __repr__(self) -> str:
        return f"Start({self.stream_id}, {self.links} links, {len(self.forwards)} forwards)"


class Stop(msgspec.Struct, tag_field="request", tag="stop", frozen=True):
    """control -> host: end a stream; answered when its worker has gone."""

    stream_id: str


class List(msgspec.Struct, tag_field="request", tag="list", frozen=True):
    """control -> host: what do you run?"""


Request: TypeAlias = Start | Stop | List


# --- host -> control -----------------------------------------------------------------


class Started(msgspec.Struct, tag_field="reply", tag="started", frozen=True):
    """host -> control: the worker is ready on these ports."""

    ports: list[int]
    pid: int


class Stopped(msgspec.Struct, tag_field="reply", tag="stopped", frozen=True):
    """host -> control: the worker has gone and its ports are free."""

    reason: EndReason
    detail: str


class Snapshot(msgspec.Struct, frozen=True):
    """One stream that the host runs, with the latest of each of its worker's events."""

    stream_id: str
    ports: list[int]
    pid: int
    events: list[worker.Event]


class Streams(msgspec.Struct, tag_field="reply", tag="streams", frozen=True):
    """host -> control: everything that runs here, and how the latest others ended: control
    may not have been there to hear it."""

    streams: list[Snapshot]
    ended: list[Ended] = []


class Failed(msgspec.Struct, tag_field="reply", tag="failed", frozen=True):
    """host -> control: the request was not carried out and left nothing behind.

    ``code`` is that of an error in :mod:`strata.errors`.
    """

    code: str
    message: str


Reply: TypeAlias = Started | Stopped | Streams | Failed


class WorkerSaid(msgspec.Struct, tag_field="notice", tag="worker_said", frozen=True):
    """host -> control: an event of a worker, as it came."""

    stream_id: str
    event: worker.Event


class Ended(msgspec.Struct, tag_field="notice", tag="ended", frozen=True):
    """host -> control: a worker has gone, asked to or not."""

    stream_id: str
    reason: EndReason
    detail: str


Notice: TypeAlias = WorkerSaid | Ended


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
