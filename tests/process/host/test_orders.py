"""Forwards and settings that are changed while real workers run, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from strata.errors import BadUrl, Conflict, NotFound
from strata.wire import host as wire
from support.control import Place
from support.hosts import DEADLINE_S, PSK, Stage, nowhere, stage
from support.worker import ControlClient


async def changed(one: Stage, order: wire.Order) -> wire.Changed:
    reply = await one.client.request(order)
    assert isinstance(reply, wire.Changed)
    return reply


async def snapshot(one: Stage) -> wire.Snapshot:
    [found] = (await one.list()).streams
    return found


async def killed(one: Stage) -> int:
    """Kills the worker; returns the next one once it runs."""
    old = (await snapshot(one)).pid
    os.kill(old, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_S):
        while (now := (await snapshot(one)).pid) in (0, old):
            await asyncio.sleep(0.02)
    return now


async def forwards_of(here: Place, stream_id: str) -> dict[str, str]:
    """What the worker itself tells, to whoever connects."""
    async with await ControlClient.connect(here.run / f"{stream_id}.sock") as client:
        await client.event("ready")
        client.send({"cmd": "stats", "id": "last"})
        answer = await client.event("stats", id="last")
        said = [each for each in client.events if each["event"] == "forward"]
        told = {each["forward"]: each["url"] for each in said}
        assert list(told) == [each["forward"] for each in answer["forwards"]]
        return told


def shown(url: str) -> str:
    return url.replace("canary-stream-key", "****")


async def test_the_next_worker_has_the_forwards_as_they_were_left(here: Place) -> None:
    a, b, c, d = nowhere(), nowhere(), nowhere(), nowhere()
    async with stage(here) as one:
        stream_id, _ = await one.start(a, b)
        assert await changed(one, wire.AddForward(stream_id, c)) == wire.Changed("fwd_3")
        await changed(one, wire.RemoveForward(stream_id, "fwd_2"))
        replaced = await changed(one, wire.ReplaceForward(stream_id, "fwd_1", d))
        assert replaced.forward == "fwd_1"
        left = {"fwd_1": shown(d), "fwd_3": shown(c)}
        assert await forwards_of(here, stream_id) == left
        pid = await killed(one)
        assert await forwards_of(here, stream_id) == left
        assert (await snapshot(one)).forward_ids == ["fwd_1", "fwd_3"]
        await changed(one, wire.RemoveForward(stream_id, "fwd_3"))
        assert await killed(one) != pid
        # An id never means another forward.
        assert await changed(one, wire.AddForward(stream_id, b)) == wire.Changed("fwd_4")
        assert await forwards_of(here, stream_id) == {"fwd_1": shown(d), "fwd_4": shown(b)}
        await one.stop(stream_id)
        assert one.nothing_is_left()
        log = (one.settings.log_dir / f"{stream_id}.log").read_text()
        assert "canary" not in log
        assert "canary" not in repr(one.notices)


async def test_the_next_host_hands_them_on_once_they_are_entrusted(here: Place) -> None:
    a, b, c = nowhere(), nowhere(), nowhere()
    async with stage(here) as one:
        stream_id, _ = await one.start(a, b)
        await changed(one, wire.RemoveForward(stream_id, "fwd_1"))
        await changed(one, wire.AddForward(stream_id, c))
        record = (one.settings.data_dir / "workers" / f"{stream_id}.json").read_text()
        assert "canary" not in record
        await one.replace_host()
        found = await snapshot(one)
        assert (found.needs_secrets, found.forward_ids) == (True, ["fwd_2", "fwd_3"])
        # One that control believes to be there, although it was removed, does not come back.
        entrusted = wire.Entrust(stream_id, PSK, [a, b, c], ["fwd_1", "fwd_2", "fwd_3"])
        assert await one.client.request(entrusted) == wire.Done()
        await killed(one)
        left = {"fwd_2": shown(b), "fwd_3": shown(c)}
        assert await forwards_of(here, stream_id) == left
        assert await changed(one, wire.AddForward(stream_id, a)) == wire.Changed("fwd_4")
        await one.stop(stream_id)
        assert one.nothing_is_left()


async def test_a_stream_that_begins_without_forwards_is_given_one(here: Place) -> None:
    async with stage(here) as one:
        stream_id, _ = await one.start()
        assert await changed(one, wire.AddForward(stream_id, nowhere())) == wire.Changed("fwd_1")
        await killed(one)
        assert list(await forwards_of(here, stream_id)) == ["fwd_1"]


async def test_what_cannot_be_changes_nothing(here: Place) -> None:
    a = nowhere()
    async with stage(here) as one:
        stream_id, _ = await one.start(a)
        with pytest.raises(Conflict, match=r"fwd_1 leads to .* already"):
            await changed(one, wire.AddForward(stream_id, a))
        with pytest.raises(NotFound, match="there is no forward 'fwd_9'"):
            await changed(one, wire.ReplaceForward(stream_id, "fwd_9", nowhere()))
        with pytest.raises(BadUrl):
            await changed(one, wire.ReplaceForward(stream_id, "fwd_1", "gopher://x/canary"))
        assert await forwards_of(here, stream_id) == {"fwd_1": shown(a)}
        assert (await snapshot(one)).forward_ids == ["fwd_1"]


async def test_settings_are_those_of_the_next_worker_too(here: Place) -> None:
    async with stage(here) as one:
        stream_id, started = await one.start(nowhere())
        order = wire.Configure(stream_id, slate="off", max_egress_kbps=7000, keep_damaged=True)
        assert await one.client.request(order) == wire.Done()
        await one.replace_host()
        found = await snapshot(one)
        assert (found.slate, found.max_egress_kbps, found.keep_damaged) == ("off", 7000, True)
        assert found.pid == started.pid
        await one.client.request(wire.Entrust(stream_id, PSK, [nowhere()], ["fwd_1"]))
        pid = await killed(one)
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        assert {"--slate=off", "--keep-damaged"} <= set(line)
        assert line[line.index("--max-egress-kbps") + 1] == "7000"
