"""The whole way: Debian's ristsender, a worker, nginx-rtmp and a recording."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.children import until
from support.media import (
    FPS,
    GOP_S,
    MUX_KBPS,
    Probe,
    RistSender,
    decode_errors,
    probe,
)
from support.nginx import Nginx
from support.ports import udp_port_is_bound
from support.worker import PSK, WorkerProcess

KEY = "stream-key-of-the-tests"

DELIVERED_S = 2.0
"""After the last packet was sent: a second in the recovery buffer, and as much again for a
machine that is busy."""


async def is_sound(path: Path) -> Probe:
    """What is in a file, which decodes without a complaint and begins with a key frame."""
    assert await decode_errors(path) == ""
    found = await probe(path)
    assert found.of("video")[0].key
    assert found.of("audio")
    for track in (found.of("video"), found.of("audio")):
        stamps = [packet.dts for packet in track]
        assert stamps == sorted(set(stamps)), "a stamp does not follow the one before"
    return found


async def is_whole(path: Path, sent_s: float) -> Probe:
    """The same, and it has the length that was sent, less a group of pictures at most."""
    found = await is_sound(path)
    assert sent_s - GOP_S - 0.5 <= found.video_s <= sent_s + 0.5
    assert found.longest_step_s < 1.5 / FPS, "pictures are missing in between"
    return found


async def test_what_was_sent_is_on_the_air_and_on_the_disk(tmp_path: Path, test_file: Path) -> None:
    recording = tmp_path / "recordings" / "broadcast.ts"
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url(KEY), f"file://{recording}"]
        async with WorkerProcess(tmp_path, forwards) as worker:
            async with RistSender(tmp_path / "sender", worker.ports, PSK) as sender:
                await sender.begin(test_file, 8)
                await worker.client.event("input", state="receiving")
                await worker.client.event("program", video="live", audio="live")
                for forward in ("fwd_1", "fwd_2"):
                    await worker.client.event("forward", forward=forward, state="live")
                await sender.sent()
                stats = await worker.client.wait_for(
                    lambda event: event["event"] == "stats" and event["buffer_ms"] is not None
                )
                await asyncio.sleep(DELIVERED_S)
                assert await worker.stop() == 0
            await worker.client.closed()
        assert not worker.socket.exists()
        assert not any(map(udp_port_is_bound, worker.ports))
        assert not Path(f"/proc/{worker.pid}").exists()
        [on_the_air] = await nginx.finished()
        await is_whole(on_the_air, sent_s=8)
        first = await is_whole(recording, sent_s=8)
        size = recording.stat().st_size

        # And once more, at once: on the same ports, to the same names.
        async with (
            WorkerProcess(tmp_path, forwards, ports=worker.ports) as again,
            RistSender(tmp_path / "sender", again.ports, PSK) as sender,
        ):
            await sender.send(test_file, 3)
            await asyncio.sleep(DELIVERED_S)
            assert await again.stop() == 0
        _, second = await nginx.finished(2)
        await is_whole(second, sent_s=3)
        await is_whole(recording.with_stem("broadcast-1"), sent_s=3)
        assert recording.stat().st_size == size
    assert sorted(path.name for path in recording.parent.iterdir()) == [
        *("broadcast-1.ts", "broadcast.ts")
    ]

    assert stats["media"]["video"]["codec"] == "h264"
    assert (stats["media"]["video"]["width"], stats["media"]["video"]["height"]) == (1280, 720)
    assert stats["media"]["video"]["fps"] == FPS
    assert stats["media"]["audio"] == {"codec": "aac", "rate": 48_000, "channels": 2}
    assert 800 < stats["buffer_ms"] < 1500
    assert stats["flow"]["lost"] == 0
    assert stats["flow"]["quality_percent"] == 100.0
    assert [link["state"] for link in stats["links"]] == ["up", "up"]
    assert all(30 < link["share_percent"] < 70 for link in stats["links"])
    last = [event for event in worker.client.events if event["event"] == "stats"][-1]
    assert last["flow"]["lost"] == 0
    assert all(forward["dropped_frames"] == 0 for forward in last["forwards"])
    assert all(forward["bytes"] > 3_000_000 for forward in last["forwards"])
    assert max(
        event["bitrate_in_kbps"] for event in worker.client.events if event["event"] == "stats"
    ) == pytest.approx(MUX_KBPS, rel=0.3)
    assert len(first.of("video")) >= (8 - GOP_S) * FPS
    for log in (worker.log(), str(worker.client.events)):
        assert KEY not in log
        assert PSK not in log
    assert "Traceback" not in worker.log()


async def test_a_server_that_comes_and_goes_harms_nothing_else(
    tmp_path: Path, test_file: Path
) -> None:
    recording = tmp_path / "recording.ts"
    nginx = Nginx(tmp_path / "nginx")
    try:
        async with (
            WorkerProcess(tmp_path, [nginx.url(KEY), f"file://{recording}"]) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            client = worker.client
            await sender.begin(test_file, 11)
            down = await client.event("forward", forward="fwd_1", state="retrying")
            assert down["message"].startswith(
                f"RTMP connection refused: nothing listens on 127.0.0.1:{nginx.port}; check the "
                "address and that the server is up; next try in "
            )
            error = await client.event("error", forward="fwd_1")
            assert error["code"] == "unreachable"
            assert error["message"].startswith("RTMP connection refused")

            await nginx.start()
            await client.event("forward", forward="fwd_1", state="live")
            await until(nginx.recordings, 10.0, "nginx records")
            seen = len(client.events)
            await nginx.stop()
            gone = await client.wait_for(
                lambda e: e["event"] == "forward" and e["state"] == "retrying", after=seen
            )
            assert gone["forward"] == "fwd_1"
            await nginx.start()
            await client.wait_for(
                lambda e: e["event"] == "forward" and e["state"] == "live", after=seen
            )
            await sender.sent()
            await asyncio.sleep(DELIVERED_S)
            client.send({"cmd": "stats", "id": "last"})
            stats = await client.event("stats", id="last")
            assert await worker.stop() == 0
        for flv in await nginx.finished(2):
            await is_sound(flv)
    finally:
        await nginx.stop()
    await is_whole(recording, sent_s=11)
    assert stats["forwards"][0]["reconnects"] >= 2
    assert stats["forwards"][1]["reconnects"] == 0
    assert [
        event["state"]
        for event in client.events
        if event["event"] == "forward" and event["forward"] == "fwd_2"
    ] == ["connecting", "live", "stopped"]
    assert KEY not in worker.log()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts a connection and says nothing."""
    try:
        await reader.read()
    finally:
        writer.close()


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers whatever comes as a web server would."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_every_kind_of_refusal_is_told_and_a_stop_is_not_held_up(
    tmp_path: Path, test_file: Path
) -> None:
    recording = tmp_path / "recording.ts"
    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    web = await asyncio.start_server(speak_http, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (hanging, web)]
    try:
        async with Nginx(tmp_path / "nginx") as nginx:
            forwards = [
                nginx.url(KEY),
                nginx.url(KEY).replace("/live/", "/nosuchapp/"),
                f"rtmp://127.0.0.1:{ports[0]}/live/{KEY}",
                f"rtmp://127.0.0.1:{ports[1]}/live/{KEY}",
                f"rtmp://no-such-host.invalid/live/{KEY}",
                f"file://{recording}",
            ]
            async with (
                # Each forward is given its share of the cap.
                WorkerProcess(
                    tmp_path, forwards, arguments=["--max-egress-kbps", "100000", "--slate", "off"]
                ) as worker,
                RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
            ):
                client = worker.client
                await sender.begin(test_file, 8)
                await client.event("forward", forward="fwd_1", state="live")
                # A second broadcast with the same key, while the first is on the air.
                async with WorkerProcess(tmp_path / "rival", [nginx.url(KEY)]) as rival:
                    async with RistSender(tmp_path / "rival", rival.ports, PSK) as other:
                        await other.begin(test_file, 3)
                        taken = await rival.client.event("forward", state="retrying")
                    assert await rival.stop() == 0
                assert "check the stream key, and that nobody else is" in taken["message"]
                states = {
                    number: await client.event("forward", forward=f"fwd_{number}", state="retrying")
                    for number in (2, 3, 4, 5)
                }
                await sender.sent()
                await asyncio.sleep(DELIVERED_S)
                assert await worker.stop(deadline_s=15.0) == 0
            [on_the_air] = await nginx.finished()
            await is_whole(on_the_air, sent_s=8)
    finally:
        for server in (hanging, web):
            server.close()
            await server.wait_closed()
    await is_whole(recording, sent_s=8)
    refused = f"127.0.0.1:{nginx.port} refused the application of rtmp://127.0.0.1:{nginx.port}/"
    assert states[2]["message"].startswith(refused)
    assert f"127.0.0.1:{ports[0]} does not answer" in states[3]["message"]
    assert f"what listens on 127.0.0.1:{ports[1]} does not speak RTMP" in states[4]["message"]
    assert "the name no-such-host.invalid does not resolve" in states[5]["message"]
    for log in (worker.log(), rival.log(), str(client.events), str(rival.client.events)):
        assert KEY not in log


async def test_a_sender_that_is_restarted_goes_on_where_it_was(
    tmp_path: Path, test_file: Path
) -> None:
    recording = tmp_path / "recording.ts"
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url(KEY), f"file://{recording}"]
        async with WorkerProcess(tmp_path, forwards) as worker:
            for _ in range(2):
                async with RistSender(tmp_path / "sender", worker.ports, PSK) as sender:
                    await sender.send(test_file, 3)
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        [on_the_air] = await nginx.finished()
        found = await is_sound(on_the_air)
        # The second sender is held up by nothing but its own start.
        assert len(found.of("video")) >= 2 * 3 * FPS - 2 * GOP_S * FPS
        assert found.video_s < 2 * 3 + 6
        assert found.longest_step_s > 0.5
    forward = [event for event in worker.client.events if event["event"] == "forward"]
    assert "retrying" not in {event["state"] for event in forward}
