"""Pictures of what is on the air, for who is logged in to the pages."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from strata.dashboard import seat as seats
from strata.errors import StrataError


async def picture(request: Request) -> Response:
    """A few seconds old at most; 204 while there is nothing."""
    seat = seats.of(request)
    kept = {"Cache-Control": "no-store"}
    try:
        found = await seat.platform.orders.picture(seat.user, request.path_params["stream_id"])
    except StrataError:  # the page shows that there is none; why, the wall says in words
        return Response(status_code=204, headers=kept)
    return Response(found.jpeg, headers=kept, media_type="image/jpeg")
