from __future__ import annotations

from fractions import Fraction

import pytest

from strata.sender.source.choice import DeviceMode, best_mode
from strata.sender.source.device import modes_in

WEBCAM = (
    "video/x-raw, format=(string)YUY2, width=(int)1280, height=(int)720, "
    "pixel-aspect-ratio=(fraction)1/1, framerate=(fraction){ 10/1, 5/1 }; "
    "video/x-raw, format=(string)YUY2, width=(int)640, height=(int)480, "
    "pixel-aspect-ratio=(fraction)1/1, framerate=(fraction)30/1; "
    "image/jpeg, width=(int)1920, height=(int)1080, pixel-aspect-ratio=(fraction)1/1, "
    "framerate=(fraction){ 60/1, 30/1 }"
)
"""As v4l2src 1.22 describes a camera on USB."""

SENSOR = (
    "video/x-raw, format=(string){ YUY2, NV12 }, width=(int)[ 32, 3280, 2 ], "
    "height=(int)[ 32, 2464, 2 ], framerate=(fraction)[ 1/1, 90/1 ]; "
    "video/x-raw(memory:DMABuf), format=(string)NV12, width=(int)1920, height=(int)1080, "
    "framerate=(fraction)30/1; video/x-h264, stream-format=(string)byte-stream, "
    "alignment=(string)au, width=(int)[ 32, 1920 ], height=(int)[ 32, 1080 ], "
    "framerate=(fraction)[ 1/1, 90/1 ]"
)
"""As it describes a sensor that takes any size."""


def test_lists_are_every_way() -> None:
    found = list(modes_in(WEBCAM))
    assert DeviceMode("video/x-raw", 1280, 720, Fraction(5), "YUY2") in found
    assert DeviceMode("image/jpeg", 1920, 1080, Fraction(60)) in found
    assert len(found) == 5
    assert best_mode(found) == DeviceMode("image/jpeg", 1920, 1080, Fraction(30))


def test_ranges_are_the_usual_sizes() -> None:
    found = list(modes_in(SENSOR))
    assert DeviceMode("video/x-raw", 1920, 1080, Fraction(30), "NV12") in found
    assert {(mode.width, mode.height) for mode in found} == {(1920, 1080), (1280, 720), (640, 480)}
    assert best_mode(found) == DeviceMode("video/x-h264", 1920, 1080, Fraction(30))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EMPTY",
        "ANY",
        "video/x-raw",
        "audio/x-raw, rate=(int)48000",
        "video/x-raw, width=(int)5",
    ],
)
def test_what_says_no_size_is_no_way(text: str) -> None:
    assert list(modes_in(text)) == []
