"""Previews of streams, as HLS, for whoever may see the stream."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from fastapi.security import HTTPAuthorizationCredentials
from starlette.exceptions import HTTPException

from strata.control.api import access
from strata.control.api.access import At, Watcher, bearer
from strata.errors import NotAllowed

router = APIRouter(prefix="/hls/{stream_id}", tags=["previews"])

PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
SEGMENT_TYPE: Final = "video/mp2t"
NO_STORE: Final = {"Cache-Control": "no-store"}

TicketQuery = Annotated[
    str | None, Query(max_length=200, description="from the playlist, which brings it along")
]


def _content(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": description, "content": {media_type: {"schema": schema}}}}


async def _bearer_of_ticket(
    at: At,
    stream_id: str,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    token: Annotated[str | None, Query(max_length=200)] = None,
    ticket: TicketQuery = None,
) -> None:
    """Who has a ticket need not be known."""
    if ticket is None:
        await at.streams.own(await access.watcher(at, credentials, token), stream_id)
        return
    try:
        at.previews.check(stream_id, ticket)
    except NotAllowed as error:
        raise HTTPException(401, error.message) from None


@router.get(
    "/index.m3u8",
    response_class=Response,
    responses=_content(PLAYLIST_TYPE, "the playlist"),
)
async def playlist(at: At, caller: Watcher, stream_id: str) -> Response:
    """A login's or an API token as header or query. Its segments carry tickets of their own:
    for this stream alone, and for ten minutes."""
    await at.streams.own(caller, stream_id)
    text = await at.previews.playlist(stream_id)
    return Response(text, headers=NO_STORE, media_type=PLAYLIST_TYPE)


@router.get(
    "/{segment}",
    response_class=Response,
    responses=_content(SEGMENT_TYPE, "MPEG-TS, some seconds"),
    dependencies=[Depends(_bearer_of_ticket)],
)
async def segment(at: At, stream_id: str, segment: str) -> Response:
    """As the playlist names it."""
    data = await at.previews.segment(stream_id, segment)
    return Response(data, headers=NO_STORE, media_type=SEGMENT_TYPE)
