"""Access units on their way into a transport stream, made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker import elementary
from strata.worker.elementary import START, BadMedia

SPS, PPS = b"\x67sequence", b"\x68picture"
VPS5, SPS5, PPS5 = b"\x40\x01video", b"\x42\x01sequence", b"\x44\x01picture"
KEY, FRAME = b"\x65key", b"\x41frame"
KEY5, FRAME5 = b"\x26\x01key", b"\x02\x01frame"


def sized(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def counted(*sets: bytes) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in sets)


AVCC = b"\x01\x64\x00\x1f\xff\xe1" + counted(SPS) + b"\x01" + counted(PPS)
HVCC = (
    bytes(22)
    + b"\x03"
    + b"".join(
        bytes((kind, 0, 1)) + counted(each) for kind, each in ((32, VPS5), (33, SPS5), (34, PPS5))
    )
)


def test_a_key_frame_of_h264_gets_its_parameter_sets() -> None:
    form = elementary.h264(AVCC)
    assert form.convert(sized(KEY), key=True) == (
        START + b"\x09\xf0" + START + SPS + START + PPS + START + KEY
    )
    assert form.convert(sized(FRAME, FRAME), key=False) == (
        START + b"\x09\xf0" + START + FRAME + START + FRAME
    )


def test_a_key_frame_of_h265_gets_its_parameter_sets() -> None:
    form = elementary.h265(HVCC)
    assert form.convert(sized(KEY5), key=True) == (
        START + b"\x46\x01\x50" + START + VPS5 + START + SPS5 + START + PPS5 + START + KEY5
    )
    assert form.convert(sized(FRAME5), key=False) == START + b"\x46\x01\x50" + START + FRAME5


def test_sets_and_delimiters_that_are_there_are_not_doubled() -> None:
    found = elementary.h264(AVCC).convert(sized(b"\x09\x10", SPS, PPS, KEY), key=True)
    assert found.count(START + SPS) == found.count(START + PPS) == 1
    assert found.count(START + b"\x09") == 1
    found = elementary.h265(HVCC).convert(sized(b"\x46\x01\x10", VPS5, SPS5, PPS5, KEY5), key=True)
    assert found.count(START + SPS5) == 1
    assert found.count(START + b"\x46") == 1


def test_the_parameter_sets_are_there_as_a_container_has_them() -> None:
    assert elementary.h264(AVCC).bare_sets == sized(SPS, PPS)
    assert elementary.h265(HVCC).bare_sets == sized(VPS5, SPS5, PPS5)


def test_an_empty_unit_is_left_out() -> None:
    found = elementary.h264(AVCC).convert(sized(b"", FRAME), key=False)
    assert found == START + b"\x09\xf0" + START + FRAME


@given(st.binary(max_size=40), st.booleans())
def test_whatever_comes_is_converted_or_refused(unit: bytes, key: bool) -> None:
    form = elementary.h264(AVCC)
    try:
        found = form.convert(unit, key)
    except BadMedia:
        return
    assert found.startswith(form.delimiter)


@given(st.binary(max_size=60))
def test_whatever_the_configuration_is_it_is_read_or_refused(record: bytes) -> None:
    for read in (elementary.h264, elementary.h265, elementary.aac):
        try:
            read(record)
        except BadMedia:
            continue


@pytest.mark.parametrize("cut", range(1, len(AVCC) - 5))
def test_half_a_configuration_is_refused(cut: int) -> None:
    with pytest.raises(BadMedia, match="shorter than it says"):
        elementary.h264(AVCC[:-cut])


@pytest.mark.parametrize(
    ("config", "frequency", "channels"),
    [(b"\x11\x90", 3, 2), (b"\x12\x10", 4, 2), (b"\x14\x08", 8, 1), (b"\x11\xb0", 3, 6)],
)
def test_sound_gets_a_header(config: bytes, frequency: int, channels: int) -> None:
    adts = elementary.aac(config)
    assert (adts.frequency, adts.channels) == (frequency, channels)
    found = adts.convert(b"frame")
    assert found[:2] == b"\xff\xf1"
    assert found[2] >> 6 == 1
    assert found[2] >> 2 & 0x0F == frequency
    assert (found[2] & 1) << 2 | found[3] >> 6 == channels
    assert (found[3] & 3) << 11 | found[4] << 3 | found[5] >> 5 == len(found) == 12
    assert found[7:] == b"frame"


@pytest.mark.parametrize("config", [b"\x17\x90", b"\x11\x80", b"\x11"])
def test_sound_that_adts_cannot_describe_is_refused(config: bytes) -> None:
    with pytest.raises(BadMedia):
        elementary.aac(config)
