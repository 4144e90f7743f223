"""Small pictures by the real helper, of real and of hostile key frames."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from strata import helpers
from strata.host.thumbnails import COMMAND, DEADLINE_S
from strata.media.gst import Gst
from strata.wire import helpers as wire
from strata.worker.thumbnail.drawing import DECODERS
from support.children import output_of

NAMES: Final = {"h264": "264", "h265": "265"}
ENCODERS: Final = {"h264": "libx264", "h265": "libx265"}
FORMS: Final = {"h264": "avc", "h265": "hvc1"}
RED: Final = "color=red:"


async def key_frame(
    folder: Path,
    codec: Any = "h264",
    source: str = "testsrc2=",
    size: str = "1920x1080",
    *more: str,
) -> wire.Draw:
    """The first picture of a film, in the form that a worker has it."""
    path = folder / f"film.{NAMES[codec]}"
    pixels = () if "-pix_fmt" in more else ("-pix_fmt", "yuv420p")
    quiet = ("-x265-params", "log-level=none") if codec == "h265" else ()
    await output_of(
        *("ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"{source}size={size}:rate=25"),
        *("-frames:v", "3", "-c:v", ENCODERS[codec], *quiet, "-preset", "ultrafast"),
        *(*pixels, *more, path),
    )
    form = f"video/x-{codec},stream-format={FORMS[codec]},alignment=au"
    pipeline: Any = Gst.parse_launch(
        f"filesrc location={path} ! {codec}parse ! {form} ! appsink name=out sync=false"
    )
    pipeline.set_state(Gst.State.PLAYING)
    sample = pipeline.get_by_name("out").try_pull_sample(10 * Gst.SECOND)
    config = sample.get_caps().get_structure(0).get_value("codec_data")
    unit = sample.get_buffer()
    draw = wire.Draw(
        codec,
        config.extract_dup(0, config.get_size()),
        unit.extract_dup(0, unit.get_size()),
    )
    pipeline.set_state(Gst.State.NULL)
    return draw


async def drawn(draw: wire.Draw) -> helpers.Answer:
    return await helpers.ask(COMMAND, wire.encode(draw), DEADLINE_S, wire.MAX_JPEG_BYTES)


def size_of(jpeg: bytes) -> tuple[int, int]:
    """From the frame header (ITU-T T.81 section B.2.2)."""
    at = jpeg.index(b"\xff\xc0")
    height, width = struct.unpack(">HH", jpeg[at + 5 : at + 9])
    return width, height


async def colour(jpeg: bytes, folder: Path) -> tuple[int, int, int]:
    """In the middle of the picture."""
    (folder / "one.jpg").write_bytes(jpeg)
    await output_of(
        *("ffmpeg", "-v", "error", "-y", "-i", folder / "one.jpg"),
        *("-vf", "scale=3:3,format=rgb24", "-f", "rawvideo", folder / "rgb"),
    )
    red, green, blue = (folder / "rgb").read_bytes()[12:15]
    return red, green, blue


@pytest.mark.parametrize(
    ("codec", "size", "small"),
    [
        ("h264", "1920x1080", (320, 180)),
        ("h264", "720x1280", (320, 569)),
        ("h264", "160x90", (320, 180)),
        ("h265", "1920x1080", (320, 180)),
        ("h265", "3840x2160", (320, 180)),
        ("h264", "4096x2160", (320, 169)),
    ],
)
async def test_a_key_frame_is_drawn(
    tmp_path: Path, codec: str, size: str, small: tuple[int, int]
) -> None:
    answer = await drawn(await key_frame(tmp_path, codec, RED, size))
    assert answer.status == 0, answer.words
    assert size_of(answer.output) == small
    red, green, blue = await colour(answer.output, tmp_path)
    assert red > 200
    assert max(green, blue) < 60


async def test_pixels_that_are_not_square_are_shown_as_they_are_meant(tmp_path: Path) -> None:
    draw = await key_frame(tmp_path, "h264", RED, "720x576", "-aspect", "16:9")
    assert size_of((await drawn(draw)).output) == (320, 180)


async def test_noise_is_made_small_enough(tmp_path: Path) -> None:
    draw = await key_frame(
        tmp_path, "h264", "nullsrc=", "1280x720", "-vf", "geq=random(1)*255:128:128", "-crf", "28"
    )
    assert len(draw.data) > 100_000
    answer = await drawn(draw)
    assert answer.status == 0, answer.words
    assert 5_000 < len(answer.output) <= wire.MAX_JPEG_BYTES


@pytest.mark.parametrize(
    "element", [name for names in DECODERS.values() for name in names if not name.startswith("av")]
)
async def test_the_decoders_that_are_always_there_do(tmp_path: Path, element: str) -> None:
    codec = next(codec for codec, names in DECODERS.items() if element in names)
    draw = await key_frame(tmp_path, codec, RED)
    done = only(element, draw)
    assert done.returncode == 0, done.stderr
    red, green, blue = await colour(done.stdout, tmp_path)
    assert red > 200
    assert max(green, blue) < 60


async def test_what_such_a_decoder_does_not_take_is_told_with_what_would(tmp_path: Path) -> None:
    draw = await key_frame(tmp_path, "h264", RED, "640x360", "-pix_fmt", "yuv422p10le")
    done = only("openh264dec", draw)
    assert done.returncode == 1
    assert b"apt-get install gstreamer1.0-libav" in done.stderr


def only(element: str, draw: wire.Draw) -> subprocess.CompletedProcess[bytes]:
    """As on a machine with no other decoder."""
    script = (
        "import sys\n"
        "from strata.worker.thumbnail import drawing, maker\n"
        f"drawing.DECODERS = {{'h264': ({element!r},), 'h265': ({element!r},)}}\n"
        "sys.exit(maker.main())\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-c", script],
        input=wire.encode(draw),
        capture_output=True,
        check=False,
        timeout=30,
    )


@pytest.mark.skipif(
    Gst.ElementFactory.find("avdec_h264") is None, reason="gstreamer1.0-libav is not installed"
)
@pytest.mark.parametrize(
    "more",
    [("-pix_fmt", "yuv422p10le"), ("-flags", "+ilme+ildct"), ("-pix_fmt", "yuv420p10le")],
    ids=["4:2:2", "interlaced", "10 bits"],
)
async def test_what_studios_send_is_drawn(tmp_path: Path, more: tuple[str, ...]) -> None:
    answer = await drawn(await key_frame(tmp_path, "h264", RED, "1920x1080", *more))
    assert answer.status == 0, answer.words
    assert size_of(answer.output) == (320, 180)


async def test_hostile_bytes_end_the_helper_and_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(7)
    good = {codec: await key_frame(tmp_path, codec, size="640x360") for codec in NAMES}
    drawings = [
        wire.Draw("h264", b"", b""),
        wire.Draw("h264", good["h264"].config, b""),
        wire.Draw("h264", b"\xff" * 3000, good["h264"].data),
        wire.Draw("h265", good["h264"].config, good["h264"].data),
        wire.Draw("h264", good["h264"].config, b"\xff\xff\xff\xff" * 1000),
        wire.Draw("h264", good["h264"].config, b"\0\0\0\0" * 100_000),
        wire.Draw("h264", good["h264"].config, chance.randbytes(2_000_000)),
    ]
    for draw in good.values():
        for _ in range(8):
            data, config = bytearray(draw.data), bytearray(draw.config)
            for _ in range(20):
                data[chance.randrange(4, len(data))] = chance.randrange(256)
            config[chance.randrange(len(config))] ^= 1 << chance.randrange(8)
            drawings.append(wire.Draw(draw.codec, bytes(config), bytes(data)))
    for draw in drawings:
        answer = await drawn(draw)
        if answer.status == 0:
            assert size_of(answer.output)[0] == 320
        else:
            assert answer.words or answer.status < 0
        assert "Strata's own" not in answer.words


async def test_a_picture_of_a_size_that_no_memory_has_is_refused(tmp_path: Path) -> None:
    draw = await key_frame(tmp_path, "h264", RED, "4096x4096")
    answer = await drawn(draw)
    assert answer.status == 1
    assert "its picture is of 4096x4096" in answer.words


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"[1]\n", b'{"codec":"av1"}\n', b"\xff\n"])
async def test_a_line_that_is_none_is_told(line: bytes) -> None:
    answer = await helpers.ask(COMMAND, line, DEADLINE_S, wire.MAX_JPEG_BYTES)
    assert answer.status == 1
    assert answer.words == "a line cannot be read as Draw"
