"""A broadcast from end to end by the field agent: whoever of the three is killed, the picture
comes back by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata import up as up_module
from support.broadcasts import is_live
from support.children import until
from support.control import Api, Json, Place, StrataUp, age_s, eventually, place
from support.sender import Sender

BACK_DEADLINE_S = 60.0


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


async def shown(api: Api, id: str) -> Json:
    answer = await api.http.get(f"/api/senders/{id}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def sends(api: Api, id: str, box: Sender) -> None:
    async def holds() -> bool:
        found = await shown(api, id)
        told = found["stream_state"]
        return bool(found["online"] and told is not None and told["state"] == "running")

    await eventually(holds, BACK_DEADLINE_S, f"it sends: {box.said()}")


@pytest.mark.timeout(300)
async def test_each_of_the_three_is_killed_once(here: Place, tmp_path: Path) -> None:
    async with StrataUp(here) as up, await up.log_in() as api:
        made = (await api.http.post("/api/senders", json={"name": "Van"})).json()
        box = Sender(tmp_path, up.url)
        box.enroll(made["enrollment_token"])
        try:

            async def is_here() -> bool:
                return bool((await shown(api, made["id"]))["online"])

            await eventually(is_here, BACK_DEADLINE_S, "it has logged in")
            stream = await api.start(record=True, sender_id=made["id"], source={"mode": "test"})
            await api.until(stream["id"], is_live, "the picture is on the air")
            await sends(api, made["id"], box)

            os.kill(here.worker_of(stream["id"]), signal.SIGKILL)
            await api.until(stream["id"], lambda it: not is_live(it), "the worker's death is seen")
            await api.until(stream["id"], is_live, "the picture is back after the worker's death")

            await box.kill()
            await api.until(stream["id"], lambda it: not is_live(it), "the agent's death is seen")
            box.start()
            await sends(api, made["id"], box)
            await api.until(stream["id"], is_live, "the picture is back after the agent's death")

            pid = up.pid_of("control")
            assert pid is not None
            await until(lambda: age_s(pid) > up_module.STEADY_S + 0.5, 30.0, "it has run for long")
            worker, began = here.worker_of(stream["id"]), box.said().count("told to send")
            os.kill(pid, signal.SIGKILL)
            await until(
                lambda: up.pid_of("control") not in (None, pid), BACK_DEADLINE_S, "it is back"
            )
            await up.ready()
            await sends(api, made["id"], box)
            await api.until(stream["id"], is_live, "the picture has stayed")
            assert here.worker_of(stream["id"]) == worker
            assert box.said().count("told to send") == began  # it went on by itself

            stopped = await api.stop(stream["id"])
            assert stopped["reason"] == "user_stop"

            async def has_stopped() -> bool:
                return (await shown(api, made["id"]))["stream_state"] is None

            await eventually(has_stopped, BACK_DEADLINE_S, "it has stopped")
            await asyncio.wait_for(box.end(), BACK_DEADLINE_S)
            assert "Traceback" not in box.said()
        finally:
            await box.child.end()
