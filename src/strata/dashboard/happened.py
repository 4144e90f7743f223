"""What happened to a stream, as a person would tell it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from strata.control import tables
from strata.control.troubles import Key
from strata.dashboard import rows, words
from strata.dashboard.words import Tone

Data: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    tone: Tone
    text: str


def tell(type: str, data: Data) -> Told:
    """An event; one that is not known is told by its name."""
    say = _SAY.get(type)
    return say(data) if say is not None else Told("over", type.replace("_", " ").capitalize())


def line(event: tables.Event, me: str) -> dict[str, Any]:
    """As the page shows it.

    Args:
        me: the id of who looks.
    """
    told = tell(event.type, event.data)
    by = "" if event.user_id is None else "you" if event.user_id == me else "another user"
    return {
        "id": event.id,
        "at": round(event.at.timestamp() * 1000),
        "tone": told.tone,
        "text": told.text,
        "by": by,
    }


def _state(data: Data) -> Told:
    to = data.get("to")
    if to in ("ended", "failed"):
        code = str(data.get("reason") or "")
        reason = words.REASONS.get(code, code)
        head = "The broadcast failed" if to == "failed" else "The broadcast has ended"
        detail = str(data.get("detail") or "")
        more = f" ({detail})" if detail.casefold() not in ("", reason.casefold()) else ""
        return Told("bad" if to == "failed" else "over", f"{head}. {reason}{more}")
    return _STATES.get(str(to), Told("over", f"It is {to}"))


_STATES: Final = {
    "waiting": Told("wait", "Ready: it waits for the picture"),
    "live": Told("good", "On the air, all as it should be"),
    "degraded": Told("warn", "Something is wrong; it goes on"),
    "stopping": Told("over", "It is being stopped"),
}


def _name(data: Data) -> str:
    url = str(data.get("url") or "")
    place = rows.where(url, urlsplit(url).scheme) if url else ""
    return str(data.get("name") or place or data.get("forward") or "a destination")


def _input(data: Data) -> Told:
    return _INPUTS.get(str(data.get("state")), Told("over", f"The input is {data.get('state')}"))


_INPUTS: Final = {
    "waiting": Told("wait", "Nothing has come from the field yet"),
    "receiving": Told("good", "The picture arrives"),
    "stalled": Told("bad", "Nothing comes from the field any more"),
}


def _program(data: Data) -> Told:
    return _PROGRAMS.get(str(data.get("video")), Told("over", "What viewers see is not known"))


_PROGRAMS: Final = {
    "live": Told("good", "Viewers see the picture"),
    "slate": Told("warn", "Viewers see the slate"),
    "none": Told("wait", "Viewers see nothing"),
}


def _error(data: Data) -> Told:
    where = f" of {data['forward']}" if data.get("forward") else ""
    return Told("bad", f"An error{where}: {data.get('message')}")


def _alert(tone: Tone, words_after: str) -> Callable[[Data], Told]:
    def say(data: Data) -> Told:
        title = words.title(Key(str(data.get("kind", "")), port=data.get("port")))
        detail = f": {data['detail']}" if data.get("detail") and tone != "good" else ""
        return Told(tone, f"{words_after}{title}{detail}")

    return say


def _forward(data: Data) -> Told:
    said = words.FORWARDS.get(str(data.get("state", "")))
    message = f": {data['message']}" if data.get("message") else ""
    if said is None:
        return Told("over", f"{_name(data)}{message}")
    return Told(said.tone, f"{_name(data)}: {said.word.lower()}{message}")


def _changed(data: Data) -> Told:
    text = _DONE.get(str(data.get("change", "")), "was changed")
    return Told("good", f"{_name(data)} {text}")


def _refused(data: Data) -> Told:
    return Told("bad", f"{_name(data)} was not changed: {data.get('message', '')}")


def _asked(data: Data) -> Told:
    text = _ASKED.get(str(data.get("change", "")), "is to be changed")
    return Told("over", f"{_name(data)} {text}")


_DONE: Final = {
    "add_forward": "was added",
    "replace_forward": "has taken the place of another",
    "remove_forward": "was removed",
}

_ASKED: Final = {
    "add_forward": "is to be added",
    "replace_forward": "is to take the place of another",
    "remove_forward": "is to be removed",
}


def _slate(data: Data) -> Told:
    return Told(
        "warn", "The slate was put on the air" if data.get("now") else "The slate was taken off"
    )


_SAY: Final[dict[str, Callable[[Data], Told]]] = {
    "start_requested": lambda data: Told("over", "Started"),
    "stop_requested": lambda data: Told("over", "Stopping was asked for"),
    "state": _state,
    "alert_raised": _alert("bad", ""),
    "alert_cleared": _alert("good", "Over: "),
    "alert_acked": _alert("over", "Seen: "),
    "input": _input,
    "program": _program,
    "error": _error,
    "forward": _forward,
    "forward_requested": _asked,
    "forward_changed": _changed,
    "forward_refused": _refused,
    "slate_requested": _slate,
    "slate_refused": lambda data: Told(
        "bad", f"The slate could not be shown: {data.get('message')}"
    ),
    "worker_restart": lambda data: Told(
        "bad", f"The receiver died and is started again: {data.get('detail')}"
    ),
    "sender_started_again": lambda data: Told("good", "The sender was told to begin again"),
    "sender_refused": lambda data: Told("bad", f"The sender refused: {data.get('detail')}"),
    "sender_ended": lambda data: Told("warn", "The sender stopped sending"),
    "login": lambda data: Told("over", f"Logged in from {data.get('address') or 'here'}"),
    "login_failed": lambda data: Told(
        "warn", f"A login failed: {data.get('email')}, from {data.get('address') or 'here'}"
    ),
    "user_added": lambda data: Told("over", f"{data.get('email')} may log in"),
    "user_changed": lambda data: Told("over", f"{data.get('email')} was changed"),
    "user_removed": lambda data: Told("over", f"{data.get('email')} was removed"),
    "token_added": lambda data: Told("over", f"An API token was made: {data.get('name')}"),
    "token_deleted": lambda data: Told("over", f"An API token was deleted: {data.get('name')}"),
    "destination_added": lambda data: Told("over", f"Destination added: {data.get('name')}"),
    "destination_changed": lambda data: Told("over", f"Destination changed: {data.get('name')}"),
    "destination_removed": lambda data: Told("over", f"Destination removed: {data.get('name')}"),
    "destination_tested": lambda data: Told(
        "good" if data.get("ok") else "bad", f"A destination was tested: {data.get('message')}"
    ),
    "sender_online": lambda data: Told("good", "The sender has connected"),
    "sender_offline": lambda data: Told("warn", f"The sender is gone: {data.get('detail', '')}"),
    "sender_added": lambda data: Told("over", f"Sender added: {data.get('name')}"),
    "sender_removed": lambda data: Told("over", f"Sender removed: {data.get('name')}"),
    "sender_enrollment": lambda data: Told("over", f"A token was made for {data.get('name')}"),
    "sender_enrolled": lambda data: Told(
        "good",
        f"A box has come in: {data.get('hostname') or 'without a name'}, from "
        f"{data.get('address')}",
    ),
    "host_drain": lambda data: Told("warn", "The host takes no new broadcasts"),
    "host_undrain": lambda data: Told("good", "The host takes new broadcasts again"),
    "policy_set": lambda data: Told("over", "What is done when little arrives was changed"),
    "policy_slate": lambda data: Told(
        "warn" if data.get("now") else "good",
        f"Too little arrived ({data.get('kbps')} kb/s): the slate was put on the air"
        if data.get("now")
        else f"Enough arrives again ({data.get('kbps')} kb/s): the slate was taken off",
    ),
    "policy_overruled": lambda data: Told("over", "Somebody took the slate in their own hands"),
    "key_rotated": lambda data: Told("over", "The key of what is kept secret was changed"),
    "webhook_added": lambda data: Told("over", f"Webhook added: {data.get('url')}"),
    "webhook_deleted": lambda data: Told("over", f"Webhook deleted: {data.get('url')}"),
    "webhook_tested": lambda data: Told("over", "A webhook was tested"),
}
