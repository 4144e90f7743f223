"""Formats and their description by GStreamer."""

from __future__ import annotations

from fractions import Fraction

import pytest

from strata.media.gst import Gst
from strata.worker.caps import caps_of, format_of
from strata.worker.formats import AudioFormat, VideoFormat
from strata.worker.silence import USUAL
from unit.worker.fakes import AUDIO, AVCC, VIDEO


def parsed(caps: str) -> VideoFormat | AudioFormat:
    found = Gst.Caps.from_string(caps)
    assert found is not None
    return format_of(found)


@pytest.mark.parametrize(
    ("caps", "codec"),
    [
        ("video/x-h264", "h264"),
        ("video/x-h265", "h265"),
        ("audio/mpeg,mpegversion=4", "aac"),
        ("audio/x-ac3", "audio/x-ac3"),
        ("video/mpeg,mpegversion=2", "video/mpeg"),
    ],
)
def test_codecs_have_short_names(caps: str, codec: str) -> None:
    assert parsed(caps).codec == codec


def test_sound_of_another_kind_is_not_taken_for_aac() -> None:
    assert parsed("audio/mpeg,mpegversion=1,layer=2").codec == "mp2"


def test_a_picture_is_what_its_caps_say() -> None:
    found = parsed(
        "video/x-h264,width=1280,height=720,framerate=30000/1001,profile=high,"
        f"codec_data=(buffer){AVCC.hex()}"
    )
    assert isinstance(found, VideoFormat)
    assert (found.codec, found.config) == ("h264", AVCC)
    assert (found.width, found.height, found.fps) == (1280, 720, Fraction(30000, 1001))
    assert found.profile == "high"


def test_sound_is_what_its_caps_say() -> None:
    found = parsed("audio/mpeg,mpegversion=4,rate=44100,channels=1,codec_data=(buffer)1208")
    assert isinstance(found, AudioFormat)
    assert (found.codec, found.config) == ("aac", b"\x12\x08")
    assert (found.rate, found.channels) == (44_100, 1)


@pytest.mark.parametrize(
    "caps", ["video/x-h265", "video/x-h265,framerate=0/1", "video/x-h265,framerate=[0/1,30/1]"]
)
def test_a_picture_of_which_little_is_known(caps: str) -> None:
    found = parsed(caps)
    assert found == VideoFormat("h265", b"", "")
    assert isinstance(found, VideoFormat)
    assert found.fps is None


def test_sound_of_which_little_is_known() -> None:
    assert parsed("audio/mpeg,mpegversion=4") == AudioFormat("aac", b"", "")


@pytest.mark.parametrize("format", [VIDEO, AUDIO, USUAL], ids=["video", "audio", "silence"])
def test_a_format_becomes_caps_and_the_same_format_again(
    format: VideoFormat | AudioFormat,
) -> None:
    caps = caps_of(format)
    assert caps.is_fixed()
    known = format_of(caps)
    assert (known.codec, known.config) == (format.codec, format.config)
    assert caps_of(known).is_equal(caps)
