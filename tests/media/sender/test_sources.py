"""Sources with real pipelines, and what comes of them as ffmpeg sees it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from strata.errors import NotFound, SourceUnavailable
from strata.sender.source import SourceSettings
from strata.sender.source.packets import Chunker
from strata.worker.ts_end import TsEnd
from support.children import output_of
from support.media import content_of, probe, shape_of
from support.nginx import Nginx
from support.ports import free_tcp_port, free_udp_port
from support.sources import Reading, feeder, playing, rtsp_server
from support.ts import NULL, make_clip, packets, pid_of

SECONDS = 3.0
LENGTH_S = 4
PASSWORD = "canary-of-the-camera"
PASSPHRASE = "canary-of-the-link"

H264 = (
    "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast bitrate=500 key-int-max=25 ! "
    "rtph264pay name=pay0 pt=96"
)
AAC = "audiotestsrc is-live=true ! voaacenc ! rtpmp4gpay name=pay1 pt=97"
JPEG = (
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=180,framerate=15/1 ! "
    "jpegenc ! rtpjpegpay name=pay0 pt=26"
)
MULAW = (
    "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! "
    "rtppcmupay name=pay1 pt=0"
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of H.264 and AAC."""
    path = tmp_path_factory.mktemp("clip") / "clip.ts"
    asyncio.run(make_clip(path, LENGTH_S))
    return path


async def as_file(clip: Path, path: Path, *coding: str) -> Path:
    await output_of("ffmpeg", "-v", "error", "-y", "-i", clip, *(coding or ("-c", "copy")), path)
    return path


def saved(reading: Reading, path: Path) -> Path:
    """What came, without the picture that was not complete when the reading ended."""
    end = TsEnd()
    path.write_bytes(end.pass_on(reading.data) + end.close(is_over=False))
    return path


def counters_go_on(data: bytes) -> bool:
    last: dict[int, int] = {}
    for packet in packets(data):
        pid, count = pid_of(packet), packet[3] & 0x0F
        if pid != 0x1FFF and packet[3] & 0x10:
            if last.get(pid, count - 1 & 0x0F) != count - 1 & 0x0F:
                return False
            last[pid] = count
    return True


# --- what is encoded here --------------------------------------------------------------


async def test_the_test_picture_is_a_broadcast(tmp_path: Path) -> None:
    async with playing(mode="test") as reading:
        await reading.go_on(SECONDS)
        assert reading.source.is_encoding
        assert reading.source.encoder_kbps == 3000
    path = saved(reading, tmp_path / "out.ts")
    assert await shape_of(path) == ["aac", "h264"]
    found = await probe(path)
    assert len(found.of("video")) > 2 * 25
    assert found.longest_step_s < 0.05
    keys = [packet.pts for packet in found.of("video") if packet.key]
    assert all(after - before == pytest.approx(2.0, abs=0.05) for before, after in pairwise(keys))
    assert counters_go_on(path.read_bytes())
    # As many chunks as key frames need, and no more, are marked.
    marked = sum(len(chunk.payload) for _, chunk in reading.chunks if chunk.is_key)
    assert 0 < marked < reading.size / 3


@pytest.mark.parametrize("kbps", [500, 2000, 6000])
async def test_its_rate_stays_what_was_asked(kbps: int) -> None:
    async with playing(kbps, mode="test") as reading:
        await reading.go_on(8.0)
    windows = [reading.kbps(begin / 4, begin / 4 + 1) for begin in range(4, 28)]
    assert max(windows) < 1.15 * kbps
    assert min(windows) > 0.8 * kbps


async def test_its_rate_follows_at_once_and_without_a_key_frame() -> None:
    async with playing(6000, mode="test", keyint=250) as reading:
        await reading.go_on(3.0)
        reading.source.set_bitrate(1500)
        changed_s = reading.now_s
        await reading.go_on(2.5)
        assert reading.source.encoder_kbps == 1500
    assert reading.kbps(changed_s + 0.5, changed_s + 1.0) < 1.2 * 1500
    assert reading.kbps(changed_s + 1.0, changed_s + 2.0) > 0.8 * 1500
    assert not any(chunk.is_key for at, chunk in reading.chunks if at > 1.0)


async def test_h265_is_encoded_where_it_is_asked_for(tmp_path: Path) -> None:
    from strata.sender.source import open_source
    from strata.wire import agent as wire

    settings = SourceSettings(width=320, height=180)
    one = open_source(
        wire.Source(mode="test"), wire.Encoder(codec="h265", bitrate_kbps=800), settings
    )
    await one.start()
    try:
        reading = Reading(one)
        await reading.go_on(SECONDS)
    finally:
        await one.stop()
    assert await shape_of(saved(reading, tmp_path / "out.ts")) == ["aac", "hevc"]
    assert any(chunk.is_key for _, chunk in reading.chunks)


async def test_a_file_that_nobody_could_use_is_encoded(clip: Path, tmp_path: Path) -> None:
    coding = ("-c:v", "mjpeg", "-q:v", "5", "-c:a", "pcm_s16le")
    file = await as_file(clip, tmp_path / "clip.mkv", *coding)
    async with playing(1000, mode="file", path=str(file), loop=True) as reading:
        await reading.go_on(LENGTH_S + SECONDS)
        assert reading.source.is_encoding
    path = saved(reading, tmp_path / "out.ts")
    assert await shape_of(path) == ["aac", "h264"]
    assert (await probe(path)).longest_step_s < 0.15
    assert counters_go_on(path.read_bytes())
    windows = [reading.kbps(begin / 2, begin / 2 + 1) for begin in range(2, 10)]
    assert max(windows) < 1.3 * 1000


# --- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["ts", "mp4", "mkv"])
async def test_a_file_goes_round_on_one_timeline(clip: Path, tmp_path: Path, ending: str) -> None:
    file = await as_file(clip, tmp_path / f"clip.{ending}")
    async with playing(mode="file", path=str(file), loop=True) as reading:
        await reading.go_on(2 * LENGTH_S + 2.0)
        assert not reading.source.is_encoding
        assert reading.source.encoder_kbps is None
    path = saved(reading, tmp_path / "out.ts")
    assert counters_go_on(path.read_bytes())
    found = await probe(path)
    for track, step_s in (("video", 0.04), ("audio", 1024 / 48_000)):
        stamps = [packet.dts for packet in found.of(track)]  # type: ignore[arg-type]
        steps = [after - before for before, after in pairwise(stamps)]
        assert median(steps) == pytest.approx(step_s, abs=0.001)
        assert min(steps) > 0
        assert max(steps) < step_s + 0.05
    assert found.video_s == pytest.approx(2 * LENGTH_S + 2.0, abs=0.6)
    # Each picture is as it was, and has come as often as there were passes.
    source, result = await content_of(clip), await content_of(path)
    assert set(list(result.video)[:-1]) <= set(source.video)
    assert {len(times) for times in list(result.video.values())[:20]} == {3}


async def test_a_file_that_is_not_looped_ends_when_all_of_it_was_sent(
    clip: Path, tmp_path: Path
) -> None:
    async with playing(mode="file", path=str(clip)) as reading:
        await reading.go_on(LENGTH_S + 5.0)
    assert reading.end is not None
    assert reading.end.reason == "eos"
    assert reading.now_s == pytest.approx(LENGTH_S, abs=0.7)
    assert reading.data == clip.read_bytes()


async def test_a_transport_stream_is_sent_at_the_pace_of_its_clock(clip: Path) -> None:
    async with playing(mode="file", path=str(clip)) as reading:
        await reading.go_on(2.0)
    for begin_s in (0.25, 0.75, 1.25):
        assert reading.kbps(begin_s, begin_s + 0.5) == pytest.approx(900, rel=0.15)


async def test_files_that_cannot_be_sent_say_why(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing\.mp4 is not there"):
        async with playing(mode="file", path=str(tmp_path / "nothing.mp4")):
            pass
    text = tmp_path / "text.mp4"
    text.write_text("no media\n" * 1000)
    with pytest.raises(SourceUnavailable, match=r"text\.mp4"):
        async with playing(mode="file", path=str(text)):
            pass
    empty = tmp_path / "empty.ts"
    empty.touch()
    with pytest.raises(SourceUnavailable, match=r"empty\.ts"):
        async with playing(mode="file", path=str(empty)):
            pass
    with pytest.raises(NotFound, match="is no file"):
        async with playing(mode="file", path=str(tmp_path)):
            pass


async def test_sound_alone_is_no_source(clip: Path, tmp_path: Path) -> None:
    file = await as_file(clip, tmp_path / "sound.m4a", "-vn", "-c:a", "copy")
    with pytest.raises(SourceUnavailable, match="has no picture"):
        async with playing(mode="file", path=str(file)):
            pass


# --- over the network ------------------------------------------------------------------


async def test_datagrams_are_passed_on_as_they_are(clip: Path, tmp_path: Path) -> None:
    data, port = clip.read_bytes(), free_udp_port()
    async with playing(mode="uri", uri=f"udp://127.0.0.1:{port}") as reading:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for at in range(0, len(data), 7 * 188):
                sender.sendto(data[at : at + 7 * 188], ("127.0.0.1", port))
                if at % (7 * 188 * 20) == 0:
                    await reading.go_on(0.02)
        await reading.go_on(0.3)
        assert not reading.source.is_encoding
    assert reading.data == data
    keys = sum(
        chunk.is_key and not before.is_key for (_, before), (_, chunk) in pairwise(reading.chunks)
    )
    assert keys in (LENGTH_S - 1, LENGTH_S)  # one each second, the first perhaps at once


async def test_sound_that_the_receiver_could_not_use_is_coded_anew(
    clip: Path, tmp_path: Path
) -> None:
    coding = ("-c:v", "copy", "-c:a", "mp2")
    file = await as_file(clip, tmp_path / "old.ts", *coding)
    to = f"udp://127.0.0.1:{free_udp_port()}"
    form = ("-f", "mpegts")
    async with (
        feeder(file, f"{to}?pkt_size=1316", tmp_path / "ffmpeg.log", *form),
        playing(mode="uri", uri=to) as reading,
    ):
        await reading.go_on(1.0)
        reading.chunks.clear()
        await reading.go_on(SECONDS + 1.0)
        assert not reading.source.is_encoding
    path = saved(reading, tmp_path / "out.ts")
    assert await shape_of(path) == ["aac", "h264"]
    source, result = await content_of(clip), await content_of(path)
    assert set(list(result.video)[1:-1]) <= set(source.video)


async def test_noise_is_no_transport_stream() -> None:
    port = free_udp_port()
    async with playing(mode="uri", uri=f"udp://127.0.0.1:{port}") as reading:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(200):
                for _ in range(20):
                    sender.sendto(b"noise" * 200, ("127.0.0.1", port))
                await reading.go_on(0.01)
                if reading.end:
                    break
        await reading.go_on(5.0)
        assert reading.chunks == []
    assert reading.end is not None
    assert reading.end.reason == "source"
    assert "no transport stream" in reading.end.detail


async def test_an_encoder_that_is_called_over_srt_is_called_again(
    clip: Path, tmp_path: Path
) -> None:
    port, form = free_udp_port(), ("-f", "mpegts")
    theirs = f"srt://127.0.0.1:{port}?mode=listener&passphrase={PASSPHRASE}"
    log = tmp_path / "ffmpeg.log"
    server = feeder(clip, theirs, log, *form)
    try:
        ours = f"srt://127.0.0.1:{port}?passphrase={PASSPHRASE}"
        async with playing(mode="uri", uri=ours) as reading:
            await reading.go_on(10.0, lambda: reading.size > 100_000)
            await server.end()
            server = feeder(clip, theirs, log, *form)
            before = reading.size
            await reading.go_on(25.0, lambda: reading.size > before + 200_000)
            assert reading.size > before + 200_000
            assert reading.end is None
    finally:
        await server.end()


async def test_an_encoder_may_call_over_srt(clip: Path, tmp_path: Path) -> None:
    port = free_udp_port()
    ours = f"srt://:{port}?passphrase={PASSPHRASE}"
    theirs = f"srt://127.0.0.1:{port}?mode=caller&passphrase={PASSPHRASE}"
    async with playing(mode="uri", uri=ours) as reading:
        await reading.go_on(0.5)
        assert reading.chunks == []
        async with feeder(clip, theirs, tmp_path / "ffmpeg.log", "-f", "mpegts"):
            await reading.go_on(10.0, lambda: reading.size > 200_000)
    assert await shape_of(saved(reading, tmp_path / "out.ts")) == ["aac", "h264"]


@pytest.mark.parametrize(
    ("launch", "is_encoding"), [(f"{H264} {AAC}", False), (f"{JPEG} {MULAW}", True), (H264, False)]
)
async def test_a_camera_is_played(tmp_path: Path, launch: str, is_encoding: bool) -> None:
    port = free_tcp_port()
    uri = f"rtsp://127.0.0.1:{port}/live"
    async with (
        await rtsp_server(port, f"( {launch} )", tmp_path / "server.log"),
        playing(1500, mode="uri", uri=uri) as reading,
    ):
        await reading.go_on(SECONDS + 1.0)
        assert reading.source.is_encoding == is_encoding
    path = saved(reading, tmp_path / "out.ts")
    assert await shape_of(path) == (["h264"] if launch == H264 else ["aac", "h264"])
    assert (await probe(path)).longest_step_s < 0.2
    assert counters_go_on(path.read_bytes())


async def test_the_password_of_a_camera_is_used_and_never_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_tcp_port()
    async with await rtsp_server(port, f"( {H264} )", tmp_path / "server.log", PASSWORD):
        right = f"rtsp://admin:{PASSWORD}@127.0.0.1:{port}/live"
        async with playing(mode="uri", uri=right) as reading:
            await reading.go_on(10.0, lambda: reading.size > 20_000)
            assert reading.size > 20_000
        wrong = f"rtsp://admin:not-{PASSWORD}@127.0.0.1:{port}/live"
        with pytest.raises(SourceUnavailable, match="another name or password") as failed:
            async with playing(mode="uri", uri=wrong):
                pass
    assert PASSWORD not in str(failed.value) + caplog.text


async def test_what_is_published_to_a_server_is_fetched_again_when_it_comes_back(
    clip: Path, tmp_path: Path
) -> None:
    async with Nginx(tmp_path) as nginx:
        log = tmp_path / "ffmpeg.log"
        publisher = feeder(clip, nginx.url("camera"), log, "-f", "flv")
        try:
            async with playing(mode="uri", uri=nginx.url("camera")) as reading:
                await reading.go_on(15.0, lambda: reading.size > 150_000)
                await publisher.end()
                await reading.go_on(1.0)
                publisher = feeder(clip, nginx.url("camera"), log, "-f", "flv")
                before = reading.size
                await reading.go_on(25.0, lambda: reading.size > before + 150_000)
                assert reading.size > before + 150_000, reading.end
                assert not reading.source.is_encoding
        finally:
            await publisher.end()
    assert "camera" not in str(reading.end)


async def test_an_encoder_publishes_here_with_the_right_key_only(
    clip: Path, tmp_path: Path
) -> None:
    port, log = free_tcp_port(), tmp_path / "ffmpeg.log"
    theirs = f"rtmp://127.0.0.1:{port}/live/"
    async with playing(mode="uri", uri=f"rtmp://:{port}/live/canary-key") as reading:
        stranger = feeder(clip, theirs + "another", log, "-f", "flv")
        assert await stranger.wait(10.0) != 0
        async with feeder(clip, theirs + "canary-key", log, "-f", "flv"):
            await reading.go_on(10.0, lambda: reading.size > 200_000)
        path = saved(reading, tmp_path / "out.ts")
        # It may come back.
        before = reading.size
        async with feeder(clip, theirs + "canary-key", log, "-f", "flv"):
            await reading.go_on(15.0, lambda: reading.size > before + 100_000)
        assert reading.size > before + 100_000
        assert reading.end is None
    assert await shape_of(path) == ["aac", "h264"]
    source, result = await content_of(clip), await content_of(path)
    assert set(list(result.video)[:-2]) <= set(source.video)


@pytest.fixture
async def web(clip: Path, tmp_path: Path) -> AsyncIterator[str]:
    """A server of files."""
    import http.server
    import threading
    from functools import partial

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    await as_file(clip, tmp_path / "live.m3u8", "-c", "copy", "-hls_time", "1")
    await as_file(clip, tmp_path / "clip.mp4")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", ["clip.mp4", "live.m3u8"])
async def test_the_web_is_paced(web: str, tmp_path: Path, name: str) -> None:
    async with playing(mode="uri", uri=f"{web}/{name}") as reading:
        await reading.go_on(2.0)
        assert not reading.source.is_encoding
        # It came at once, and is sent as its clock says.
        found = await probe(saved(reading, tmp_path / "out.ts"))
        assert found.video_s == pytest.approx(2.0, abs=0.4)
        await reading.go_on(LENGTH_S + 5.0)
    assert reading.end is not None
    assert reading.end.reason == "eos"


# --- what fails ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://admin:canary-secret@127.0.0.1:{port}/canary-path",
        "rtmp://127.0.0.1:{port}/live/canary-key",
        "http://127.0.0.1:{port}/canary-path.m3u8",
        "srt://127.0.0.1:{port}?passphrase=canary-passphrase",
    ],
)
async def test_where_nobody_answers_the_start_says_so_without_secrets(uri: str) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1") as failed:
        async with playing(mode="uri", uri=uri.format(port=free_tcp_port())):
            pass
    assert loop.time() - began < 9.0
    assert "canary" not in str(failed.value)
    assert "see whether" in str(failed.value) or "cannot be" in str(failed.value)


async def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(SourceUnavailable, match="/dev/video99 is not there"):
        async with playing(mode="v4l2", device="/dev/video99"):
            pass


async def test_what_is_no_camera_is_refused() -> None:
    with pytest.raises(SourceUnavailable, match="/dev/null cannot be opened"):
        async with playing(mode="v4l2", device="/dev/null"):
            pass


async def test_a_port_that_is_taken_is_named() -> None:
    port = free_udp_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", port))
        with pytest.raises(SourceUnavailable, match=rf"sport = :{port}"):
            async with playing(mode="uri", uri=f"udp://:{port}"):
                pass


async def test_a_source_that_was_there_and_stays_away_ends_the_broadcast() -> None:
    settings = SourceSettings(silence_s=0.5, retry_for_s=1.0)
    port = free_udp_port()
    async with playing(settings=settings, mode="uri", uri=f"udp://127.0.0.1:{port}") as reading:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(NULL * 7, ("127.0.0.1", port))
        await reading.go_on(10.0)
    assert reading.end is not None
    assert reading.end.reason == "source"
    assert "no media" in reading.end.detail


async def test_who_never_calls_ends_the_broadcast() -> None:
    settings = SourceSettings(listen_s=0.5)
    uri = f"rtmp://:{free_tcp_port()}/live/canary-key"
    async with playing(settings=settings, mode="uri", uri=uri) as reading:
        await reading.go_on(10.0)
    assert reading.end is not None
    assert reading.end.reason == "source"
    assert "canary" not in reading.end.detail


async def test_what_nobody_reads_is_left_out_up_to_a_key_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from strata.sender.source import pipeline

    monkeypatch.setattr(pipeline, "LIVE_BUFFERS", 200)
    async with playing(6000, mode="test", keyint=25) as reading:
        await reading.go_on(1.0)
        before = len(reading.chunks)
        await asyncio.sleep(2.0)
        await reading.go_on(2.0)
        assert reading.source.dropped_groups == 1
    after = [chunk for _, chunk in reading.chunks[before:]]
    assert after[0].is_key
    chunker = Chunker()
    assert any(chunker.one(chunk.payload).is_key for chunk in after)
    assert sum(len(chunk.payload) for chunk in after) > 500_000


async def test_stopping_twice_is_stopping() -> None:
    from strata.sender.source import open_source
    from strata.wire import agent as wire

    one = open_source(wire.Source(mode="test"), wire.Encoder(), SourceSettings())
    await one.stop()
    await one.start()
    await one.stop()
    await one.stop()
    assert one.read() == []
