"""Either half of the platform dies, or both are told to end, while a stream runs."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterator
from typing import Literal

import pytest

from strata import up as up_module
from support.children import until
from support.control import Json, StrataUp, age_s, eventually, place
from support.ports import udp_port_is_bound

AGAIN_DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def running() -> Iterator[StrataUp]:
    with place() as here:
        one = StrataUp(here, ports=32)
        try:
            asyncio.run(one.ready())
            yield one
        finally:
            asyncio.run(one.__aexit__())


async def kill(running: StrataUp, half: Literal["host", "control"]) -> int:
    """Kills that half once it has run for long enough to be started again."""
    pid = running.pid_of(half)
    assert pid is not None
    await until(lambda: age_s(pid) > up_module.STEADY_S + 0.5, 30.0, f"{half} has run for long")
    os.kill(pid, signal.SIGKILL)
    return pid


async def is_back(running: StrataUp, half: Literal["host", "control"], old: int) -> None:
    await until(
        lambda: running.pid_of(half) not in (None, old), AGAIN_DEADLINE_S, f"{half} is back"
    )
    await running.ready()


async def test_control_is_killed_and_the_streams_go_on(running: StrataUp) -> None:
    async with await running.log_in() as api:
        started = await api.start(record=True, name="Derby")
        [worker] = running.place.workers()
        unlucky = await api.start(record=True)
        [other] = set(running.place.workers()) - {worker}
        old = await kill(running, "control")
        os.kill(other, signal.SIGKILL)  # while nobody is there to hear of it
        await is_back(running, "control", old)
        assert worker in running.place.workers()
        # Whoever was logged in still is.
        stream = await api.until(
            started["id"], lambda stream: stream["stats"], "what runs is observed again"
        )
        assert (stream["state"], stream["name"]) == ("waiting", "Derby")
        assert stream["ports"] == started["ports"]
        assert stream["reason"] is None
        again = await api.until(
            unlucky["id"], lambda stream: stream["stats"], "the one that died runs again"
        )
        assert again["reason"] is None
        assert (await api.stop(unlucky["id"]))["reason"] == "user_stop"
        stopped = await api.stop(started["id"])
        assert (stopped["state"], stopped["reason"]) == ("ended", "user_stop")
        assert stopped["detail"] == "stopped on request"
        assert running.place.workers() == []


async def test_the_host_is_killed_and_its_successor_adopts_what_it_ran(running: StrataUp) -> None:
    async with await running.log_in() as api:
        started = await api.start(record=True)
        [worker] = running.place.workers()
        old = await kill(running, "host")

        async def is_not_ready() -> bool:
            return await running.readiness() == 503

        await eventually(is_not_ready, AGAIN_DEADLINE_S, "the loss is told")
        unseen = await api.get(started["id"])
        assert unseen["state"] == "waiting"
        refused = await api.http.post("/api/streams", json={"record": True})
        if refused.status_code != 201:  # else it was back already
            assert refused.status_code == 503
            assert refused.json()["code"] == "host_unreachable"
            assert not unseen["observed"]
        await is_back(running, "host", old)
        stream = await api.until(
            started["id"], lambda stream: stream["observed"] and stream["stats"], "it is seen"
        )
        assert (stream["state"], stream["reason"]) == ("waiting", None)
        assert worker in running.place.workers()
        # The successor has been told the secrets: it can do what the first could.
        os.kill(worker, signal.SIGKILL)
        await until(
            lambda: running.place.workers() not in ([], [worker]), AGAIN_DEADLINE_S, "the next one"
        )
        stream = await api.until(
            started["id"],
            lambda stream: any(each["type"] == "worker_restart" for each in stream["events"]),
            "the death is told",
        )
        assert stream["ports"] == started["ports"]
        assert stream["state"] in ("waiting", "degraded")
        stopped = await api.stop(started["id"])
        assert (stopped["state"], stopped["reason"]) == ("ended", "user_stop")
        await until(
            lambda: not any(udp_port_is_bound(port) for port in started["ports"]),
            AGAIN_DEADLINE_S,
            "nothing is left",
        )


def is_over(stream: Json) -> bool:
    return stream["state"] in ("ended", "failed")


async def test_a_signal_ends_everything_and_is_written_down() -> None:
    with place() as here:
        async with StrataUp(here) as one:
            async with await one.log_in() as api:
                streams = [await api.start(record=True, name="Derby") for _ in range(2)]
            assert len(here.workers()) == 2
            assert await one.stop(signal.SIGTERM) == 0
            assert not here.processes()
            assert not here.sockets()
            ports = [port for stream in streams for port in stream["ports"]]
            assert not [port for port in ports if udp_port_is_bound(port)]
            assert "Traceback" not in one.said()
        connection = sqlite3.connect(here.data / "strata.db")
        rows = connection.execute("SELECT state, reason, detail FROM streams").fetchall()
        connection.close()
        assert rows == [("ended", "user_stop", "stopped on request")] * 2
        # What was is there after a new start.
        async with StrataUp(here) as again, await again.log_in() as api:
            for started in streams:
                stream = await api.get(started["id"])
                assert (stream["name"], stream["state"]) == ("Derby", "ended")
                steps = [each["data"]["to"] for each in stream["events"] if each["type"] == "state"]
                assert steps == ["waiting", "ended"]


async def test_a_terminal_that_is_closed_leaves_the_streams_on_the_air() -> None:
    with place() as here:
        async with StrataUp(here) as one:
            async with await one.log_in() as api:
                started = await api.start(record=True, name="Derby")
            [worker] = here.workers()
            assert await one.stop(signal.SIGHUP) == 0
            assert list(here.processes()) == [worker]
            async with StrataUp(here) as two, await two.log_in() as api:
                stream = await api.until(
                    started["id"], lambda stream: stream["stats"], "it is adopted"
                )
                assert (stream["state"], stream["ports"]) == ("waiting", started["ports"])
                assert here.workers() == [worker]
                assert (await api.stop(started["id"]))["detail"] == "stopped on request"


async def test_up_is_killed_and_started_anew_at_once() -> None:
    with place() as here:
        async with StrataUp(here) as one:
            async with await one.log_in() as api:
                started = await api.start(record=True)
            [worker] = here.workers()
            os.kill(one.child.pid, signal.SIGKILL)
            async with StrataUp(here, port=one.port) as two, await two.log_in() as api:
                stream = await api.until(
                    started["id"], lambda stream: stream["stats"], "it is adopted"
                )
                assert (stream["state"], stream["reason"]) == ("waiting", None)
                assert here.workers() == [worker]
