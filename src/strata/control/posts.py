"""What one sender should do and is known to do, and what follows from that. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import msgspec

from strata.errors import BadArguments
from strata.secrets import redact_url
from strata.wire import agent as wire

NOT_WANTED: Final = "not_wanted"
"""Why a stream is to be stopped of which nobody here knows why it ended."""

NO_WORD: Final = "it does not say why"


@dataclass(frozen=True, slots=True)
class Crew:
    """Who is to send, and what.

    Attributes:
        source: None: the first input that the sender has told of. Never a test picture.
    """

    sender_id: str
    source: wire.Source | None = None
    encoder: wire.Encoder = field(default_factory=wire.Encoder)


TroubleKind: TypeAlias = Literal["sender_ended", "sender_offline", "sender_refused"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why no media may come; ``cause`` is a part of a sentence."""

    kind: TroubleKind
    cause: str


@dataclass(slots=True)
class Post:
    """One sender that has, or had, something to do. Times are seconds of a monotonic clock.

    Attributes:
        stream_id: what it should send; None: nothing.
        is_starting: whether somebody waits for it to begin, and tells it alone.
        to_stop: what it is not known to have stopped, each with why it ended.
        word: what it said of the end of its stream.
        refusal: why it did not begin again.
        lost_at: since when it is not connected; None: it is.
    """

    stream_id: str | None = None
    is_starting: bool = False
    to_stop: dict[str, str] = field(default_factory=dict)
    word: str | None = None
    refusal: str | None = None
    lost_at: float | None = None

    def claim(self, stream_id: str) -> None:
        """For a new stream."""
        self.stream_id, self.is_starting = stream_id, True
        self.word = self.refusal = None

    def release(self, stream_id: str) -> None:
        if self.stream_id == stream_id:
            self.stream_id, self.is_starting = None, False

    def recall(self, stream_id: str, reason: str) -> None:
        """The stream is over; the sender may send it still."""
        self.release(stream_id)
        self.to_stop[stream_id] = reason

    def hear(self, doing: wire.StreamState | None) -> None:
        """What the sender says that it does. What it does not send need not be stopped, and
        what it sends without being wanted is to be."""
        sent = doing.stream_id if doing is not None and doing.state != "ended" else None
        self.to_stop = {id: reason for id, reason in self.to_stop.items() if id == sent}
        if sent is not None and sent != self.stream_id:
            self.to_stop.setdefault(sent, NOT_WANTED)
        if doing is not None and doing.stream_id == self.stream_id:
            self.word = (wire.plain(doing.detail) or NO_WORD) if sent is None else None

    def should_begin(self, doing: wire.StreamState | None) -> bool:
        """Whether it is to be told of its stream: it was switched off and on, and has forgotten.
        One that has given up knows, and is left alone."""
        if self.stream_id is None or self.is_starting:
            return False
        return doing is None or doing.stream_id != self.stream_id

    def trouble(self, now: float, offline_s: float) -> Trouble | None:
        """What is wrong with it.

        Args:
            offline_s: how long it may be away.
        """
        if self.word is not None:
            return Trouble("sender_ended", f"the sender has stopped by itself ({self.word})")
        if self.lost_at is not None and now - self.lost_at >= offline_s:
            return Trouble("sender_offline", "the sender is not connected")
        if self.refusal is not None:
            return Trouble("sender_refused", f"the sender does not begin ({self.refusal})")
        return None


def first_input(status: wire.Status | None) -> wire.Source:
    """What a sender takes the picture from where nobody has said.

    Raises:
        BadArguments: it has told of nothing.
    """
    inputs = status.media_inputs if status is not None else msgspec.UNSET
    for each in inputs if not isinstance(inputs, msgspec.UnsetType) else ():
        if each.mode == "v4l2":
            return wire.Source("v4l2", device=each.device)
    raise BadArguments(
        'the sender tells of no input that a picture could be taken from; name one as "source", '
        'such as {"mode": "v4l2", "device": "/dev/video0"}, or {"mode": "test"} for a test picture'
    )


def shown(source: wire.Source) -> dict[str, Any]:
    """The source without what may be a password."""
    found: dict[str, Any] = msgspec.to_builtins(source)
    if source.uri is not None:
        found["uri"] = redact_url(source.uri)
    return found
