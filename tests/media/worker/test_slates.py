"""Slates made by the real helper, decoded by ffmpeg."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest

from strata.errors import SlateUnavailable
from strata.worker import elementary
from strata.worker.formats import VideoFormat
from strata.worker.slates import slate
from strata.worker.slates.helper import COMMAND
from strata.worker.slates.slate import Slate
from strata.worker.slates.slates import Slates
from support.children import output_of, until
from support.media import decode_errors

NTSC: Final = Fraction(30000, 1001)
NAMES: Final = {"h264": ("H.264", "264"), "h265": ("H.265", "hevc")}

HOG: Final = "from strata.worker.slates import maker as m; m.CPU_S = 1; m.limit(); "


def live(
    codec: str = "h264",
    profile: str = "high",
    size: tuple[int, int] = (1280, 720),
    fps: Fraction | None = Fraction(25),
) -> VideoFormat:
    width, height = size
    return VideoFormat(codec, b"", "", width=width, height=height, fps=fps, profile=profile)


async def made(format: VideoFormat, file: Path | None = None, text: str = "Harbour") -> Slate:
    return await Slates(None, text, file).make(format)


def written(made: Slate, folder: Path, times: int = 1) -> Path:
    """As an elementary stream, over and over."""
    form = getattr(elementary, made.format.codec)(made.format.config)
    path = folder / f"slate.{NAMES[made.format.codec][1]}"
    path.write_bytes(b"".join(form.convert(*frame) for frame in made.frames) * times)
    return path


async def ffprobe(path: Path, *entries: str) -> list[str]:
    said = await output_of(
        *("ffprobe", "-v", "error", "-count_frames", "-of", "default=nw=1:nk=1"),
        *("-show_entries", f"stream={','.join(entries)}", path),
    )
    return said.splitlines()


async def grey(path: Path, folder: Path) -> bytes:
    """The first picture, 64x36, one byte for each pixel."""
    out = folder / "grey"
    await output_of(
        *("ffmpeg", "-v", "error", "-y", "-i", path, "-frames:v", "1"),
        *("-vf", "scale=64:36,format=gray", "-f", "rawvideo", out),
    )
    return out.read_bytes()


def name_of(value: VideoFormat | str) -> str:
    if isinstance(value, str):
        return ""
    return f"{value.codec}-{value.profile}-{value.height}"


@pytest.mark.parametrize(
    ("format", "told"),
    [
        (live(profile="constrained-baseline"), "Constrained Baseline"),
        (live(profile="baseline"), "Baseline"),
        (live(profile="main"), "Main"),
        (live(profile="high"), "High"),
        (live(profile="constrained-high"), "High"),
        (live(profile="high-10"), "High 10"),
        (live(profile="high-4:2:2"), "High 4:2:2"),
        (live(size=(1920, 1080), fps=NTSC), "High"),
        (live(size=(1920, 1080), fps=Fraction(60)), "High"),
        (live("h265", "main", (1920, 1080)), "Main"),
        (live("h265", "main-10", (640, 360), NTSC), "Main 10"),
    ],
    ids=name_of,
)
async def test_a_slate_has_the_format_of_the_video(
    format: VideoFormat, told: str, tmp_path: Path
) -> None:
    slate = await made(format)
    fps = format.fps or Fraction(0)
    assert len(slate.frames) == round(2 * fps)
    assert [key for _, key in slate.frames] == [True] + [False] * (len(slate.frames) - 1)
    assert sum(len(unit) for unit, _ in slate.frames) < 300_000
    path = written(slate, tmp_path, times=3)
    assert await decode_errors(path) == ""
    said = await ffprobe(path, "profile", "width", "height", "has_b_frames", "nb_read_frames")
    pictures = 3 * len(slate.frames)
    assert said == [told, str(format.width), str(format.height), "0", str(pictures)]
    assert await gst_profile(path, format.codec) == format.profile
    picture = await grey(path, tmp_path)
    assert max(picture) > 100, "there is no text"
    assert sorted(picture)[len(picture) // 2] < 60, "the background is not dark"


async def gst_profile(path: Path, codec: str) -> str:
    """What our own parser takes it for."""
    said = await output_of(
        *("gst-launch-1.0", "-v", "filesrc", f"location={path}", "num-buffers=4"),
        *("!", f"{codec}parse", "!", "fakesink"),
    )
    profiles = [part for part in said.split(", ") if part.startswith("profile=")]
    return profiles[-1].partition("=(string)")[2].split("\n")[0]


async def test_what_the_stream_does_not_tell_is_assumed() -> None:
    slate = await made(VideoFormat("h264", b"", "", width=320, height=240))
    assert (slate.format.profile, slate.format.fps) == ("main", 25)


@pytest.mark.parametrize(
    "text", ["", "<b>&amp;", "مرحبا \U0001f600 北京", "\0\x1b\udcff", "x" * 999]
)
async def test_any_name_can_be_shown(text: str) -> None:
    assert (await made(live(size=(320, 180)), text=text)).frames


async def test_a_profile_that_cannot_be_made_is_told() -> None:
    with pytest.raises(SlateUnavailable, match=r"h264 extended.*cannot be made.*use one of"):
        await made(live(profile="extended"))
    with pytest.raises(SlateUnavailable, match=r"a slate in h264 high, 641x481 .*cannot be made"):
        await made(live(size=(641, 481)))
    with pytest.raises(SlateUnavailable, match=r"h265 main, 3840x2160 .*more memory"):
        await made(live("h265", "main", (3840, 2160)))


async def ffmpeg(*arguments: str | Path) -> None:
    await output_of("ffmpeg", "-v", "error", "-y", *arguments)


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg"])
async def test_a_picture_keeps_its_shape(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    await ffmpeg("-f", "lavfi", "-i", "color=white:size=600x600", "-frames:v", "1", file)
    path = written(await made(live(), file), tmp_path)
    assert await decode_errors(path) == ""
    row = (await grey(path, tmp_path))[18 * 64 : 19 * 64]
    assert row[32] > 220, "the picture is white"
    assert row[2] < 60, "and has dark borders"
    assert row[61] < 60


async def test_what_is_see_through_shows_the_background(tmp_path: Path) -> None:
    file = tmp_path / "logo.png"
    clear = "color=white:size=640x360,format=rgba,geq=r=255:g=255:b=255:a='255*gt(X,320)'"
    await ffmpeg("-f", "lavfi", "-i", clear, "-frames:v", "1", file)
    row = (await grey(written(await made(live(), file), tmp_path), tmp_path))[18 * 64 : 19 * 64]
    assert row[10] < 60
    assert row[54] > 220


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds with B-frames, and sound."""
    path = tmp_path_factory.mktemp("slates") / "movie.mp4"
    arguments = (
        *("-f", "lavfi", "-i", "testsrc2=size=640x480:rate=30", "-f", "lavfi", "-i", "sine"),
        *("-t", "5", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", path),
    )
    asyncio.run(ffmpeg(*arguments))
    return path


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
async def test_a_movie_is_shown(movie: Path, container: str, tmp_path: Path) -> None:
    file = tmp_path / f"movie.{container}"
    await ffmpeg("-i", movie, "-c", "copy", file)
    slate = await made(live("h264", "main"), file)
    assert 120 <= len(slate.frames) <= 127
    assert [at for at, (_, key) in enumerate(slate.frames) if key] == [0, 50, 100]
    path = written(slate, tmp_path, times=2)
    assert await decode_errors(path) == ""
    said = await ffprobe(path, "width", "height", "has_b_frames", "nb_read_frames")
    assert said == ["1280", "720", "0", str(2 * len(slate.frames))]


async def test_a_movie_is_shown_in_h265(movie: Path, tmp_path: Path) -> None:
    path = written(await made(live("h265", "main", (640, 360)), movie), tmp_path, times=2)
    assert await decode_errors(path) == ""


async def test_a_long_movie_is_cut(movie: Path, tmp_path: Path) -> None:
    file = tmp_path / "long.mp4"
    await ffmpeg("-stream_loop", "5", "-i", movie, "-c", "copy", file)
    slate = await made(live(size=(320, 180)), file)
    assert len(slate.frames) <= 20 * 25


def png(width: int, height: int, depth: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        sum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum)

    head = struct.pack(">IIBBBBB", width, height, depth, 6, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


PLAYLIST: Final = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"just words\n" * 100, "text"),
        (os.urandom(100_000), "cannot be made from"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "cannot be made from"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40, "cannot be made from"),
        (b"\0\0\0\x18ftypmp42" + os.urandom(100_000), "cannot be made from"),
        (PLAYLIST, "cannot be made from"),
        (png(50_000, 50_000, 8, bytes(1000)), "50000x50000, and more than 36 million pixels"),
    ],
    ids=["words", "noise", "png", "jpeg", "mp4", "playlist", "bomb"],
)
async def test_a_file_that_is_no_picture_is_refused(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(SlateUnavailable, match=reason) as caught:
        await made(live(), file)
    assert "\n" not in caught.value.message


async def test_a_picture_that_wants_more_memory_than_there_is(tmp_path: Path) -> None:
    file = tmp_path / "deep.png"  # 8 bytes for each pixel
    file.write_bytes(png(8192, 4320, 16, bytes(4320 * (8192 * 8 + 1))))
    with pytest.raises(SlateUnavailable, match="want of memory, of which it may have 400 MB"):
        await made(live(), file)


def test_memory_and_processor_time_are_limited() -> None:
    def run(code: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-I", "-c", HOG + code]
        return subprocess.run(command, capture_output=True, timeout=30)

    assert b"MemoryError" in run("bytearray(450 << 20)").stderr
    assert run("bytearray(300 << 20)").returncode == 0
    assert run("\nwhile True: pass").returncode == -signal.SIGXCPU


async def test_the_helper_limits_itself_and_dies_with_the_worker() -> None:
    code = (
        f"import subprocess as s; p = s.Popen({list(COMMAND)!r}, stdin=s.PIPE); "
        "print(p.pid, flush=True); p.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        helper = Path(f"/proc/{int(parent.stdout.readline())}")
        await until(lambda: "NoNewPrivs:\t1" in (helper / "status").read_text(), 10, "its limits")
        limits = (helper / "limits").read_text().split("\n")
        found = {line[:26].strip(): line[26:].split()[0] for line in limits if line}
        assert found["Max cpu time"] == "20"
        assert found["Max data size"] == str(400 << 20)
        assert found["Max file size"] == str(64 << 20)
        assert found["Max core file size"] == "0"
        assert (helper / "oom_score_adj").read_text() == "1000\n"
        assert int((helper / "stat").read_text().rpartition(")")[2].split()[16]) >= 10  # nice
    finally:
        parent.kill()
        parent.communicate()
    await until(lambda: not helper.exists(), 10, "the helper is gone")


@pytest.mark.parametrize("line", [b"", b"junk\n", b'{"codec": "h264"}\n'])
def test_the_helper_says_in_one_line_what_is_wrong(line: bytes) -> None:
    done = subprocess.run(COMMAND, input=line, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1
    assert b"cannot be read" in done.stderr


async def test_the_worker_goes_on_while_a_slate_is_made() -> None:
    ticks = 0
    task = asyncio.create_task(made(live("h265", "main", (1920, 1080))))
    while not task.done():
        await asyncio.sleep(0.02)
        ticks += 1
    assert (await task).format == slate.unpack(slate.pack(await task)).format
    assert ticks > 10
