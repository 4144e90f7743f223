"""Forwards that are changed while on the air."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.media import FPS, GOP_S, RistSender, decode_errors, probe
from support.nginx import Nginx
from support.ports import free_tcp_port, free_udp_port
from support.srt import srt_receiver
from support.worker import PSK, WorkerProcess

KEY = "stream-key-of-the-tests"
DELIVERED_S = 2.0


@pytest.mark.timeout(200)
@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.long)])
async def test_changes_in_a_row_between_two_servers(
    tmp_path: Path, long_file: Path, times: int
) -> None:
    async with Nginx(tmp_path / "one") as one, Nginx(tmp_path / "two") as two:
        forwards = [one.url(KEY), f"file://{tmp_path}/recording.ts"]
        async with (
            WorkerProcess(tmp_path, forwards) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            client = worker.client
            await sender.begin(long_file, 60)
            await client.event("forward", forward="fwd_1", state="live")
            await asyncio.sleep(2.5)
            for number in range(times):
                server = (two, one)[number % 2]
                answer = await worker.ask("update_forward", url=server.url(KEY))
                assert answer["event"] == "ok", answer
                assert (answer["forward"], answer["overlap"]) == ("fwd_1", True)
                await asyncio.sleep(0.5)
            stats = await worker.ask("stats")
            assert await worker.stop() == 0
        states = [
            e["state"]
            for e in client.events
            if e["event"] == "forward" and e["forward"] == "fwd_1" and "recording" not in e["url"]
        ]
        assert set(states[states.index("live") : -1]) == {"live"}
        assert not [e for e in client.events if e["event"] == "error"]
        recordings = [*await one.finished(times // 2 + 1), *await two.finished(times // 2)]
        assert len(recordings) == times + 1
        aired = set()
        for flv in recordings:
            assert await decode_errors(flv) == ""
            found = await probe(flv)
            assert found.of("video")[0].key
            assert found.longest_step_s < 1.5 / FPS
            aired.update(frames_of(flv.read_bytes()))
    whole = await probe(tmp_path / "recording.ts")
    assert whole.longest_step_s < 1.5 / FPS
    # Nobody who follows the switches misses a picture: the new one begins before the old ends.
    assert len(aired) >= len(whole.of("video")) - GOP_S * FPS
    assert [each["dropped_frames"] for each in stats["forwards"]] == [0, 0]


def frames_of(flv: bytes) -> list[int]:
    """A number for each picture in an FLV file, the same in whichever file it is."""
    found, at = [], 13
    while at + 11 <= len(flv):
        size = int.from_bytes(flv[at + 1 : at + 4], "big")
        body = flv[at + 11 : at + 11 + size]
        if flv[at] == 9 and body[1:2] == b"\x01":  # a picture, not the sequence header
            found.append(hash(body[5:]))
        at += 11 + size + 4
    return found


async def test_a_change_that_cannot_be_leaves_the_old_one_on_the_air(
    tmp_path: Path, test_file: Path
) -> None:
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url(KEY), f"file://{tmp_path}/recording.ts"]
        async with (
            WorkerProcess(tmp_path, forwards) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            client = worker.client
            await sender.begin(test_file, 12)
            await client.event("forward", forward="fwd_1", state="live")
            seen = len(client.events)
            closed = free_tcp_port()
            bad = [
                ("nonsense", "bad_url"),
                (f"rtmp://127.0.0.1:{closed}/live/{KEY}", "unreachable"),
                (f"rtmp://127.0.0.1:{nginx.port}/nosuchapp/{KEY}", "refused"),
                (f"rtmp://no-such-host.invalid/live/{KEY}", "unreachable"),
                (f"srt://127.0.0.1:{free_udp_port()}", "unreachable"),
                ("file:///proc/nothing/here.ts", "bad_url"),
            ]
            for url, code in bad:
                answer = await worker.ask("update_forward", url=url)
                assert (answer["event"], answer["code"]) == ("error", code), answer
            unknown = await worker.ask("update_forward", url=nginx.url("x"), forward="fwd_9")
            assert unknown["code"] == "not_found"
            taken = await worker.ask("add_forward", url=nginx.url(KEY))
            assert taken["code"] == "conflict"
            changed = [e for e in client.events[seen:] if e["event"] == "forward"]
            assert changed == []
            await sender.sent()
            await asyncio.sleep(DELIVERED_S)
            stats = await worker.ask("stats")
            assert await worker.stop() == 0
        [flv] = await nginx.finished()
        found = await probe(flv)
        assert found.longest_step_s < 1.5 / FPS
        assert found.video_s > 12 - GOP_S - 0.5
    assert len(stats["forwards"]) == 2
    assert stats["forwards"][0]["reconnects"] == 0
    assert KEY not in worker.log()


async def test_forwards_come_and_go_and_begin_with_what_is_cached(
    tmp_path: Path, long_file: Path
) -> None:
    port = free_udp_port()
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        srt_receiver(f"srt://127.0.0.1:{port}?mode=listener", tmp_path / "srt.ts"),
        WorkerProcess(tmp_path, [f"file://{tmp_path}/all.ts"]) as worker,
        RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
    ):
        client = worker.client
        early = await worker.ask("add_forward", url=nginx.url(f"{KEY}-early"))
        assert (early["event"], early["forward"]) == ("ok", "fwd_2")
        await sender.begin(long_file, 30)
        await client.event("forward", forward="fwd_2", state="live")
        await asyncio.sleep(3.0)
        added = [
            f"srt://127.0.0.1:{port}",
            nginx.url(KEY),
            f"file://{tmp_path}/late.ts",
            f"file://{tmp_path}/late.mkv",
            f"hls://{tmp_path}/hls",
        ]
        for number, url in enumerate(added, 3):
            answer = await worker.ask("add_forward", url=url)
            assert (answer["event"], answer.get("forward")) == ("ok", f"fwd_{number}"), answer
        # The same key again: the two cannot be there at once.
        again = await worker.ask("update_forward", forward="fwd_4", url=nginx.url(KEY))
        assert (again["event"], again["overlap"]) == ("ok", False), again
        other = await worker.connect()
        await other.event("ready")
        greeted = [e["forward"] for e in other.events if e["event"] == "forward"]
        await other.close()
        assert set(greeted) <= {f"fwd_{number}" for number in range(1, 8)}
        gone = await worker.ask("remove_forward", forward="fwd_5")
        assert gone["event"] == "ok"
        size = (tmp_path / "late.ts").stat().st_size
        await asyncio.sleep(2.0)
        assert (tmp_path / "late.ts").stat().st_size == size
        stats = await worker.ask("stats")
        assert [each["forward"] for each in stats["forwards"]] == [
            *("fwd_1", "fwd_2", "fwd_3", "fwd_4", "fwd_6", "fwd_7")
        ]
        assert {each["state"] for each in stats["forwards"]} == {"live"}
        assert await worker.stop() == 0
        flvs = await nginx.finished(3)
    for path in [*flvs, *(tmp_path / name for name in ("late.ts", "late.mkv", "srt.ts"))]:
        assert await decode_errors(path) == "", path
        found = await probe(path)
        assert found.of("video")[0].key
        assert found.longest_step_s < 1.5 / FPS


async def test_settings_are_changed_while_it_runs(tmp_path: Path, test_file: Path) -> None:
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        WorkerProcess(tmp_path, [nginx.url(KEY)]) as worker,
        RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
    ):
        await sender.begin(test_file, 11)
        await worker.client.event("forward", state="live")
        answer = await worker.ask("configure", stats_interval_ms=100, max_egress_kbps=7000)
        assert answer["event"] == "ok"
        await worker.client.event("stats")
        seen = len(worker.client.events)
        await asyncio.sleep(5.0)
        told = [e for e in worker.client.events[seen:] if e["event"] == "stats"]
        assert len(told) > 25
        second = await worker.ask("add_forward", url=nginx.url(f"{KEY}-2"))
        assert second["code"] == "over_cap"
        for bad in ({"slate": "/no/file"}, {"stats_interval_ms": 1}, {"max_egress_kbps": "many"}):
            assert (await worker.ask("configure", **bad))["event"] == "error"
        assert await worker.stop() == 0
