"""Every kind of forward against a real peer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from support.browser import player
from support.children import Child, output_of, until
from support.media import FPS, GOP_S, RistSender, decode_errors, probe, shape_of
from support.nginx import Nginx
from support.ports import free_tcp_port, free_udp_port
from support.put_server import PutServer
from support.srt import srt_receiver
from support.tls import Certificates
from support.worker import PSK, Event, WorkerProcess

KEY = "stream-key-of-the-tests"
PASSPHRASE = "correct-horse-battery"

DELIVERED_S = 2.0
"""After the last packet was sent: a second in the recovery buffer, and as much again for a
machine that is busy."""

can_mount = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can give one process an authority of its own"
)


async def is_whole(path: Path, sent_s: float, *, missing_s: float = GOP_S + 0.5) -> None:
    """It decodes without a complaint, begins with a key frame, and has no hole."""
    assert await decode_errors(path) == ""
    assert await shape_of(path) == ["aac", "h264"]
    found = await probe(path)
    assert found.of("video")[0].key
    assert sent_s - missing_s <= found.video_s <= sent_s + 0.5
    assert found.longest_step_s < 1.5 / FPS, "pictures are missing in between"


async def test_recordings_in_every_container_whole_and_in_parts(
    tmp_path: Path, test_file: Path
) -> None:
    (tmp_path / "all.mkv").write_bytes(b"mine")
    names = [f"{name}{end}" for name in ("all", "part") for end in (".ts", ".mkv", ".mp4")]
    forwards = [f"file://{tmp_path}/{name}" for name in names[:3]]
    forwards += [f"file://{tmp_path}/{name}?segment-s=4" for name in names[3:]]
    async with (
        WorkerProcess(tmp_path, forwards) as worker,
        RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
    ):
        await sender.send(test_file, 11)
        await asyncio.sleep(DELIVERED_S)
        stats = await worker.ask("stats")
        assert await worker.stop() == 0
    for forward in stats["forwards"]:
        assert (forward["state"], forward["dropped_frames"]) == ("live", 0)
        assert forward["bytes"] > 5_000_000
    assert (tmp_path / "all.mkv").read_bytes() == b"mine"
    for name in ("all.ts", "all-1.mkv", "all.mp4"):
        await is_whole(tmp_path / name, sent_s=11)
    for end in (".ts", ".mkv", ".mp4"):
        parts = [tmp_path / f"part{number}{end}" for number in ("", "-1", "-2")]
        assert not (tmp_path / f"part-3{end}").exists()
        pictures = []
        for part, length_s in zip(parts, (4, 4, 3), strict=True):
            await is_whole(part, sent_s=length_s)
            pictures.append(len((await probe(part)).of("video")))
        assert pictures[:2] == [4 * FPS, 4 * FPS]
    # The parts of a transport stream are the stream: not a packet is lost between them.
    whole, split = tmp_path / "all.ts", b""
    split = b"".join((tmp_path / f"part{number}.ts").read_bytes() for number in ("", "-1", "-2"))
    assert len(split) - whole.stat().st_size in range(0, 10 * 188)


async def test_srt_calls_with_a_passphrase_and_is_called(tmp_path: Path, test_file: Path) -> None:
    call, listen = free_udp_port(), free_udp_port()
    forwards = [
        f"srt://127.0.0.1:{call}?passphrase={PASSPHRASE}&pbkeylen=32&latency=300",
        f"srt://127.0.0.1:{listen}?mode=listener&passphrase={PASSPHRASE}",
    ]
    async with WorkerProcess(tmp_path, forwards) as worker:
        client = worker.client
        async with RistSender(tmp_path / "sender", worker.ports, PSK) as sender:
            await sender.begin(test_file, 14)
            refused = await client.event("forward", forward="fwd_1", state="retrying")
            waits = await client.wait_for(
                lambda e: e["event"] == "forward" and "waiting for a caller" in e["message"]
            )
            assert waits["state"] == "connecting"
            wrong = f"srt://127.0.0.1:{listen}?mode=caller&passphrase=not-this-one-at-all"
            right = f"srt://127.0.0.1:{listen}?mode=caller&passphrase={PASSPHRASE}"
            listener = f"srt://127.0.0.1:{call}?mode=listener&passphrase={PASSPHRASE}"
            async with (
                srt_receiver(wrong, tmp_path / "wrong.ts"),
                srt_receiver(right, tmp_path / "called.ts"),
                srt_receiver(listener, tmp_path / "caller.ts"),
            ):
                for forward in ("fwd_1", "fwd_2"):
                    await client.event("forward", forward=forward, state="live")
                await sender.sent()
                await asyncio.sleep(DELIVERED_S)
                stats = await worker.ask("stats")
                seen = len(client.events)
                # srt-live-transmit ends by itself when the other side closes.
                assert await worker.stop() == 0
        assert not [e for e in client.events[seen:] if e["event"] == "error"]
    assert [forward["dropped_frames"] for forward in stats["forwards"]] == [0, 0]
    assert refused["message"].startswith(f"127.0.0.1:{call} does not answer SRT")
    assert (tmp_path / "wrong.ts").stat().st_size == 0
    # Who calls comes in at any moment, as in every SRT listener; who is called gets it whole.
    assert (tmp_path / "called.ts").stat().st_size > 4_000_000
    found = await probe(tmp_path / "caller.ts")
    assert found.of("video")[0].key
    assert found.longest_step_s < 1.5 / FPS
    assert len(found.of("video")) > 4 * FPS
    assert await decode_errors(tmp_path / "caller.ts") == ""
    assert PASSPHRASE not in worker.log() + str(client.events)


async def test_an_srt_peer_with_another_passphrase_or_none_is_told_apart(
    tmp_path: Path, test_file: Path
) -> None:
    ports = [free_udp_port(), free_udp_port()]
    forwards = [
        f"srt://127.0.0.1:{ports[0]}?passphrase=another-passphrase",
        f"srt://127.0.0.1:{ports[1]}",
    ]
    listeners = [f"srt://127.0.0.1:{port}?mode=listener&passphrase={PASSPHRASE}" for port in ports]
    async with (
        srt_receiver(listeners[0], tmp_path / "one.ts"),
        srt_receiver(listeners[1], tmp_path / "two.ts"),
        WorkerProcess(tmp_path, forwards) as worker,
        RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
    ):
        await sender.begin(test_file, 4)
        other = await worker.client.event("forward", forward="fwd_1", state="retrying")
        none = await worker.client.event("forward", forward="fwd_2", state="retrying")
        assert "has another passphrase" in other["message"]
        assert "one side of the SRT connection" in none["message"]


async def test_hls_on_disk_is_served_by_nginx_and_goes_on_after_a_restart(
    tmp_path: Path, test_file: Path
) -> None:
    folder = tmp_path / "hls"
    forwards = [f"hls://{folder}?target-duration=2&playlist-length=4"]
    sequences: list[int] = []

    async def watch() -> None:
        while True:
            index = folder / "index.m3u8"
            if index.exists():
                text = index.read_text()
                assert text.endswith("\n")
                tags = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
                assert tags["#EXT-X-TARGETDURATION"] == "2"
                sequences.append(int(tags["#EXT-X-MEDIA-SEQUENCE"]))
                for name in (line for line in text.splitlines() if line[0] != "#"):
                    assert (folder / name).stat().st_size % 188 == 0
            await asyncio.sleep(0.02)

    async with Nginx(tmp_path / "nginx", hls=folder) as nginx:
        watching = asyncio.create_task(watch())
        for seconds, is_killed in ((9, True), (9, False)):
            async with (
                WorkerProcess(tmp_path, forwards) as worker,
                RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
            ):
                await sender.begin(test_file, seconds)
                await worker.client.event("forward", state="live")
                if not is_killed:
                    # A player that joins in the middle, and reads to the end.
                    player = Child(
                        [
                            *("ffmpeg", "-v", "error", "-nostdin", "-live_start_index", "0"),
                            *("-i", nginx.hls_url("index.m3u8")),
                            *("-c", "copy", tmp_path / "seen.ts"),
                        ],
                        tmp_path / "player.log",
                    )
                await sender.sent()
                is_even(worker.client.events)
                await asyncio.sleep(DELIVERED_S)
                if is_killed:
                    os.kill(worker.pid, 9)
                else:
                    assert await worker.stop() == 0
        async with player:
            assert await player.wait(20.0) == 0
        watching.cancel()
        served = await output_of("ffprobe", "-v", "error", nginx.hls_url("index.m3u8"))
    assert served == ""
    assert watching.cancelled() or watching.exception() is None
    assert sequences == sorted(sequences)
    assert sequences[-1] > sequences[0]
    text = (folder / "index.m3u8").read_text()
    assert text.rstrip().endswith("#EXT-X-ENDLIST")
    assert len(list(folder.glob("*.ts"))) <= 8
    assert not list(folder.glob(".*"))
    assert await decode_errors(tmp_path / "seen.ts") == ""
    assert "corrupt" not in player.said()


def is_even(events: list[Event]) -> None:
    """What an HLS forward is said to send is the stream, from its first segment on."""
    told = [
        (each["forwards"][0]["bitrate_kbps"], each["bitrate_in_kbps"])
        for each in events
        if each["event"] == "stats" and each["forwards"][0]["bytes"]
    ]
    assert len(told) >= 5
    assert [pair for pair in told if not 0.6 <= pair[0] / pair[1] <= 1.4] == []


async def test_a_browser_plays_the_playlist_from_its_first_picture_to_its_last(
    tmp_path: Path, test_file: Path
) -> None:
    folder = tmp_path / "hls"
    async with (
        WorkerProcess(tmp_path, [f"hls://{folder}"]) as worker,
        RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
    ):
        await sender.send(test_file, 9)
        await asyncio.sleep(DELIVERED_S)
        assert await worker.stop() == 0
    async with Nginx(tmp_path / "nginx", hls=folder) as nginx:
        async with player(tmp_path / "browser", nginx.hls_url("index.m3u8")) as page:
            await until(lambda: "video ended at" in page.said(), 40.0, "the browser is through")
        said = page.said()
    assert "video error" not in said
    assert "video playing at 0.00 1280x720" in said
    ended_s = float(said.partition("video ended at ")[2].split()[0])
    assert 9 - GOP_S - 0.5 <= ended_s <= 9.5


@pytest.mark.long
async def test_hls_push_gets_past_a_server_that_misbehaves(tmp_path: Path, test_file: Path) -> None:
    bad = {2: 500, 3: "close", 4: 503}
    asked = 0

    def answer(name: str) -> int | str:
        nonlocal asked
        asked += name.endswith(".ts")
        return bad.pop(asked, 200) if name.endswith(".ts") else 201

    async with PutServer(tmp_path / "put") as server:
        server.answer = answer
        url = f"http://127.0.0.1:{server.port}/http_upload_hls?cid={KEY}&copy=0&file="
        async with (
            WorkerProcess(tmp_path, [url]) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            await sender.begin(test_file, 12)
            await worker.client.event("forward", state="live")
            await sender.sent()
            await asyncio.sleep(DELIVERED_S)
            stats = await worker.ask("stats")
            assert await worker.stop() == 0
    assert not bad
    assert stats["forwards"][0]["dropped_frames"] == 0
    segments = [name for name in server.names if name.endswith(".ts")]
    assert segments == sorted(set(segments))
    assert [name for name in server.names if name == segments[0]] == [segments[0]]
    # A segment is there before a playlist that lists it.
    for at, name in enumerate(server.names):
        if name.endswith(".m3u8"):
            assert at > 0
    assert server.playlists[-1].rstrip().endswith("#EXT-X-ENDLIST")
    assert all("#EXT-X-DISCONTINUITY" not in text for text in server.playlists)
    assert server.paths[0].startswith(f"/http_upload_hls?cid={KEY}&copy=0&file=segment-")
    assert server.agents == {f"Strata / receiver / {worker_version()}"}
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join((tmp_path / "put" / name).read_bytes() for name in segments))
    await is_whole(joined, sent_s=12)
    assert KEY not in worker.log() + str(worker.client.events)


def worker_version() -> str:
    import strata

    return strata.__version__


async def test_hls_push_says_what_a_server_does_to_it(tmp_path: Path, test_file: Path) -> None:
    async with (
        PutServer(tmp_path / "received") as received,
        PutServer(tmp_path / "refused") as refused,
        PutServer(tmp_path / "failing") as failing,
    ):
        received.answer = lambda name: 202
        refused.answer = lambda name: 403
        failing.answer = lambda name: 500
        servers = (received, refused, failing)
        forwards = [f"http://127.0.0.1:{server.port}/live/{KEY}/" for server in servers]
        async with (
            WorkerProcess(tmp_path, forwards) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            client = worker.client
            await sender.begin(test_file, 14)
            only = await client.wait_for(
                lambda e: e["event"] == "forward" and "answers 202" in e["message"]
            )
            assert only["state"] == "connecting"
            denied = await client.event("forward", forward="fwd_2", state="retrying")
            broken = await client.event("forward", forward="fwd_3", state="retrying")
            states = {e["state"] for e in client.events if e["event"] == "forward"}
            assert await worker.stop() == 0
    assert "live" not in states
    assert f"127.0.0.1:{refused.port} refused the upload (403 Told)" in denied["message"]
    assert f"127.0.0.1:{failing.port} did not take the upload (500 Told)" in broken["message"]
    assert KEY not in worker.log() + str(client.events)


@can_mount
async def test_tls_is_spoken_with_who_can_prove_its_name_only(
    tmp_path: Path, test_file: Path
) -> None:
    good = await Certificates.make(tmp_path / "good")
    stranger = await Certificates.make(tmp_path / "stranger")
    trusted = tmp_path / "certs"
    trusted.mkdir()
    (trusted / "ca-certificates.crt").write_bytes(good.authority.read_bytes())
    (trusted / "ours.pem").write_bytes(good.authority.read_bytes())
    await output_of("openssl", "rehash", trusted)
    ports = [free_tcp_port(), free_tcp_port()]
    async with (
        Nginx(tmp_path / "nginx") as nginx,
        stunnel(tmp_path / "tls-good", good, ports[0], nginx.port),
        stunnel(tmp_path / "tls-stranger", stranger, ports[1], nginx.port),
        PutServer(tmp_path / "put", good.context()) as server,
        PutServer(tmp_path / "put-stranger", stranger.context()) as other,
    ):
        forwards = [
            f"rtmps://localhost:{ports[0]}/live/{KEY}",
            f"rtmps://localhost:{ports[1]}/live/{KEY}-2",
            f"rtmps://127.0.0.1:{ports[0]}/live/{KEY}-3",
            f"rtmps://localhost:{nginx.port}/live/{KEY}-4",
            f"https://localhost:{server.port}/live/{KEY}/",
            f"https://localhost:{other.port}/live/{KEY}/",
        ]
        mount = f'mount --bind {trusted} /etc/ssl/certs && exec "$@"'
        async with (
            WorkerProcess(
                tmp_path,
                forwards,
                arguments=["--max-egress-kbps", "100000", "--slate", "off"],
                wrapper=["unshare", "--mount", "sh", "-c", mount, "sh"],
            ) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            client = worker.client
            await sender.begin(test_file, 10)
            for forward in ("fwd_1", "fwd_5"):
                await client.event("forward", forward=forward, state="live")
            failed = {
                forward: await client.event("forward", forward=forward, state="failed")
                for forward in ("fwd_2", "fwd_3", "fwd_6")
            }
            plain = await client.event("forward", forward="fwd_4", state="retrying")
            await sender.sent()
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        [flv] = await nginx.finished()
    await is_whole(flv, sent_s=10)
    for event in failed.values():
        assert "cannot be trusted, so nothing was sent there" in event["message"]
    assert "check the address, that it speaks RTMPS" in plain["message"]
    assert not other.names
    assert server.names
    assert KEY not in worker.log() + str(client.events)


def stunnel(folder: Path, certificates: Certificates, port: int, target: int) -> Child:
    """TLS in front of a server on this machine."""
    folder.mkdir()
    config = folder / "stunnel.conf"
    config.write_text(
        f"foreground = yes\npid =\n[rtmps]\naccept = 127.0.0.1:{port}\n"
        f"connect = 127.0.0.1:{target}\ncert = {certificates.certificate}\n"
        f"key = {certificates.key}\n"
    )
    return Child(["stunnel", config], folder / "stunnel.log")


async def test_h265_goes_where_it_can(tmp_path: Path) -> None:
    file = tmp_path / "h265.ts"
    await output_of(
        *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "10"),
        *(
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=error:keyint=50:open-gop=0",
        ),
        *("-pix_fmt", "yuv420p", "-b:v", "1500k", "-c:a", "aac", "-ac", "2", file),
    )
    ends = (".ts", ".mkv", ".mp4")
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url(KEY), f"hls://{tmp_path}/hls"]
        forwards += [f"file://{tmp_path}/out{end}" for end in ends]
        async with (
            WorkerProcess(tmp_path, forwards) as worker,
            RistSender(tmp_path / "sender", worker.ports, PSK) as sender,
        ):
            await sender.begin(file, 9)
            refused = await worker.client.event("forward", forward="fwd_1", state="failed")
            await sender.sent()
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
    assert "holds h265" in refused["message"]
    assert "set the encoder to H264" in refused["message"]
    for path in [*(tmp_path / f"out{end}" for end in ends), *(tmp_path / "hls").glob("*.ts")]:
        assert await shape_of(path) == ["aac", "hevc"]
        assert await decode_errors(path) == ""
