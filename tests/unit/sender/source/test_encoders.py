from __future__ import annotations

from fractions import Fraction
from string import Formatter

import pytest

from strata.sender.source import encoders
from strata.sender.source.choice import Shape
from strata.sender.source.encoders import ENCODERS, Asked, Encoder

ASKED = Asked("h264", Shape(1280, 720, Fraction(25)), 2000, 50)


def of(element: str) -> Encoder:
    return next(each for each in ENCODERS if each.element == element)


def test_chips_come_before_software_and_faster_software_last() -> None:
    for codec in ("h264", "h265"):
        there = encoders.candidates(codec)  # type: ignore[arg-type]
        order = [each.is_hardware for each in there]
        assert order == sorted(order, reverse=True)
        assert there[-1].least_speed == 0
        assert len({each.name for each in there}) == len(there)


@pytest.mark.parametrize(
    ("element", "property", "text"),
    [
        ("x264enc", "bitrate", "2000"),
        ("x264enc", "vbv-buf-capacity", "400"),
        ("vah264enc", "cpb-size", "800"),
        ("vaapih264enc", "keyframe-period", "50"),
        ("mpph264enc", "bps", "2000000"),
    ],
)
def test_each_is_told_in_its_own_units(element: str, property: str, text: str) -> None:
    assert of(element).properties(ASKED)[property] == text


def test_v4l2_is_told_by_its_controls() -> None:
    told = of("v4l2h264enc").properties(ASKED)["extra-controls"]
    assert "video_bitrate=2000000," in told
    assert "h264_i_frame_period=50" in told
    assert of("v4l2h264enc").changes(ASKED) == {"extra-controls": "controls,video_bitrate=2000000"}


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda each: f"{each.element}-{each.name}")
def test_what_is_told_can_be_filled_in(encoder: Encoder) -> None:
    words = set(ASKED.words())
    for told in (encoder.told, encoder.told_again):
        for text in told.values():
            fields = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
            assert fields <= words
    assert set(encoder.told_again) <= set(encoder.told)
    assert encoder.changes(ASKED), "its rate could not follow the links"


@pytest.mark.parametrize(
    ("total", "audio", "least", "most"),
    [(6000, 128, 5600, 5750), (2000, 128, 1750, 1800), (500, 56, 370, 395), (100, 56, 100, 100)],
)
def test_the_picture_gets_what_is_left(total: int, audio: int, least: int, most: int) -> None:
    assert encoders.audio_kbps_for(total) == audio
    assert least <= encoders.video_kbps(total, audio, Fraction(25)) <= most
    assert encoders.video_kbps(total, 0, Fraction(25)) >= encoders.video_kbps(
        total, audio, Fraction(25)
    )


def test_a_key_frame_comes_within_ten_seconds() -> None:
    assert encoders.gop_for(60, Fraction(30)) == 60
    assert encoders.gop_for(1000, Fraction(25)) == 250
    assert encoders.gop_for(1, Fraction(1, 100)) == 1
