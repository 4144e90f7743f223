"""A stream as the wall shows it: what seldom changes (a head), and its numbers. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from strata.control import lifecycle, tables, troubles
from strata.control.streams import View
from strata.control.troubles import Key, Troubles
from strata.dashboard import words
from strata.dashboard.words import Names, Tone
from strata.secrets import redact_url
from strata.wire import agent
from strata.wire.worker import LinkStats, Stats

Head: TypeAlias = dict[str, Any]
Numbers: TypeAlias = dict[str, Any]

_NUMBER: Final = re.compile(r"(\d{1,18})")

NAMELESS: Final = "Without a name"

TROUBLES_SHOWN: Final = 5
"""On the wall; the page of the stream has all of them."""


SILENT_S: Final = 1.5
"""A link that pauses for less is not worth a word."""


@dataclass(frozen=True, slots=True)
class Rank:
    """Where a stream stands on the wall."""

    tone: Tone
    name: str
    id: str

    @property
    def key(self) -> tuple[int, list[str | int], str]:
        return words.TONES.index(self.tone), _as_counted(self.name), self.id


def _as_counted(name: str) -> list[str | int]:
    """Camera 2 comes before camera 10. Texts and numbers take turns, so like is held to like."""
    parts = _NUMBER.split(name.casefold())
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]


def found(view: View, *, is_silent: bool = False) -> Troubles:
    """What is wrong with a stream that runs; nothing is with one that is over.

    Args:
        is_silent: whether its numbers come no more.
    """
    if view.live is None or view.row.state not in lifecycle.RUNNING:
        return {}
    told = troubles.of_stream(view.live, is_observed=view.is_observed)
    if not view.is_observed or view.live.is_restarting or view.live.stats is None:
        return told
    if is_silent:
        return {Key("no_stats"): "its receiver has reported nothing for some seconds"} | told
    return told | _silent(view.live.stats.links)


def _silent(links: list[LinkStats]) -> Troubles:
    """Links that bring nothing while others do: they count as down only after a while, and who
    looks wants to know before that."""
    if not any(each.state == "up" for each in links):
        return {}
    return {
        Key("link_silent", port=each.port): "nothing has come over it for some seconds"
        for each in links
        if each.state == "silent" and each.received and (each.last_packet_age_s or 0) >= SILENT_S
    }


def is_on_air(view: View) -> bool:
    live = view.live
    state: lifecycle.State = view.row.state  # type: ignore[assignment]
    return live is not None and lifecycle.is_on_air(state, live.is_fed, live.forward_states())


def head(view: View, names: Names, *, is_silent: bool = False) -> Head:
    """What of a stream changes seldom.

    Args:
        is_silent: whether its numbers come no more.
    """
    row, wrong, on_air = view.row, found(view, is_silent=is_silent), is_on_air(view)
    said = words.state(view, wrong, is_on_air=on_air)
    told = [
        {
            "kind": key.kind,
            "title": words.title(key, names),
            "detail": detail,
            "means": words.kind_of(key.kind).means,
            "do": words.kind_of(key.kind).do,
            "grave": words.kind_of(key.kind).grave,
        }
        for key, detail in sorted(wrong.items(), key=_by_gravity)
    ]
    return {
        "id": row.id,
        "name": row.name or NAMELESS,
        "tone": said.tone,
        "word": said.word,
        "onAir": on_air,
        "note": _note(view),
        "troubles": told[:TROUBLES_SHOWN],
        "more": max(0, len(told) - TROUBLES_SHOWN),
        "forwards": _forwards(view, names.forwards),
        "begun": millis(row.created_at),
        "ended": millis(row.ended_at),
        "picture": view.live is not None and view.live.program.video != "none",
        "media": media(view),
    }


def unreadable(row: tables.Stream) -> Head:
    """Of a stream that we fail to describe: it must not look as if all were well."""
    return {
        "id": row.id,
        "name": row.name or NAMELESS,
        "tone": "bad",
        "word": "Not known",
        "onAir": False,
        "note": "An internal failure: this page cannot tell how it is. The broadcast itself is not "
        "touched by that; the control plane's log has the details.",
        "troubles": [],
        "more": 0,
        "forwards": [],
        "begun": millis(row.created_at),
        "ended": millis(row.ended_at),
        "picture": False,
        "media": "",
    }


UNKNOWN: Final[Numbers] = {"in": None, "out": None, "links": []}


def numbers(stats: Stats | None, names: Names) -> Numbers:
    """What changes each second; what is not known is None, and never 0."""
    if stats is None:
        return UNKNOWN
    return {
        "in": round(stats.bitrate_in_kbps),
        "out": round(stats.bitrate_out_kbps),
        "links": [link(each, names) for each in stats.links],
    }


def link(stats: LinkStats, names: Names) -> dict[str, Any]:
    said = words.LINKS[stats.state] if stats.received else words.NO_LINK_YET
    return {
        "port": stats.port,
        "name": names.links.get(stats.port),
        "tone": said.tone,
        "word": said.word,
        "share": round(stats.share_percent),
        # Of a link that is down it is what it was once.
        "rtt": _rounded(stats.rtt_ms, 0) if stats.state != "down" else None,
        "age": _rounded(stats.last_packet_age_s, 1),
        "kbps": round(stats.bitrate_kbps),
    }


def rank(head: Head) -> Rank:
    return Rank(head["tone"], head["name"], head["id"])


def link_names(told: agent.StreamStats | None, before: Mapping[int, str]) -> dict[int, str]:
    """What a sender calls its links. A modem that is pulled out is called what it was.

    Args:
        told: by the sender, of this very stream; None: nothing, or there is no sender of ours.
    """
    now: dict[int, list[str]] = {}
    for each in told.links if told is not None else ():
        name = each.interface or ("" if each.id.isdigit() else each.id)
        if each.port is not None and name:
            now.setdefault(each.port, []).append(name)
    return {**before, **{port: " and ".join(found) for port, found in now.items()}}


def forward_names(view: View) -> dict[str, str]:
    """What people know each forward by."""
    live = view.live.forwards if view.live is not None else {}
    found = {}
    for id, each in live.items():
        wanted = view.forwards.get(id)
        name = wanted.name if wanted is not None else ""
        found[id] = _capital(name) or where(each.url, each.kind)
    return found


def where(url: str, kind: str) -> str:
    """A destination by its address: the machine, or what kind it is."""
    place = urlsplit(redact_url(url)).netloc.rpartition("@")[2]
    name = words.KIND_NAMES.get(kind, kind.upper())
    return f"{place} ({name})" if place else name


def media(view: View) -> str:
    """What comes from the field, such as ``1080p50 H.264, AAC``."""
    stats = view.live.stats if view.live is not None else None
    if stats is None:
        return ""
    found = []
    video, audio = stats.media.video, stats.media.audio
    if video is not None:
        size = f"{video.height}p{video.fps:.4g} " if video.height and video.fps else ""
        found.append(size + _CODECS.get(video.codec, video.codec.upper()))
    if audio is not None:
        found.append(_CODECS.get(audio.codec, audio.codec.upper()))
    elif video is not None:
        found.append("no sound")
    return ", ".join(found)


_CODECS: Final = {"h264": "H.264", "h265": "H.265", "aac": "AAC"}


def millis(moment: datetime | None) -> int | None:
    """For a browser, which knows the zone of who looks."""
    return round(moment.timestamp() * 1000) if moment is not None else None


def _note(view: View) -> str:
    row = view.row
    if row.state in lifecycle.OVER:
        reason = words.REASONS.get(row.reason or "", row.reason or "")
        return f"{reason}: {row.detail}" if row.detail else reason
    if row.state == "starting":
        return "Its receiver is being started."
    if row.state == "waiting" and view.live is not None and view.live.input.state == "waiting":
        ports = ", ".join(map(str, row.ports))
        return f"It is ready on the ports {ports}. Start the encoder."
    return ""


def _forwards(view: View, names: Mapping[str, str]) -> list[dict[str, Any]]:
    live = view.live.forwards if view.live is not None else {}
    return [
        {
            "id": each.forward,
            "name": names[each.forward],
            "kind": each.kind,
            "tone": words.FORWARDS[each.state].tone,
            "word": words.FORWARDS[each.state].word,
            "message": each.message,
        }
        for each in live.values()
        if each.state != "stopped"
    ]


def _by_gravity(item: tuple[Key, str]) -> tuple[bool, int, str]:
    key = item[0]
    is_grave = words.kind_of(key.kind).grave
    return not is_grave, words.cause(key.kind), f"{key.kind}{key.forward}{key.port}"


def _rounded(value: float | None, digits: int) -> float | None:
    return round(value, digits) if value is not None else None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
