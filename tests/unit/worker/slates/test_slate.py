"""The form of a slate, and of the request for one."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker.formats import VideoFormat
from strata.worker.slates import slate
from strata.worker.slates.slate import Request, Slate

KEY, FRAME = b"\x65key", b"\x41frame"
KEY5, FRAME5 = b"\x26\x01key", b"\x02\x01frame"
FORMAT = VideoFormat(
    codec="h264",
    config=b"\x01\x64\x00\x1f",
    caps="video/x-h264, profile=(string)high",
    width=1280,
    height=720,
    fps=Fraction(30000, 1001),
    profile="high",
)
REQUEST = Request("h264", "high", 1280, 720, Fraction(30000, 1001), "Name", None)


def sized(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


SLATE = Slate(FORMAT, ((sized(KEY), True), (sized(FRAME, FRAME), False)))

units = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=3).map(
    lambda nals: sized(*nals)
)
formats = st.builds(
    VideoFormat,
    codec=st.just("h264"),
    config=st.binary(max_size=40),
    caps=st.text(st.characters(codec="utf-8")).map(lambda text: f"video/x-h264,{text}"),
    width=st.integers(16, 8192),
    height=st.integers(16, 8192),
    fps=st.fractions(Fraction(1, 1001), Fraction(300)),
    profile=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
)
requests = st.builds(
    Request,
    codec=st.sampled_from(["h264", "h265"]),
    profile=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    width=st.integers(16, 8192),
    height=st.integers(16, 8192),
    fps=st.fractions(Fraction(1, 1001), Fraction(300)),
    text=st.text(st.characters(codec="utf-8"), max_size=200),
    file=st.none() | st.text(st.characters(codec="utf-8")),
)


@given(formats, units, st.lists(st.tuples(units, st.booleans()), max_size=4))
def test_what_is_packed_is_unpacked(
    format: VideoFormat, first: bytes, others: list[tuple[bytes, bool]]
) -> None:
    made = Slate(format, ((sized(KEY) + first, True), *others))
    assert slate.unpack(slate.pack(made)) == made


def test_a_slate_of_h265_is_packed_too() -> None:
    format = replace(FORMAT, codec="h265", caps="video/x-h265,profile=main", profile="main")
    made = Slate(format, ((sized(KEY5), True), (sized(FRAME5), False)))
    assert slate.unpack(slate.pack(made)) == made


@given(requests)
def test_a_request_is_one_line_of_json(request_: Request) -> None:
    line = slate.write_request(request_)
    assert line.index(b"\n") == len(line) - 1
    assert slate.read_request(line) == request_


def test_the_fields_of_a_request_have_these_names() -> None:
    assert json.loads(slate.write_request(REQUEST)) == {
        "codec": "h264",
        "profile": "high",
        "width": 1280,
        "height": 720,
        "fps": [30000, 1001],
        "text": "Name",
        "file": None,
    }
    assert str(REQUEST) == "h264 high, 1280x720 at 29.97 pictures a second"
    assert str(replace(REQUEST, fps=Fraction(50))).endswith("at 50 pictures a second")


def changed(**fields: Any) -> bytes:
    """A packed slate whose header says something else."""
    head, _, body = slate.pack(SLATE).partition(b"\n")
    return json.dumps(json.loads(head) | fields).encode() + b"\n" + body


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"", "no header"),
        (b"{}", "no header"),
        (b"{}\n", "missing required field"),
        (b"\xff\n", "cannot be read"),
        (b'"\xff"\n', "cannot be read"),
        (b"[" * 5000 + b"\n", "cannot be read"),
        (changed(more=1), "unknown field"),
        (changed(version=2), "version 2"),
        (changed(codec="av1"), "cannot be read"),
        (changed(codec="h265"), "calls itself 'video/x-h264'"),
        (changed(caps="audio/mpeg"), "calls itself"),
        (changed(config="xy"), "hexadecimal"),
        (changed(width=0), "cannot be read"),
        (changed(height=10**9), "cannot be read"),
        (changed(fps=[25, 0]), "frame rate of 25/0"),
        (changed(fps=[-25, 1]), "frame rate"),
        (changed(fps=[0, 1]), "frame rate"),
        (changed(fps=[10**6, 1]), "frame rate"),
        (changed(fps=25), "cannot be read"),
        (changed(profile=None), "cannot be read"),
        (changed(frames=[]), "more or fewer"),
        (changed(frames=[[8, True]]), "more or fewer"),
        (changed(frames=[[8, True], [-8, True]]), "cannot be read"),
        (changed(frames=[[9, True], [19, False]]), "do not add up"),
        (changed(frames=[[8, False], [20, False]]), "IDR"),
        (slate.pack(SLATE) + b"x", "more or fewer"),
        (slate.pack(SLATE)[:-1], "more or fewer"),
        (changed(frames=[]).partition(b"\n")[0] + b"\n", "IDR"),
    ],
)
def test_what_is_no_slate_is_refused(packed: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        slate.unpack(packed)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_whatever_comes_is_unpacked_or_refused(noise: bytes, at: int) -> None:
    packed = slate.pack(SLATE)
    for data in (noise, packed[:at] + noise + packed[at:], packed[:at] + noise):
        try:
            assert slate.unpack(data).frames
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (Slate(FORMAT, ()), "IDR"),
        (Slate(FORMAT, ((sized(KEY), False),)), "IDR"),
        (Slate(FORMAT, ((sized(FRAME), True),)), "IDR"),
        (Slate(FORMAT, ((sized(KEY, b""), True),)), "add up"),
        (Slate(replace(FORMAT, fps=None), SLATE.frames), "cannot be read"),
        (Slate(replace(FORMAT, profile=None), SLATE.frames), "cannot be read"),
        (Slate(replace(FORMAT, width=None), SLATE.frames), "cannot be read"),
    ],
)
def test_what_is_not_whole_is_not_packed(made: Slate, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        slate.pack(made)


def test_parameter_sets_and_messages_are_left_out() -> None:
    unit = sized(b"\x09\xf0", b"\x67sps", b"\x68pps", b"\x06sei", KEY, FRAME)
    assert slate.pictures_only("h264", unit) == sized(KEY, FRAME)
    unit = sized(b"\x40\x01vps", b"\x42\x01sps", b"\x44\x01pps", b"\x4e\x01sei", KEY5)
    assert slate.pictures_only("h265", unit) == sized(KEY5)


def test_an_idr_picture_is_known() -> None:
    assert slate.begins_anew("h264", sized(KEY))
    assert not slate.begins_anew("h264", sized(FRAME))
    assert slate.begins_anew("h265", sized(KEY5))
    assert slate.begins_anew("h265", sized(b"\x28\x01key"))
    assert not slate.begins_anew("h265", sized(b"\x2a\x01clean random access"))


def test_the_request_follows_the_video() -> None:
    assert slate.request_for(FORMAT, "Name", None) == REQUEST
    made = slate.request_for(replace(FORMAT, codec="h265"), "Name", "/a.png")
    assert (made.codec, made.text, made.file) == ("h265", "", "/a.png")


def test_what_the_video_does_not_tell_is_assumed() -> None:
    made = slate.request_for(replace(FORMAT, fps=None, profile=None), "Name", None)
    assert (made.fps, made.profile) == (25, "main")


def test_a_name_that_is_long_or_no_unicode_is_taken() -> None:
    assert slate.request_for(FORMAT, "x" * 1000, None).text == "x" * 200
    assert slate.request_for(FORMAT, "a\udcffb", None).text == "a?b"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"codec": "av1"}, "the video is av1"),
        ({"width": None}, "size"),
        ({"height": None}, "size"),
        ({"width": 8}, "cannot be read"),
        ({"fps": Fraction(1000)}, "frame rate of 1000/1"),
    ],
)
def test_there_is_no_slate_for_every_video(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        slate.request_for(replace(FORMAT, **fields), "Name", None)


def test_each_request_has_a_key_of_its_own() -> None:
    others = [
        replace(REQUEST, profile="main"),
        replace(REQUEST, width=1282),
        replace(REQUEST, text="Other"),
        replace(REQUEST, file="/a.png"),
    ]
    keys = {slate.key_of(each) for each in (REQUEST, *others)}
    keys |= {slate.key_of(others[-1], stamp) for stamp in ((1, 2), (2, 1))}
    assert len(keys) == 7
    assert slate.key_of(REQUEST) == slate.key_of(replace(REQUEST))
    assert all(key.isalnum() and len(key) == 32 for key in keys)


def test_a_slate_that_fits_is_told_from_one_that_does_not() -> None:
    assert slate.misfit(SLATE, REQUEST) is None
    why = slate.misfit(SLATE, replace(REQUEST, profile="main"))
    assert why == "its profile became high where main was asked for"
    for other in (replace(REQUEST, height=722), replace(REQUEST, fps=Fraction(25))):
        assert slate.misfit(SLATE, other) is not None


def test_only_frame_rates_have_a_form_of_their_own() -> None:
    with pytest.raises(NotImplementedError):
        slate.write_request(replace(REQUEST, file=object()))  # type: ignore[arg-type]
