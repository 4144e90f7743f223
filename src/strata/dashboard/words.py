"""What the pages say of states and troubles: what happened, what it means, what to do. Pure.

Written for somebody at night, with a broadcast on the air.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from strata.control.streams import View
from strata.control.troubles import Key, Troubles

Tone: TypeAlias = Literal["bad", "warn", "wait", "good", "over"]

TONES: Final[tuple[Tone, ...]] = ("bad", "warn", "wait", "good", "over")
"""The order in which streams are listed: trouble first."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a stream is, in a colour and in words."""

    tone: Tone
    word: str


@dataclass(frozen=True, slots=True)
class Kind:
    """What is said of one kind of trouble.

    Attributes:
        grave: viewers see or hear it, or nobody knows whether they do.
    """

    title: str
    means: str
    do: str
    grave: bool = False


KINDS: Final[dict[str, Kind]] = {
    "host_unreachable": Kind(
        "The host does not answer",
        "What is on the air most likely goes on, but nobody can see how it is or change it.",
        "Look at the host: systemctl status strata-host.",
        grave=True,
    ),
    "host_warning": Kind(
        "A warning of the host",
        "Broadcasts go on.",
        "Run strata doctor on the host: it names what mends this.",
    ),
    "worker_restarting": Kind(
        "The receiver died and is being started again",
        "Viewers see a pause of some seconds.",
        "Wait half a minute. If it dies again, keep its log: it says why.",
        grave=True,
    ),
    "no_stats": Kind(
        "The receiver reports nothing",
        "It may hang; the host kills it and starts the next one.",
        "Wait half a minute.",
        grave=True,
    ),
    "stalled": Kind(
        "No picture comes from the field",
        "Viewers see the slate. The sessions on the platforms are kept.",
        "Call the crew: is the encoder sending, and do its modems have a signal?",
        grave=True,
    ),
    "slate": Kind(
        "Viewers see the slate",
        "The sessions on the platforms are kept; the picture returns by itself.",
        "Call the crew if it does not come back within a few seconds.",
        grave=True,
    ),
    "off_air": Kind(
        "Nothing is on the air",
        "No picture comes, and no slate can be shown. A platform may end the session soon.",
        "Call the crew. Have the link of the platform at hand in case it ends.",
        grave=True,
    ),
    "low_bitrate": Kind(
        "Too little arrives",
        "The picture may be poor or stop for moments.",
        "Have the crew lower the bitrate of the encoder, or add a link.",
    ),
    "link_down": Kind(
        "A link is down",
        "The other links carry the picture. If another one fails, viewers will see it.",
        "Have the crew look at the modem of that link: signal, SIM, data used up.",
    ),
    "link_silent": Kind(
        "A link is silent",
        "The other links carry the picture. Modems often come back within seconds.",
        "Wait a moment: after five seconds it counts as down.",
    ),
    "sender_offline": Kind(
        "The sender is not connected",
        "Its picture may still come; it cannot be told anything.",
        "Call the crew if it does not come back within a minute.",
    ),
    "sender_ended": Kind(
        "The sender has stopped by itself",
        "No picture will come until it is told to send again.",
        "Mend what it says, stop the broadcast and start it again.",
    ),
    "sender_refused": Kind(
        "The sender will not send",
        "No picture will come from it.",
        "Mend what it says, stop the broadcast and start it again.",
    ),
    "forward_retrying": Kind(
        "A destination takes no picture",
        "It is tried again and again; the others are not affected.",
        "Look whether the platform is up and the stream key is still valid.",
        grave=True,
    ),
    "forward_failed": Kind(
        "A destination has given up",
        "It will not come back by itself; the others are not affected.",
        "Replace it: a new key or another address begins at once.",
        grave=True,
    ),
    "forward_stuck": Kind(
        "A destination stands still",
        "It is connected, but takes nothing; viewers there see a frozen picture.",
        "Replace it, or wait until it is connected anew.",
        grave=True,
    ),
}
"""Causes before what follows from them."""

_RANKS: Final = {kind: rank for rank, kind in enumerate(KINDS)}

OTHER: Final = Kind(
    "Something is wrong", "It is not known what viewers see.", "Look at the stream's events."
)


def kind_of(kind: str) -> Kind:
    return KINDS.get(kind, OTHER)


def cause(kind: str) -> int:
    """The smaller, the earlier: what follows from something else comes after it."""
    return _RANKS.get(kind, len(_RANKS))


@dataclass(frozen=True, slots=True)
class Names:
    """What people know the parts of a stream by.

    Attributes:
        forwards: by their ids.
        links: by the receiver's ports: what the sender calls them, such as ``wwan0``.
    """

    forwards: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[int, str] = field(default_factory=dict)


NAMELESS: Final = Names()


def title(key: Key, names: Names = NAMELESS) -> str:
    """One trouble in some words."""
    found = kind_of(key.kind)
    if key.port is not None:
        return found.title.replace("A link", f"The link {_way(key.port, names)}")
    name = names.forwards.get(key.forward or "")
    return found.title.replace("A destination", name) if name else found.title


def _way(port: int, names: Names) -> str:
    name = names.links.get(port)
    return f"over {name} (port {port})" if name else f"on port {port}"


def state(view: View, troubles: Troubles, *, is_on_air: bool) -> Said:
    """How a stream is.

    Args:
        troubles: what is wrong with it.
        is_on_air: whether a destination takes anything.
    """
    row, live = view.row, view.live
    if row.state == "failed":
        return Said("bad", "Failed")
    if row.state in _BY_STATE:
        return _BY_STATE[row.state]
    if not view.is_observed or live is None:
        return Said("bad", "Not known")
    if live.is_restarting:
        return Said("bad", "Restarting")
    if any(key.kind == "no_stats" for key in troubles):
        return Said("bad", "Not known")
    if live.is_slate_held and is_on_air:
        return Said("warn", "Slate, as asked")
    if live.program.video == "slate":
        return Said("bad", "Slate")
    if row.state == "waiting":
        begun = live.input.state == "receiving"
        return Said("wait", "Connecting" if begun else "Waiting for the picture")
    if not is_on_air:
        return Said("bad", "Off the air")
    if any(kind_of(key.kind).grave for key in troubles):
        return Said("bad", "On the air, in trouble")
    return Said("warn", "On the air, with a fault") if troubles else Said("good", "On the air")


_BY_STATE: Final = {
    "starting": Said("wait", "Starting"),
    "stopping": Said("wait", "Stopping"),
    "ended": Said("over", "Ended"),
}

FORWARDS: Final[dict[str, Said]] = {
    "connecting": Said("wait", "Connecting"),
    "live": Said("good", "Live"),
    "retrying": Said("bad", "Trying again"),
    "failed": Said("bad", "Given up"),
    "stopped": Said("over", "Closed"),
}

LINKS: Final[dict[str, Said]] = {
    "up": Said("good", "Up"),
    "silent": Said("warn", "Silent"),
    "down": Said("bad", "Down"),
}

NO_LINK_YET: Final = Said("wait", "Nothing yet")
"""Of a port that nobody has sent to."""

REASONS: Final[dict[str, str]] = {
    "user_stop": "Stopped on request",
    "eos": "The sender ended it",
    "no_input": "No picture came any more",
    "sender_lost": "The sender was lost",
    "worker_crash": "The receiver died again and again",
    "out_of_memory": "The receiver needed more memory than it may have",
    "host_lost": "The host was lost",
    "no_capacity": "There was no room for it",
    "start_failed": "It could not be started",
}

KIND_NAMES: Final[dict[str, str]] = {
    "rtmp": "RTMP",
    "rtmps": "RTMPS",
    "srt": "SRT",
    "hls": "HLS",
    "hls_push": "HLS upload",
    "recording": "Recording",
    "file": "Recording",
}
