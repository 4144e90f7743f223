"""With real GStreamer, for moments: what comes out is looked at in the media tests."""

from __future__ import annotations

import time

import pytest

from strata.errors import HostError, PartMissing
from strata.sender.source import picture as source
from strata.sender.source.picture import AUDIO_KBPS, Picture

DEADLINE_S = 30.0
TS_PACKET = 188
SMALL = Picture(width=160, height=90, bitrate_kbps=600)


@pytest.mark.parametrize(
    ("bitrate_kbps", "wanted"), [(2500, 2230), (5000, 4588), (300, 155), (50, 100)]
)
def test_video_gets_what_sound_and_headers_leave(bitrate_kbps: int, wanted: int) -> None:
    assert Picture(bitrate_kbps=bitrate_kbps).video_kbps == wanted
    assert AUDIO_KBPS == 128


def read_until(one: source.TestSource, enough: int) -> list[bytes]:
    found: list[bytes] = []
    give_up_at = time.monotonic() + DEADLINE_S
    while sum(map(len, found)) < enough:
        assert time.monotonic() < give_up_at
        payload = one.read(timeout_s=0.2)
        if payload is not None:
            found.append(payload)
    return found


def test_it_makes_whole_transport_packets_seven_at_a_time() -> None:
    one = source.TestSource(SMALL)
    one.start()
    try:
        payloads = read_until(one, 40_000)
    finally:
        one.stop()
    assert {len(payload) for payload in payloads} == {7 * TS_PACKET}
    stream = b"".join(payloads)
    assert {stream[at] for at in range(0, len(stream), TS_PACKET)} == {0x47}


def test_every_frame_has_its_number() -> None:
    one = source.TestSource(SMALL)
    one.start()
    try:
        read_until(one, 10_000)
        frames = one._frames
        assert frames > 0
        assert one._label.get_property("text") >= f"frame {frames:06d}"
    finally:
        one.stop()


def test_without_media_there_is_nothing_within_the_timeout() -> None:
    one = source.TestSource(SMALL)
    assert one.read(timeout_s=0.01) is None
    one.stop()


def test_a_missing_element_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_launch_line", lambda picture: "nosuchelement ! fakesink")
    with pytest.raises(PartMissing, match=r"nosuchelement.*run script/bootstrap"):
        source.TestSource(SMALL)


def test_a_pipeline_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    line = source._launch_line(SMALL).replace(
        "audiotestsrc is-live=true wave=sine freq=440 volume=0.1",
        "filesrc location=/nonexistent ! wavparse",
    )
    assert "filesrc" in line
    monkeypatch.setattr(source, "_launch_line", lambda picture: line)
    one = source.TestSource(SMALL)
    one.start()
    give_up_at = time.monotonic() + DEADLINE_S

    def read_on() -> None:
        while time.monotonic() < give_up_at:
            one.read(timeout_s=0.05)

    with pytest.raises(HostError, match="the test source failed: "):
        read_on()
    one.stop()
