"""Previews of streams, as HLS, for whoever may see the stream."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from fastapi.security import HTTPAuthorizationCredentials
from starlette.exceptions import HTTPException

from strata.control.api.access import At, bearer
from strata.errors import NotAllowed

router = APIRouter(prefix="/hls/{stream_id}", tags=["previews"])

PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
SEGMENT_TYPE: Final = "video/mp2t"
NO_STORE: Final = {"Cache-Control": "no-store"}

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
TokenQuery = Annotated[
    str | None, Query(max_length=200, description="a token, for players that send no header")
]
TicketQuery = Annotated[
    str | None, Query(max_length=200, description="from the playlist, which brings it along")
]


def _content(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": description, "content": {media_type: {"schema": schema}}}}


@router.get(
    "/index.m3u8",
    response_class=Response,
    responses=_content(PLAYLIST_TYPE, "the playlist"),
)
async def playlist(
    at: At, stream_id: str, credentials: Credentials, token: TokenQuery = None
) -> Response:
    """A login's or an API token as header or query. Its segments carry tickets of their own:
    for this stream alone, and for ten minutes."""
    await _check(at, stream_id, credentials, token)
    text = await at.previews.playlist(stream_id)
    return Response(text, headers=NO_STORE, media_type=PLAYLIST_TYPE)


@router.get(
    "/{segment}", response_class=Response, responses=_content(SEGMENT_TYPE, "MPEG-TS, some seconds")
)
async def segment(
    at: At,
    stream_id: str,
    segment: str,
    credentials: Credentials,
    token: TokenQuery = None,
    ticket: TicketQuery = None,
) -> Response:
    """As the playlist names it."""
    if ticket is None:
        await _check(at, stream_id, credentials, token)
    else:
        try:
            at.previews.check(stream_id, ticket)
        except NotAllowed as error:
            raise HTTPException(401, error.message) from None
    data = await at.previews.segment(stream_id, segment)
    return Response(data, headers=NO_STORE, media_type=SEGMENT_TYPE)


async def _check(
    at: At, stream_id: str, credentials: HTTPAuthorizationCredentials | None, token: str | None
) -> None:
    """That the caller may see the stream."""
    given = credentials.credentials if credentials is not None else token
    if given is None:
        raise HTTPException(401, "log in first, and give the token as header or as ?token=")
    try:
        caller = await at.logins.user_of(given)
    except NotAllowed as error:
        raise HTTPException(401, error.message) from None
    await at.streams.own(caller, stream_id)
