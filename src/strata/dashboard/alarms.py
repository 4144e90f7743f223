"""Alerts as the pages tell them. Pure."""

from __future__ import annotations

from typing import Any, Final

from strata.control import tables
from strata.control.troubles import Key
from strata.dashboard import words
from strata.dashboard.rows import millis
from strata.dashboard.words import NAMELESS, Names

HOST: Final = "The host"


def told(alert: tables.Alert, name: str, names: Names = NAMELESS) -> dict[str, Any]:
    """One alert.

    Args:
        name: of the stream that it is about; empty where that is not known.
        names: what people know its parts by.
    """
    kind = words.kind_of(alert.kind)
    is_stream = alert.subject.startswith("str_")
    return {
        "id": alert.id,
        "subject": alert.subject if is_stream else None,
        "name": name or ("A broadcast" if is_stream else HOST),
        "title": words.title(Key(alert.kind, alert.forward, alert.port), names),
        "detail": alert.detail,
        "means": kind.means,
        "do": kind.do,
        "grave": kind.grave,
        "raised": millis(alert.raised_at),
        "cleared": millis(alert.cleared_at),
        "acked": millis(alert.acked_at),
    }
