"""Tables of what a platform answers. Pure: the time is an argument.

Every field is looked for, none is relied on: the platform may be of another version. What is
missing is a dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from strata.client.pick import OVER, short
from strata.client.text import plain

Row: TypeAlias = Mapping[str, Any]
Cell: TypeAlias = Callable[[Row, datetime], Text]

STYLES: Final = {
    **{"live": "green", "up": "green", "on air": "green", "yes": "green"},
    **{"degraded": "yellow", "retrying": "yellow", "silent": "yellow", "draining": "yellow"},
    **{"failed": "bold red", "down": "bold red", "no": "bold red"},
    **{"starting": "cyan", "waiting": "cyan", "stopping": "cyan", "connecting": "cyan"},
    **{"ended": "dim", "stopped": "dim"},
}
NONE: Final = Text("-", "dim")
OVER_SHOWN_S: Final = 24 * 3600.0
"""For so long what is over is shown: yesterday's failure may still be news."""
EVENTS_SHOWN: Final = 12


# Cells.


def text(name: str, *others: str) -> Cell:
    """The first of these fields that the row has."""

    def cell(row: Row, now: datetime) -> Text:
        return word(first(row, name, *others))

    return cell


def identity(name: str = "id") -> Cell:
    def cell(row: Row, now: datetime) -> Text:
        value = row.get(name)
        return Text(short(plain(value))) if isinstance(value, str) else NONE

    return cell


def age(name: str, *others: str) -> Cell:
    """How long ago that was."""

    def cell(row: Row, now: datetime) -> Text:
        moment = parsed(first(row, name, *others))
        return Text(duration((now - moment).total_seconds())) if moment else NONE

    return cell


def share(used: str, whole: str) -> Cell:
    """``1.2 of 4``."""

    def cell(row: Row, now: datetime) -> Text:
        if row.get(used) is None:
            return NONE
        return Text(f"{number(row[used])} of {number(row.get(whole))}")

    return cell


def working(name: str, good: str) -> Cell:
    """How many of a list are in a good state: ``1/2``."""

    def cell(row: Row, now: datetime) -> Text:
        parts = [each for each in row.get(name) or () if isinstance(each, Mapping)]
        if not parts or row.get("observed") is False:
            return NONE
        count = sum(each.get("state") == good for each in parts)
        return Text(f"{count}/{len(parts)}", "green" if count == len(parts) else "yellow")

    return cell


def stream_state(row: Row, now: datetime) -> Text:
    """The state; one that nobody can see now is told to be that."""
    state = word(row.get("state"))
    if row.get("observed") is False:
        return Text(f"{state.plain}? (not observed)", "yellow")
    return state


def on_air(row: Row, now: datetime) -> Text:
    if row.get("state") in OVER:
        return NONE
    if row.get("observed") is False:
        return Text("unknown", "yellow")
    if row.get("on_air"):
        return Text("on air", "green")
    return Text("no", "bold red" if row.get("state") in ("live", "degraded") else "")


def stream_detail(row: Row, now: datetime) -> Text:
    """Why it is as it is: what is wrong now, or how it ended."""
    alarms = [each.get("detail") for each in row.get("alarms") or () if isinstance(each, Mapping)]
    told = [plain(each) for each in (*alarms, row.get("detail")) if isinstance(each, str) and each]
    return Text("; ".join(told) or plain(str(row.get("reason") or "")))


def rate(row: Row, now: datetime) -> Text:
    stats = row.get("stats")
    value = stats.get("bitrate_in_kbps") if isinstance(stats, Mapping) else None
    return NONE if value is None or row.get("observed") is False else Text(number(value))


def event_data(row: Row, now: datetime) -> Text:
    data = row.get("data")
    pairs = data.items() if isinstance(data, Mapping) else ()
    return Text(plain(" ".join(f"{name}={value}" for name, value in pairs if value is not None)))


def moment(name: str) -> Cell:
    def cell(row: Row, now: datetime) -> Text:
        found = parsed(row.get(name))
        return Text(f"{found:%Y-%m-%d %H:%M:%S}Z") if found else NONE

    return cell


Columns: TypeAlias = Sequence[tuple[str, Cell]]

STREAMS: Final[Columns] = (
    ("ID", identity()),
    ("NAME", text("name")),
    ("STATE", stream_state),
    ("ON AIR", on_air),
    ("KBPS IN", rate),
    ("LINKS", working("links", "up")),
    ("FORWARDS", working("forwards", "live")),
    ("AGE", age("created_at")),
    ("DETAIL", stream_detail),
)
FORWARDS: Final[Columns] = (
    ("FORWARD", text("forward")),
    ("KIND", text("kind")),
    ("STATE", text("state")),
    ("TO", text("url")),
    ("DETAIL", text("message")),
)
LINKS: Final[Columns] = (
    ("PORT", text("port")),
    ("STATE", text("state")),
    ("PEER", text("peer")),
    ("KBPS", text("bitrate_kbps")),
    ("SHARE %", text("share_percent")),
    ("RTT MS", text("rtt_ms")),
    ("LAST PACKET S", text("last_packet_age_s")),
)
SENDERS: Final[Columns] = (
    ("ID", identity()),
    ("NAME", text("name")),
    ("STATE", text("state", "stream_state")),
    ("CONNECTED", text("connected", "online", "is_connected", "is_online")),
    ("MACHINE", text("hostname")),
    ("VERSION", text("agent_version")),
    ("SEEN", age("seen_at", "last_seen_at")),
    ("ENROLLED", age("enrolled_at")),
)
DESTINATIONS: Final[Columns] = (
    ("ID", identity()),
    ("NAME", text("name")),
    ("KIND", text("kind")),
    ("TO", text("url")),
    ("AGE", age("created_at")),
)
HOSTS: Final[Columns] = (
    ("ID", text("id")),
    ("CONNECTED", text("connected")),
    ("DRAINING", text("draining", "is_draining")),
    ("STREAMS", text("streams")),
    ("PORTS FREE", text("free_ports")),
    ("CORES", share("used_cpu_cores", "cpu_cores")),
    ("MEMORY MB", share("used_memory_mb", "memory_mb")),
    ("OUT KBPS", share("used_egress_kbps", "egress_kbps")),
    ("DISK MB FREE", text("free_disk_mb")),
    ("WARNINGS", text("warnings")),
)
ALERTS: Final[Columns] = (
    ("ID", identity()),
    ("SINCE", age("raised_at", "created_at", "at")),
    ("OF", identity("subject")),
    ("KIND", text("kind")),
    ("DETAIL", text("detail")),
    ("SEEN BY", text("acked_by")),
    ("OVER", age("cleared_at")),
)
EVENTS: Final[Columns] = (
    ("AT", moment("at")),
    ("TYPE", text("type")),
    ("OF", identity("subject")),
    ("BY", identity("user_id")),
    ("WHAT", event_data),
)
USERS: Final[Columns] = (
    ("ID", identity()),
    ("E-MAIL", text("email")),
    ("ROLE", text("role")),
    ("DISABLED", text("is_disabled")),
    ("SEES", text("sees")),
    ("AGE", age("created_at")),
)
TOKENS: Final[Columns] = (
    ("ID", identity()),
    ("NAME", text("name")),
    ("AGE", age("created_at")),
    ("USED", age("used_at")),
    ("EXPIRES", moment("expires_at")),
)


# Whole answers.


def table(columns: Columns, rows: object, now: datetime, none: str = "") -> RenderableType:
    """Rows of an answer; columns that none of them has are left out.

    Args:
        none: said where there are no rows.
    """
    listed = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    if not listed:
        return Text(none, "dim")
    cells = [[cell(row, now) for _, cell in columns] for row in listed]
    kept = [at for at in range(len(columns)) if at == 0 or any(row[at] != NONE for row in cells)]
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for at in kept:
        last = at == kept[-1]
        drawn.add_column(columns[at][0], no_wrap=not last, overflow="fold" if last else "ellipsis")
    for row in cells:
        drawn.add_row(*(row[at] for at in kept))
    return drawn


def streams(rows: object, now: datetime, everything: bool = False) -> RenderableType:
    """What runs, and what ended lately; how many others there are is said."""
    listed = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    shown = [row for row in listed if everything or _is_news(row, now)]
    hidden = len(listed) - len(shown)
    parts = [table(STREAMS, shown, now, "no stream runs, and none has ended in the last day")]
    if hidden:
        parts.append(Text(f"{hidden} that ended earlier: --all", "dim"))
    return Group(*parts)


def stream(row: object, now: datetime) -> RenderableType:
    """All about one stream."""
    if not isinstance(row, Mapping):
        return Text("")
    grid = Table.grid(padding=(0, 2, 0, 0))
    for label, cell in (
        ("id", Text(plain(str(row.get("id"))))),
        ("name", word(row.get("name"))),
        ("state", stream_state(row, now)),
        ("on air", on_air(row, now)),
        ("detail", stream_detail(row, now)),
        ("host", word(row.get("host"))),
        ("receives on", word(row.get("receive_urls"))),
        ("shows", pairs(row.get("program"))),
        ("video", pairs(_part(row.get("media"), "video"))),
        ("audio", pairs(_part(row.get("media"), "audio"))),
        ("began", moment("created_at")(row, now)),
        ("ended", moment("ended_at")(row, now)),
    ):
        if cell.plain not in ("", "-"):
            grid.add_row(Text(label, "bold"), cell)
    parts: list[RenderableType] = [grid]
    events = row.get("events")
    for title, columns, found in (
        ("Links", LINKS, row.get("links")),
        ("Forwards", FORWARDS, row.get("forwards")),
        ("Lately", EVENTS, events[-EVENTS_SHOWN:] if isinstance(events, list) else None),
    ):
        if found:
            old = " (as last told)" if row.get("observed") is False and title != "Lately" else ""
            parts += [Text(""), Text(title + old, "bold"), table(columns, found, now)]
    return Group(*parts)


def alerts(rows: object, now: datetime, everything: bool = False) -> RenderableType:
    """What is wrong now; with ``everything`` what is over, too."""
    listed = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    shown = [row for row in listed if everything or not row.get("cleared_at")]
    return table(ALERTS, shown, now, "nothing is wrong, as far as the platform can see")


def event_line(row: Row, now: datetime) -> Text:
    """One event that has just happened."""
    return Text("  ").join(cell for _, column in EVENTS if (cell := column(row, now)) != NONE)


def facts(value: object) -> RenderableType:
    """Whatever it is, a line for each field."""
    drawn = Table.grid(padding=(0, 2, 0, 0))
    for name, each in value.items() if isinstance(value, Mapping) else ():
        cell = pairs(each) if isinstance(each, Mapping) else word(each)
        drawn.add_row(Text(plain(str(name)), "bold"), cell)
    return drawn


# Values.


def word(value: object) -> Text:
    """A value as a person reads it, in the colour of its state."""
    if value is None or value in ("", []):
        return NONE
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int | float):
        return Text(number(value))
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return Text(", ".join(plain(str(each)) for each in value))
    shown = plain(str(value))
    return Text(shown, STYLES.get(shown, ""))


def pairs(value: object) -> Text:
    if not isinstance(value, Mapping):
        return NONE
    return Text(", ".join(f"{plain(str(k))} {word(v).plain}" for k, v in value.items()))


def number(value: object) -> str:
    if not isinstance(value, int | float):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}"


def duration(seconds: float) -> str:
    """``4s``, ``12m``, ``3h``, ``5d``: the largest whole unit."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or (unit == "m" and seconds >= 60):
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def parsed(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def first(row: Row, *names: str) -> object:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _part(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _is_news(row: Row, now: datetime) -> bool:
    if row.get("state") not in OVER:
        return True
    ended = parsed(row.get("ended_at"))
    return ended is None or (now - ended).total_seconds() < OVER_SHOWN_S
