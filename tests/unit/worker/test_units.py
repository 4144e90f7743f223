from __future__ import annotations

import pytest

from strata.worker.gst import Gst
from strata.worker.units import Program, codec_of

VIDEO = Gst.Caps.from_string("video/x-h264,stream-format=avc")
AUDIO = Gst.Caps.from_string("audio/mpeg,mpegversion=4")


def test_a_program_has_the_tracks_that_exist_video_first() -> None:
    assert Program(VIDEO, AUDIO).tracks() == [("video", VIDEO), ("audio", AUDIO)]
    assert Program(None, AUDIO).tracks() == [("audio", AUDIO)]
    assert Program(VIDEO, None).tracks() == [("video", VIDEO)]
    assert Program(None, None).tracks() == []


@pytest.mark.parametrize(
    ("caps", "codec"),
    [
        ("video/x-h264", "h264"),
        ("video/x-h265", "h265"),
        ("audio/mpeg,mpegversion=4", "aac"),
        ("audio/mpeg,mpegversion=1,layer=2", "mp2"),
        ("audio/x-ac3", "audio/x-ac3"),
    ],
)
def test_codecs_have_short_names(caps: str, codec: str) -> None:
    found = Gst.Caps.from_string(caps)
    assert found is not None
    assert codec_of(found) == codec
