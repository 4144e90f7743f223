from __future__ import annotations

from fractions import Fraction

import pytest

from strata.sender.source.choice import (
    USUAL_SHAPE,
    DeviceMode,
    Shape,
    best_mode,
    is_sound_passed_on,
    is_stream_passed_on,
    shape_for,
)


@pytest.mark.parametrize(
    ("width", "height", "fps", "wanted"),
    [
        (1280, 720, Fraction(25), Shape(1280, 720, Fraction(25))),
        (3840, 2160, Fraction(50), Shape(1920, 1080, Fraction(50))),
        (1080, 1920, Fraction(30), Shape(608, 1080, Fraction(30))),
        (641, 361, None, Shape(640, 360, Fraction(30))),
        (1, 1, Fraction(25), Shape(2, 2, Fraction(25))),
        (640, 360, Fraction(90_000), Shape(640, 360, Fraction(30))),
        (None, 720, Fraction(25), USUAL_SHAPE),
        (1280, 0, Fraction(25), USUAL_SHAPE),
    ],
)
def test_what_is_encoded_is_even_and_no_larger_than_1080(
    width: int | None, height: int | None, fps: Fraction | None, wanted: Shape
) -> None:
    assert shape_for(width, height, fps) == wanted


@pytest.mark.parametrize(
    ("media", "version", "form", "passed"),
    [
        ("audio/mpeg", 4, "adts", True),
        ("audio/mpeg", 4, "raw", True),
        ("audio/mpeg", 2, None, True),
        ("audio/mpeg", 4, "loas", False),
        ("audio/mpeg", 1, None, False),
        ("audio/x-ac3", None, None, False),
        ("audio/x-raw", None, None, False),
    ],
)
def test_sound_is_passed_on_if_it_is_aac(
    media: str, version: int | None, form: str | None, passed: bool
) -> None:
    assert is_sound_passed_on(media, version, form) == passed


@pytest.mark.parametrize(
    ("types", "passed"),
    [
        ((0x1B, 0x0F), True),
        ((0x24, 0x0F), True),
        ((0x1B,), True),
        ((0x1B, 0x06), True),
        ((0x1B, 0x0F, 0x03), True),
        ((0x1B, 0x03), False),
        ((0x1B, 0x81), False),
        ((0x1B, 0x11), False),
        ((0x02, 0x0F), False),
        ((0x0F,), False),
        ((), False),
    ],
)
def test_a_stream_is_passed_on_if_the_receiver_can_use_it(
    types: tuple[int, ...], passed: bool
) -> None:
    assert is_stream_passed_on((type, 256 + at) for at, type in enumerate(types)) == passed


def mode(media: str, width: int, height: int, fps: int, format: str = "") -> DeviceMode:
    return DeviceMode(media, width, height, Fraction(fps), format)


def test_the_largest_picture_that_moves_is_taken() -> None:
    slow = mode("video/x-raw", 1920, 1080, 5, "YUY2")
    jpeg = mode("image/jpeg", 1920, 1080, 30)
    small = mode("video/x-raw", 640, 480, 30, "YUY2")
    too_large = mode("image/jpeg", 3840, 2160, 30)
    too_fast = mode("image/jpeg", 1920, 1080, 60)
    strange = mode("video/x-bayer", 1920, 1080, 30)
    assert best_mode([slow, small, jpeg, too_large, too_fast, strange]) == jpeg
    assert best_mode([slow, small]) == small
    assert best_mode([slow]) == slow
    assert best_mode([strange]) is None


def test_what_needs_no_encoder_is_taken_before_what_needs_no_decoder() -> None:
    jpeg, raw, coded = (
        mode(media, 1280, 720, 30) for media in ("image/jpeg", "video/x-raw", "video/x-h264")
    )
    assert best_mode([jpeg, raw, coded]) == coded
    assert best_mode([jpeg, raw]) == raw
    assert raw.caps == "video/x-raw,width=1280,height=720,framerate=30/1"
