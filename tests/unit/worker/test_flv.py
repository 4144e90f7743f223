"""Units as FLV tags, by the byte, and read by somebody else."""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker.flv import AUDIO as AUDIO_TAG
from strata.worker.flv import SCRIPT, FlvTags
from strata.worker.flv import VIDEO as VIDEO_TAG
from strata.worker.formats import AudioFormat, Format, Program, VideoFormat
from strata.worker.units import AccessUnit
from unit.worker.fakes import (
    AUDIO,
    AVCC,
    KEY_FRAME,
    SECOND_NS,
    SILENCE,
    VIDEO,
    picture,
    sound,
    unit,
)

MS = 1_000_000
HVCC = bytes.fromhex("0101") + bytes(20) + b"\0"
H265 = VideoFormat("h265", HVCC, "video/x-h265", 640, 360, Fraction(30_000, 1_001), "main")
PROGRAM = Program(VIDEO, AUDIO)
HEAD = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
"""Of a file that holds sound and pictures (E.2); RTMP has none."""

Script: TypeAlias = dict[str, float | str]


@dataclass(frozen=True)
class Tag:
    kind: int
    at_ms: int
    body: bytes


def read(data: bytes) -> list[Tag]:
    """The tags of a stream (annex E.4.1), which have to be as they say."""
    found, at = [], 0
    while at < len(data):
        head = data[at : at + 11]
        size = int.from_bytes(head[1:4], "big")
        at_ms = head[7] << 24 | int.from_bytes(head[4:7], "big")
        assert head[8:] == b"\0\0\0"  # the stream's id
        body = data[at + 11 : at + 11 + size]
        at += 11 + size
        assert len(body) == size
        assert int.from_bytes(data[at : at + 4], "big") == 11 + size
        at += 4
        found.append(Tag(head[0], at_ms, body))
    return found


def tags(made: FlvTags, *units: AccessUnit) -> list[Tag]:
    return read(b"".join(tag for each in units for tag in made.unit(each)))


def begun(format: Format, at_ns: int = 0) -> FlvTags:
    """One that has told this format, at that time."""
    made = FlvTags()
    assert len(made.unit(unit(format, at_ns=at_ns))) == 2
    return made


def moved(each: AccessUnit, ns: int) -> AccessUnit:
    return replace(each, pts_ns=each.pts_ns + ns, dts_ns=each.dts_ns + ns)


def shown_after(each: AccessUnit, ns: int) -> AccessUnit:
    return replace(each, pts_ns=each.dts_ns + ns)


def script(data: bytes) -> Script:
    """The values of onMetaData (AMF 0: string 2, ECMA array 8, number 0)."""
    [tag] = read(data)
    assert (tag.kind, tag.at_ms) == (SCRIPT, 0) == (18, 0)
    assert tag.body.startswith(b"\x02\0\x0aonMetaData\x08")
    count, at = struct.unpack_from(">I", tag.body, 14)[0], 18
    found: Script = {}
    for _ in range(count):
        size = int.from_bytes(tag.body[at : at + 2], "big")
        name = tag.body[at + 2 : at + 2 + size].decode()
        at += 2 + size
        assert name not in found
        if tag.body[at] == 0:
            found[name] = struct.unpack_from(">d", tag.body, at + 1)[0]
            at += 9
        else:
            assert tag.body[at] == 2
            size = int.from_bytes(tag.body[at + 1 : at + 3], "big")
            found[name] = tag.body[at + 3 : at + 3 + size].decode()
            at += 3 + size
    assert tag.body[at:] == b"\0\0\x09"  # the end of an object
    return found


def test_the_first_picture_comes_after_its_configuration() -> None:
    first = picture(0)
    assert FlvTags().unit(first) == [
        b"\x09"  # video
        + (5 + len(AVCC)).to_bytes(3, "big")
        + b"\0\0\0\0"  # at 0
        + b"\0\0\0"  # stream
        + b"\x17\x00\0\0\0"  # key frame, AVC; sequence header, composition time 0
        + AVCC
        + (16 + len(AVCC)).to_bytes(4, "big"),
        b"\x09"
        + (5 + first.size).to_bytes(3, "big")
        + b"\0\0\0\0\0\0\0\x17\x01\0\0\0"  # NAL units
        + len(KEY_FRAME).to_bytes(4, "big")
        + KEY_FRAME
        + (16 + first.size).to_bytes(4, "big"),
    ]


def test_the_first_sound_comes_after_its_configuration() -> None:
    assert FlvTags().unit(sound(0)) == [
        b"\x08\0\0\x04\0\0\0\0\0\0\0\xaf\x00\x11\x90\0\0\0\x0f",
        b"\x08\0\0\x08\0\0\0\0\0\0\0\xaf\x01" + SILENCE + b"\0\0\0\x13",
    ]


def test_a_picture_that_needs_others_says_so() -> None:
    [tag] = tags(begun(VIDEO), picture(1))
    assert tag.body[:5] == b"\x27\x01\0\0\0"
    assert tag.body[5:] == picture(1).data


def test_time_begins_with_the_first_unit_and_counts_milliseconds() -> None:
    found = tags(FlvTags(), *(each(number) for number in range(3) for each in (picture, sound)))
    assert [(tag.kind, tag.at_ms) for tag in found] == [
        *((VIDEO_TAG, 0), (VIDEO_TAG, 0), (AUDIO_TAG, 0), (AUDIO_TAG, 0)),
        *((VIDEO_TAG, 40), (AUDIO_TAG, 40), (VIDEO_TAG, 80), (AUDIO_TAG, 80)),
    ]


def test_units_that_are_a_millisecond_apart_stay_so_wherever_the_stream_begins() -> None:
    for begin_ns in (0, 1, 499_999, 500_000, 999_999):
        found = tags(begun(AUDIO, begin_ns), *(moved(sound(0), begin_ns + n * MS) for n in (1, 2)))
        assert [tag.at_ms for tag in found] == [1001, 1002]


def test_what_lies_before_the_beginning_gives_nothing() -> None:
    made = FlvTags()
    made.unit(picture(3))
    assert made.unit(sound(2)) == []
    assert made.unit(moved(sound(3), -MS)) == []
    # Not even its configuration is lost with it.
    assert [tag.body[:2] for tag in tags(made, sound(3))] == [b"\xaf\0", b"\xaf\1"]


def test_the_configuration_comes_again_only_when_it_changes() -> None:
    made = FlvTags()
    tags(made, picture(0), sound(0))
    assert len(tags(made, picture(1), sound(1), picture(3), sound(3))) == 4
    same = replace(picture(6), format=replace(VIDEO, fps=None, caps="video/x-h264"))
    assert len(tags(made, same)) == 1
    other = replace(VIDEO, config=AVCC + b"\0", width=32)
    config, key = tags(made, replace(picture(9), format=other))
    assert (config.at_ms, config.body) == (360, b"\x17\0\0\0\0" + other.config)
    assert (key.at_ms, key.body[:2]) == (360, b"\x17\1")
    assert len(tags(made, sound(9), replace(picture(10), format=other))) == 2
    config, _ = tags(made, picture(12))
    assert config.body == b"\x17\0\0\0\0" + AVCC
    mono = replace(AUDIO, config=b"\x11\x88", channels=1)
    config, frame = tags(made, replace(sound(12), format=mono))
    assert (config.body, frame.body) == (b"\xaf\0\x11\x88", b"\xaf\1" + SILENCE)


@pytest.mark.parametrize(
    ("ahead_ns", "wanted"),
    [
        (0, b"\0\0\0"),
        (80 * MS, b"\0\0\x50"),
        (80 * MS - 1, b"\0\0\x4f"),
        (70_000 * MS, b"\x01\x11\x70"),
        (-40 * MS, b"\xff\xff\xd8"),
    ],
)
def test_the_composition_time_is_how_much_later_a_picture_is_shown(
    ahead_ns: int, wanted: bytes
) -> None:
    [tag] = tags(begun(VIDEO), shown_after(picture(1), ahead_ns))
    assert tag.body[:5] == b"\x27\x01" + wanted


def test_the_time_of_showing_is_true_to_the_millisecond_whatever_is_rounded() -> None:
    each = AccessUnit(VIDEO, b"", 1_033_400_000, 1_000_900_000, False)
    [tag] = tags(begun(VIDEO), each)
    assert tag.at_ms + int.from_bytes(tag.body[2:5], "big") == 1033


@pytest.mark.parametrize(
    ("ms", "stamp", "extended"),
    [
        (0xFF_FFFF, b"\xff\xff\xff", 0),
        (0x100_0000, b"\0\0\0", 1),
        (0x1FF_FFFF, b"\xff\xff\xff", 1),
        (0x7FFF_FFFF, b"\xff\xff\xff", 0x7F),
        (0x8000_0000, b"\0\0\0", 0x80),
        (0xFFFF_FFFF, b"\xff\xff\xff", 0xFF),
        (0x1_0000_0000, b"\0\0\0", 0),
        (0x1_0000_0028, b"\0\0\x28", 0),
    ],
)
def test_a_broadcast_may_last_for_weeks(ms: int, stamp: bytes, extended: int) -> None:
    made = begun(AUDIO, SECOND_NS)
    [tag] = made.unit(moved(sound(0), ms * MS))
    assert tag[:4] == b"\x08\0\0\x08"
    assert (tag[4:7], tag[7]) == (stamp, extended)
    assert len(tag) == 11 + 8 + 4


def test_over_the_turn_of_the_clock_units_stay_as_far_apart() -> None:
    begin_ns = ((1 << 32) - 60) * MS
    made = begun(VIDEO)
    found = tags(made, *(moved(picture(n), begin_ns - SECOND_NS) for n in range(1, 5)))
    assert [tag.at_ms for tag in found] == [0xFFFF_FFEC, 20, 60, 100]


def test_h265_goes_as_enhanced_rtmp_has_it() -> None:
    made = FlvTags()
    key, other = replace(picture(0), format=H265), replace(picture(1), format=H265)
    config, first = tags(made, key)
    assert config == Tag(VIDEO_TAG, 0, b"\x90hvc1" + HVCC)  # key frame, sequence start
    assert first == Tag(VIDEO_TAG, 0, b"\x93hvc1" + key.data)  # key frame, shown at once
    [at_once] = tags(made, other)
    assert at_once == Tag(VIDEO_TAG, 40, b"\xa3hvc1" + other.data)
    [later] = tags(made, shown_after(other, 80 * MS))
    assert later.body == b"\xa1hvc1\0\0\x50" + other.data
    [earlier] = tags(made, shown_after(other, -80 * MS))
    assert earlier.body == b"\xa1hvc1\xff\xff\xb0" + other.data
    [key_later] = tags(made, shown_after(moved(key, SECOND_NS), 40 * MS))
    assert key_later.body == b"\x91hvc1\0\0\x28" + key.data


def test_a_player_is_told_what_comes() -> None:
    assert script(FlvTags().begin(PROGRAM)) == {
        **{"videocodecid": 7.0, "width": 16.0, "height": 16.0, "framerate": 25.0},
        **{"audiocodecid": 10.0, "audiosamplesize": 16.0, "audiosamplerate": 48_000.0},
        **{"audiochannels": 2.0, "encoder": "Strata"},
    }


def test_of_h265_a_player_is_told_the_four_characters() -> None:
    found = script(FlvTags().begin(Program(H265, None)))
    assert found["videocodecid"] == float(int.from_bytes(b"hvc1", "big"))
    assert found["framerate"] == pytest.approx(29.97, abs=0.001)
    assert "audiocodecid" not in found


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        (Program(None, None), {}),
        (Program(VideoFormat("h264", b"", ""), None), {"videocodecid": 7.0}),
        (
            Program(VideoFormat("h264", b"", "", 640, None, None), None),
            {"videocodecid": 7.0},
        ),
        (
            Program(None, AudioFormat("aac", b"", "")),
            {"audiocodecid": 10.0, "audiosamplesize": 16.0},
        ),
    ],
)
def test_what_is_not_known_is_not_told(program: Program, wanted: Script) -> None:
    assert script(FlvTags().begin(program)) == {**wanted, "encoder": "Strata"}


def test_the_metadata_sets_no_clock() -> None:
    made = FlvTags()
    made.begin(PROGRAM)
    assert [tag.at_ms for tag in tags(made, moved(sound(0), 60 * SECOND_NS))] == [0, 0]


@given(
    dts_ms=st.integers(0, 1 << 34),
    ahead_ms=st.integers(-(1 << 23), (1 << 23) - 1),
    format=st.sampled_from((VIDEO, H265, AUDIO)),
    data=st.binary(max_size=300),
    key=st.booleans(),
)
def test_whatever_comes_is_a_tag_that_can_be_read(
    dts_ms: int, ahead_ms: int, format: Format, data: bytes, key: bool
) -> None:
    made = begun(format)
    [tag] = tags(made, AccessUnit(format, data, (dts_ms + ahead_ms) * MS, dts_ms * MS, key))
    assert tag.at_ms == dts_ms % (1 << 32)
    assert tag.body.endswith(data)


def probed(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        (
            *("ffprobe", "-loglevel", "error", "-of", "json"),
            *("-show_streams", "-show_packets", "-show_format", str(path)),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_somebody_else_reads_the_same(tmp_path: Path) -> None:
    made, path = FlvTags(), tmp_path / "name.flv"
    units = [each(number) for number in range(30) for each in (picture, sound)]
    tags_of_units = (tag for each in units for tag in made.unit(each))
    path.write_bytes(HEAD + made.begin(PROGRAM) + b"".join(tags_of_units))
    found = probed(path)
    audio, video = sorted(found["streams"], key=lambda stream: str(stream["codec_type"]))
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", 16, 16)
    assert video["avg_frame_rate"] == "25/1"
    assert (audio["codec_name"], audio["sample_rate"], audio["channels"]) == ("aac", "48000", 2)
    assert found["format"]["tags"]["encoder"] == "Strata"
    for kind, one in (("video", picture), ("audio", sound)):
        packets = [each for each in found["packets"] if each["codec_type"] == kind]
        assert [float(each["dts_time"]) for each in packets] == [
            pytest.approx(number * 0.04) for number in range(30)
        ]
        assert [int(each["size"]) for each in packets] == [one(n).size for n in range(30)]
        assert [each["flags"].startswith("K") for each in packets] == [
            one(number).key for number in range(30)
        ]


def test_somebody_else_decodes_every_picture(tmp_path: Path) -> None:
    made, path = FlvTags(), tmp_path / "name.flv"
    parts = [tag for number in range(30) for tag in made.unit(picture(number))]
    path.write_bytes(HEAD + made.begin(Program(VIDEO, None)) + b"".join(parts))
    done = subprocess.run(
        ("ffmpeg", "-loglevel", "error", "-xerror", "-i", str(path), "-f", "rawvideo", "-"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    assert len(done.stdout) == 30 * 16 * 16 * 3 // 2
