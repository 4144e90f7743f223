"""Pictures and test pushes of a host with real workers: what is refused, and what is left."""

from __future__ import annotations

import asyncio
import socket

import pytest

from strata.errors import BadUrl, HostUnreachable, NoCapacity, NoPicture, NotFound
from strata.wire import host as wire
from support.children import until
from support.control import Place
from support.hosts import Stage, needs_groups, nowhere, stage

KEY = "canary-stream-key"


def trials(one: Stage) -> list[int]:
    """The processes of test pushes; those of this host run in groups that have its name."""
    return [
        int(pid)
        for group in one.groups()
        if group.name.startswith("test_")
        for pid in (group / "cgroup.procs").read_text().split()
    ]


async def push(one: Stage, url: str, seconds: float = 10.0) -> wire.Tested:
    reply = await one.client.request(wire.TestPush(url, seconds))
    assert isinstance(reply, wire.Tested)
    return reply


async def test_without_media_there_is_no_picture(here: Place) -> None:
    async with stage(here) as one:
        with pytest.raises(NotFound):
            await one.client.request(wire.Thumbnail("str_1"))
        stream_id, _ = await one.start(nowhere())
        for _ in range(2):
            with pytest.raises(NoPicture, match="no picture is on the air"):
                await one.client.request(wire.Thumbnail(stream_id))
        await one.stop(stream_id)
        with pytest.raises(NotFound):
            await one.client.request(wire.Thumbnail(stream_id))
        assert one.nothing_is_left()


async def test_a_push_to_nowhere_is_told_and_leaves_nothing(here: Place) -> None:
    async with stage(here) as one:
        tested = await push(one, nowhere())
        assert (tested.ok, tested.code, tested.live_s) == (False, "unreachable", 0.0)
        assert "RTMP connection refused: nothing listens on" in tested.message
        with pytest.raises(BadUrl):
            await push(one, "nonsense")
        assert one.nothing_is_left()


async def test_a_push_counts_for_what_the_machine_has(here: Place) -> None:
    async with stage(here, egress_mbps=1.0) as one:
        with pytest.raises(NoCapacity, match=r"2\.0 Mbps would go out"):
            await push(one, nowhere())


@needs_groups
async def test_pushes_are_in_groups_and_end_with_the_host(here: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/{KEY}"
        async with stage(here) as one:
            pushing = [asyncio.create_task(push(one, url)) for _ in range(2)]
            await until(lambda: len(trials(one)) >= 2, 20.0, "both run, each in a group")
            with pytest.raises(NoCapacity, match="2 test pushes are under way"):
                await push(one, url)
            await one.host.close()
            assert trials(one) == []
            assert one.nothing_is_left()
        for task in pushing:
            with pytest.raises(HostUnreachable):
                await task


@needs_groups
async def test_the_host_that_comes_next_finds_nothing_of_a_push(here: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtmp://127.0.0.1:{silent.getsockname()[1]}/live/{KEY}"
        async with stage(here) as one:
            pushing = asyncio.create_task(push(one, url))
            await until(lambda: trials(one), 20.0, "it runs")
            await one.replace_host()
            assert one.nothing_is_left()
            with pytest.raises(HostUnreachable):
                await pushing
