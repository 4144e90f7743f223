"""What nobody asked for: it neither gets on the air nor keeps off it who belongs there."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from pathlib import Path

from strata.rist import Link, Sender
from strata.secrets import Secret
from support.media import GOP_S, RistSender, decode_errors, probe
from support.nginx import Nginx
from support.worker import PSK, WorkerProcess

KEY = "stream-key-of-the-tests"
DELIVERED_S = 2.0


async def throw_datagrams(ports: tuple[int, ...]) -> None:
    """Random ones, two hundred a second."""
    chance = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while True:
            for port in ports:
                sock.sendto(chance.randbytes(chance.randrange(1, 1400)), ("127.0.0.1", port))
            await asyncio.sleep(0.01)


async def test_without_the_key_nothing_gets_on_the_air_and_with_it_everything(
    tmp_path: Path, test_file: Path
) -> None:
    recording = tmp_path / "recording.ts"
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url(KEY), f"file://{recording}"]
        async with (
            WorkerProcess(tmp_path, forwards) as worker,
            RistSender(tmp_path / "wrong", worker.ports, "another-psk-of-tests") as wrong,
            RistSender(tmp_path / "clear", worker.ports, None) as clear,
        ):
            throwing = asyncio.create_task(throw_datagrams(worker.ports))
            try:
                await asyncio.gather(wrong.begin(test_file, 11), clear.begin(test_file, 11))
                await asyncio.sleep(4.0)
                worker.client.send({"cmd": "stats", "id": "before"})
                before = await worker.client.event("stats", id="before")
                assert before["flow"]["received"] == 0
                assert before["bitrate_in_kbps"] == 0.0
                assert not [
                    event
                    for event in worker.client.events
                    if event["event"] == "input" and event["state"] != "waiting"
                ]
                assert nginx.recordings() == []
                assert not recording.exists()

                async with RistSender(tmp_path / "right", worker.ports, PSK) as right:
                    await right.send(test_file, 4)
                    await asyncio.sleep(DELIVERED_S)
            finally:
                throwing.cancel()
                await asyncio.wait({throwing})
            worker.client.send({"cmd": "stats", "id": "after"})
            after = await worker.client.event("stats", id="after")
            assert await worker.stop() == 0
        [on_the_air] = await nginx.finished()
    for path in (on_the_air, recording):
        assert await decode_errors(path) == ""
        found = await probe(path)
        assert found.of("video")[0].key
        assert 4 - GOP_S - 0.5 <= found.video_s <= 4.5
    assert after["flow"]["lost"] == 0


async def test_a_nonce_of_zero_is_no_way_around_the_key(tmp_path: Path) -> None:
    """librist takes what has it for unencrypted, whatever the flags of its header say."""
    recording = tmp_path / "recording.ts"
    flow = 0x1234
    async with WorkerProcess(tmp_path, [f"file://{recording}"]) as worker:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(300):
                for inside in (report(flow), media(flow, number)):
                    header = struct.pack("!BBHII", 0x30, 8, 0x88B6, 0, number)
                    sock.sendto(
                        header + struct.pack("!HH", 1971, 1968) + inside,
                        ("127.0.0.1", worker.ports[0]),
                    )
                await asyncio.sleep(0.01)
        stats = await worker.ask("stats")
        assert stats["flow"]["received"] == 0
        assert stats["bitrate_in_kbps"] == 0.0
        assert not [e for e in worker.client.events if e.get("state") == "receiving"]
        assert await worker.stop() == 0
    assert not recording.exists()


def report(flow: int) -> bytes:
    """A sender's report and its name (RFC 3550 sections 6.4.1 and 6.5), by which librist
    takes notice of it."""
    sender = struct.pack("!BBHIIIIII", 0x80, 200, 6, flow, 0, 0, 0, 0, 0)
    name = struct.pack("!BB", 1, 4) + b"evil" + bytes(2)
    return sender + struct.pack("!BBHI", 0x81, 202, 1 + len(name) // 4, flow) + name


def media(flow: int, number: int) -> bytes:
    """Seven null packets of MPEG-TS in one of RTP."""
    rtp = struct.pack("!BBHII", 0x80, 33, number, number * 200, flow)
    return rtp + (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 7


async def test_garbage_with_the_right_key_does_not_end_the_worker(
    tmp_path: Path, test_file: Path
) -> None:
    recording = tmp_path / "recording.ts"
    chance = random.Random(2)
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url(KEY), f"file://{recording}"]
        async with WorkerProcess(tmp_path, forwards) as worker:
            garbage = Sender([Link("127.0.0.1", port) for port in worker.ports], Secret(PSK))
            garbage.start()
            try:
                for _ in range(500):
                    garbage.write(b"".join(b"\x47" + chance.randbytes(187) for _ in range(7)))
                    await asyncio.sleep(0.01)
                await worker.client.event("input", state="receiving")
                await worker.client.event("forward", forward="fwd_2", state="live")
            finally:
                garbage.close()
            assert recording.stat().st_size > 0
            assert nginx.recordings() == []

            async with RistSender(tmp_path / "sender", worker.ports, PSK) as sender:
                await sender.begin(test_file, 5)
                await worker.client.event("forward", forward="fwd_1", state="live")
                await sender.sent()
                await asyncio.sleep(DELIVERED_S)
            worker.client.send({"cmd": "stats", "id": "last"})
            stats = await worker.client.event("stats", id="last")
            assert stats["media"]["video"]["codec"] == "h264"
            assert await worker.stop() == 0
        [on_the_air] = await nginx.finished()
    assert await decode_errors(on_the_air) == ""
    found = await probe(on_the_air)
    assert found.of("video")[0].key
    assert 5 - GOP_S - 0.5 <= found.video_s <= 5.5
    assert "Traceback" not in worker.log()
