"""From the box in the field to the platform, with every program there is: the picture is on the
air, and what the API says of it is true, whoever of them dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from strata.tasks import TaskGroup
from strata.up import STEADY_S
from support.broadcasts import KEY, is_live
from support.children import until
from support.control import Api, Json, Place, StrataUp, age_s, eventually, place
from support.media import decode_errors, probe
from support.nginx import Nginx
from support.sender import Sender

ENCODER: Final = {"bitrate_kbps": 1200, "keyint_max": 25}
LOOK_S: Final = 0.5
STALE_S: Final = 5.0
"""What is said to be on the air has reached the platform within so long: a few seconds pass before
anybody can know that it has not."""
SETTLED_S: Final = 3.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


class Truth:
    """Holds what the API says against what arrives at the platform."""

    def __init__(self, api: Api, nginx: Nginx, stream_id: str) -> None:
        self._api = api
        self._nginx = nginx
        self._id = stream_id
        self.lies: list[str] = []
        self.seen: list[tuple[str, bool]] = []

    async def look(self) -> None:
        loop = asyncio.get_running_loop()
        size, grown_at = 0, loop.time()
        while True:
            await asyncio.sleep(LOOK_S)
            now = sum(path.stat().st_size for path in self._nginx.recordings())
            if now > size:
                size, grown_at = now, loop.time()
            try:
                stream = await self._api.get(self._id)
            except Exception:  # the control plane is away
                continue
            if not stream["observed"]:
                continue
            self.seen.append((stream["state"], stream["on_air"]))
            stale_s = loop.time() - grown_at
            if stream["on_air"] and stale_s > STALE_S:
                self.lies.append(f"on the air, and nothing for {stale_s:.1f} s: {stream}")


@pytest.mark.timeout(400)
async def test_whoever_dies_the_picture_is_back(here: Place, tmp_path: Path) -> None:
    environment = {"STRATA_FORWARD__ALLOW_PRIVATE": "true"}
    box_folder = tmp_path / "box"
    box_folder.mkdir()
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        StrataUp(here, environment=environment) as up,
        await up.log_in() as api,
    ):
        box = Sender(box_folder, up.url)
        sender = (await api.http.post("/api/senders", json={"name": "Van"})).json()
        box.enroll(sender["enrollment_token"])
        watching = TaskGroup()
        try:

            async def is_online() -> bool:
                assert box.child.status is None, box.said()
                found: Json = (await api.http.get(f"/api/senders/{sender['id']}")).json()
                return bool(found["online"])

            await eventually(is_online, 30.0, "the box is online")
            started = await api.start(
                nginx.url(KEY),
                sender_id=sender["id"],
                source={"mode": "test"},
                encoder=ENCODER,
                slate="off",
            )
            assert started["psk"] is None
            id = started["id"]
            await api.until(id, is_live, "it is live")
            truth = Truth(api, nginx, id)
            watching.spawn("truth", truth.look())
            await asyncio.sleep(SETTLED_S)

            await box.kill()
            degraded = await api.until(id, lambda it: it["state"] == "degraded", "it is missed")
            box.start()
            await api.until(id, is_live, f"the picture is back: {degraded}")
            await asyncio.sleep(SETTLED_S)

            worker = here.worker_of(id)
            control = up.pid_of("control")
            assert control is not None
            await until(lambda: age_s(control) > STEADY_S + 0.5, 30.0, "control is not new")
            told = box.said().count("told to send")
            os.kill(control, signal.SIGKILL)
            await eventually(lambda: _is_another(up, control), 30.0, "control is started anew")
            await up.ready()
            await api.until(id, is_live, "it is live, and observed")
            await eventually(is_online, 60.0, "the box has dialled again")
            assert here.worker_of(id) == worker
            assert box.said().count("told to send") == told  # it went on by itself
            await asyncio.sleep(SETTLED_S)

            os.kill(worker, signal.SIGKILL)
            await api.until(id, lambda it: it["state"] == "degraded", "the death is seen")
            await api.until(id, is_live, "it is on the air again")
            await asyncio.sleep(SETTLED_S)

            stopped = await api.stop(id)
            assert (stopped["state"], stopped["reason"]) == ("ended", "user_stop")

            async def is_idle() -> bool:
                found: Json = (await api.http.get(f"/api/senders/{sender['id']}")).json()
                return found["stream_state"] is None

            await eventually(is_idle, 30.0, "the box has been told")
            assert truth.lies == []
            assert ("live", True) in truth.seen
            assert await box.end() == 0, box.said()
            assert "Traceback" not in box.said()
        finally:
            await watching.close()
            await box.child.__aexit__()
        for flv in await nginx.finished(2):  # one session until the worker died, and one after
            assert await decode_errors(flv) == ""
            assert (await probe(flv)).video_s > SETTLED_S - 1


async def _is_another(up: StrataUp, control: int) -> bool:
    return up.pid_of("control") not in (None, control)
