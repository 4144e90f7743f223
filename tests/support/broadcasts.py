"""Streams on the air, from the sender to the platform's recording."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

from support.control import Api, Json
from support.media import FPS, RistSender, decode_errors, probe
from support.nginx import Nginx

KEY: Final = "canary-stream-key"
SETTLED_S: Final = 3.0


def is_live(stream: Json) -> bool:
    return stream["state"] == "live" and stream["on_air"] and stream["observed"]


class Broadcasts:
    """Streams on the air, each with a sender and a recording at the platform."""

    def __init__(self, folder: Path, nginx: Nginx) -> None:
        self._folder = folder
        self._nginx = nginx
        self._senders = AsyncExitStack()
        self.ids: list[str] = []
        self.senders: list[RistSender] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._senders.aclose()

    async def begin(self, api: Api, file: Path, seconds: float, slate: str = "off") -> Json:
        """One more, with its key."""
        number = len(self.ids)
        started = await api.start(self._nginx.url(f"{KEY}-{number}"), slate=slate)
        sender = RistSender(self._folder / f"sender-{number}", started["ports"], started["psk"])
        self.senders.append(await self._senders.enter_async_context(sender))
        self.ids.append(started["id"])
        await sender.begin(file, seconds)
        return started

    async def all_live(self, api: Api) -> None:
        for id in self.ids:
            await api.until(id, is_live, f"{id} is live, and observed to be")


async def is_whole(flv: Path, at_least_s: float) -> None:
    """Not one picture is missing in it, from the first to the last."""
    assert await decode_errors(flv) == ""
    found = await probe(flv)
    assert found.longest_step_s < 1.5 / FPS
    assert len(found.of("video")) == round(found.video_s * FPS)
    assert found.video_s > at_least_s
