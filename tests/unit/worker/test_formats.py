"""What a track is made of."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from typing import Any

import pytest

from strata.worker.formats import (
    FREQUENCIES,
    USUAL_RATE,
    AudioFormat,
    Format,
    Program,
    VideoFormat,
)
from unit.worker.fakes import AUDIO, H265, VIDEO


def config(index: int, kind: int = 2, channels: int = 2) -> bytes:
    """An AudioSpecificConfig: five bits, four and four (ISO/IEC 14496-3 table 1.15)."""
    return (kind << 11 | index << 7 | channels << 3).to_bytes(2, "big")


def test_a_program_has_the_tracks_that_exist_video_first() -> None:
    assert Program(VIDEO, AUDIO).tracks() == [VIDEO, AUDIO]
    assert Program(None, AUDIO).tracks() == [AUDIO]
    assert Program(VIDEO, None).tracks() == [VIDEO]
    assert Program(None, None).tracks() == []


def test_a_program_names_its_codecs() -> None:
    assert Program(VIDEO, AUDIO).codecs == ("h264", "aac")
    assert Program(H265, None).codecs == ("h265", None)
    assert Program(None, AUDIO).codecs == (None, "aac")
    assert Program(None, None).codecs == (None, None)


def test_a_format_knows_its_track() -> None:
    assert (VIDEO.track, AUDIO.track) == ("video", "audio")


@pytest.mark.parametrize("change", [{"fps": Fraction(30)}, {"fps": None}, {"caps": "video/x-h264"}])
def test_what_needs_no_other_sequence_header_is_the_same_format(change: dict[str, Any]) -> None:
    assert replace(VIDEO, **change) == VIDEO
    assert hash(replace(VIDEO, **change)) == hash(VIDEO)


@pytest.mark.parametrize(
    "change",
    [{"codec": "h265"}, {"config": b"other"}, {"width": 32}, {"height": 32}, {"profile": "high"}],
)
def test_what_needs_another_is_another_format(change: dict[str, Any]) -> None:
    assert replace(VIDEO, **change) != VIDEO


def test_sound_is_compared_by_what_a_decoder_is_told() -> None:
    assert replace(AUDIO, caps="audio/mpeg") == AUDIO
    for change in ({"config": b"\x11\x88"}, {"rate": 44_100}, {"channels": 1}):
        assert replace(AUDIO, **change) != AUDIO
    sound: Format = AudioFormat("x", b"", "")
    assert sound != VideoFormat("x", b"", "")


@pytest.mark.parametrize(
    ("fps", "wanted_ns"),
    [
        (Fraction(25), 40_000_000),
        (Fraction(50), 20_000_000),
        (Fraction(30_000, 1_001), 33_366_666),
        (Fraction(1, 2), 2_000_000_000),
        (None, 40_000_000),
    ],
)
def test_how_long_a_picture_is_shown(fps: Fraction | None, wanted_ns: int) -> None:
    assert replace(VIDEO, fps=fps).unit_ns == wanted_ns


@pytest.mark.parametrize("index", range(13))
def test_the_frequency_of_sound_is_that_of_its_configuration(index: int) -> None:
    # The rate that a parser tells may be twice that: with SBR.
    found = replace(AUDIO, config=config(index), rate=96_000)
    assert found.frequency == FREQUENCIES[index]
    assert found.unit_ns == 1024 * 1_000_000_000 // FREQUENCIES[index]


@pytest.mark.parametrize("config", [b"", b"\x11", config(13), config(15)])
def test_where_the_configuration_tells_no_frequency_the_parser_does(config: bytes) -> None:
    assert replace(AUDIO, config=config, rate=44_100).frequency == 44_100
    assert replace(AUDIO, config=config, rate=None).frequency == USUAL_RATE


def test_a_frame_of_sound_lasts_1024_samples() -> None:
    assert AUDIO.unit_ns == 21_333_333
    assert replace(AUDIO, config=bytes.fromhex("1210")).unit_ns == 23_219_954


def test_a_bare_format_is_none() -> None:
    with pytest.raises(TypeError):
        Format("x", b"", "")  # type: ignore[abstract]


def test_formats_are_shared_and_stay_as_they_are() -> None:
    for format in (VIDEO, AUDIO):
        with pytest.raises(FrozenInstanceError):
            format.codec = "x"  # type: ignore[misc]
