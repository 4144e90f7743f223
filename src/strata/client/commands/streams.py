"""``strata streams``, ``strata start``, ``strata stop``."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from strata.client import complete
from strata.client.commands.common import Json, Watch, connected, field, found, found_id, say
from strata.client.pick import short
from strata.errors import BadArguments

if TYPE_CHECKING:
    from strata.client.api import Answer, Api

URL: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)

StreamId = Annotated[
    str, typer.Argument(help="a part of it is enough", autocompletion=complete.streams)
]


def streams(
    stream_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="all about that one", autocompletion=complete.streams),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="those, too, that ended days ago")
    ] = False,
    as_json: Json = False,
    watch: Watch = False,
) -> None:
    """What is on the air, and what is wrong with it."""
    from strata.client import screen, show

    if stream_id is None:
        screen.present(
            lambda api: api.get("/api/streams"),
            lambda rows, now: show.streams(rows, now, everything),
            as_json,
            watch,
        )
        return
    path = ""

    def read(api: Api) -> Answer:
        nonlocal path
        path = path or found(api, "streams", stream_id)
        return api.get(path)

    screen.present(read, show.stream, as_json, watch)


def start(
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="a URL, or the id or name of a destination; again for each; -: URLs, line by "
            "line, from standard input",
            autocompletion=complete.destinations,
        ),
    ] = None,
    sender: Annotated[
        str | None, typer.Option(help="id or name", autocompletion=complete.senders)
    ] = None,
    links: Annotated[int | None, typer.Option(min=1, help="ports, one per link")] = None,
    record: Annotated[bool, typer.Option("--record", help="into the media folder, too")] = False,
    name: Annotated[str | None, typer.Option(help="shown on the slate, too")] = None,
    slate: Annotated[
        str | None, typer.Option(help="on, off, or a file of the media folder")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start a stream. Without --sender it prints what any RIST encoder has to be told."""
    goals = [each for given in to or () for each in (_lines() if given == "-" else [given])]
    if not goals and not record:
        raise BadArguments("the stream would go nowhere; give --to URL, or --record")
    with connected() as api:
        body: dict[str, Any] = {
            "forward_to": [each for each in goals if URL.match(each)],
            "destinations": [
                found_id(api, "destinations", each) for each in goals if not URL.match(each)
            ],
            "sender_id": found_id(api, "senders", sender) if sender else None,
            "links": links,
            "record": record,
            "name": name,
            "slate": slate,
        }
        body = {key: value for key, value in body.items() if value not in (None, [], False)}
        answer = api.do("POST", "/api/streams", body)
    say(answer, as_json, *_told(answer, sender))


def stop(stream_id: StreamId, as_json: Json = False) -> None:
    """Stop a stream; answered when it has ended."""
    with connected() as api:
        answer = api.do("POST", f"{found(api, 'streams', stream_id, is_on=True)}/stop")
    say(
        answer,
        as_json,
        f"{field(answer, 'id')} {field(answer, 'state')}: {field(answer, 'detail') or 'stopped'}",
    )


def _told(answer: Answer, sender: str | None) -> list[str]:
    """What is to be done next."""
    id = str(field(answer, "id"))
    lines = [f"{id} is {field(answer, 'state')}; see: strata streams {short(id)} --watch"]
    if sender:
        return [*lines, f"{sender} has been told to send"]
    urls = field(answer, "receive_urls") or []
    return [
        *lines,
        "",
        *(f"send to  {url}" for url in urls),
        f"key      {field(answer, 'psk')}   (AES-256; shown this once)",
        "",
        "For example, with MPEG-TS on UDP port 5000 of the sender's machine:",
        str(field(answer, "sender_command")),
    ]


def _lines() -> list[str]:
    return [line.strip() for line in sys.stdin if line.strip()]
