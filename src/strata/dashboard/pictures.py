"""Pictures and previews of what is on the air, for who is logged in to the pages."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from strata.control.api.hls import PLAYLIST_TYPE
from strata.dashboard import seat as seats
from strata.errors import StrataError

KEPT: Final = {"Cache-Control": "no-store"}


async def picture(request: Request) -> Response:
    """A few seconds old at most; 204 while there is nothing."""
    seat = seats.of(request)
    try:
        found = await seat.platform.orders.picture(seat.user, request.path_params["stream_id"])
    except StrataError:  # the page shows that there is none; why, the wall says in words
        return Response(status_code=204, headers=KEPT)
    return Response(found.jpeg, headers=KEPT, media_type="image/jpeg")


async def playlist(request: Request) -> Response:
    """The preview of a stream, for a player in the page. Its segments carry tickets of their own,
    as they do for who asks the API; there they are fetched."""
    seat, id = seats.of(request), request.path_params["stream_id"]
    try:
        await seat.platform.streams.own(seat.user, id)
        text = await seat.platform.previews.playlist(id)
    except StrataError:
        return Response(status_code=404, headers=KEPT)
    return Response(placed(text, f"/hls/{id}/"), headers=KEPT, media_type=PLAYLIST_TYPE)


def placed(playlist: str, folder: str) -> str:
    """The playlist with each segment by its whole path."""
    lines = playlist.splitlines(keepends=True)
    return "".join(f"{folder}{line}" if line.strip() and line[0] != "#" else line for line in lines)
