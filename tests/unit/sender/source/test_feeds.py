"""The pipelines of devices, with sources that stand in for cameras: there are none here."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any, Final

import pytest

from strata.media import gst
from strata.media.gst import Gst
from strata.sender.source import choice, feeds, graph
from strata.sender.source.choice import DeviceMode, Shape
from strata.sender.source.encoders import ENCODERS, Asked, Encoder
from strata.sender.source.pipeline import Failure, MediaPipeline
from strata.sender.source.tracks import Coding
from strata.wire import agent as wire

DEADLINE_S: Final = 10.0
SOFTWARE: Final = next(each for each in ENCODERS if each.element == "x264enc")
RAW = DeviceMode("video/x-raw", 320, 180, Fraction(25), "YUY2")
JPEG = DeviceMode("image/jpeg", 320, 180, Fraction(25))
CODED = DeviceMode("video/x-h264", 320, 180, Fraction(25))
PICTURES = {
    RAW: "videotestsrc is-live=true",
    JPEG: "videotestsrc is-live=true ! jpegenc",
    CODED: "videotestsrc is-live=true ! x264enc tune=zerolatency",
}


def coding() -> Coding:
    return Coding(wire.Encoder(bitrate_kbps=800), lambda codec, shape: SOFTWARE, print)


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has something else stand in for the element of cameras."""

    def stand_in(description: str) -> None:
        def make(factory: str, **properties: Any) -> Any:
            if factory != "v4l2src":
                return gst.make(factory, **properties)
            made: Any = Gst.parse_bin_from_description(description, True)
            return made

        monkeypatch.setattr(feeds, "make", make)

    return stand_in


@pytest.mark.parametrize("mode", [RAW, JPEG, CODED], ids=lambda mode: mode.media)
@pytest.mark.parametrize("sound", [None, "null"])
async def test_every_kind_of_camera_becomes_a_stream(
    camera: Any, mode: DeviceMode, sound: str | None
) -> None:
    camera(PICTURES[mode])
    ends: list[Failure | None] = []
    began = asyncio.Event()
    pipeline = feeds.device("/dev/video0", mode, sound, coding(), ends.append)
    await pipeline.start(began.set)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await began.wait()
    finally:
        await pipeline.stop()
    assert ends == []
    assert pipeline.is_encoding == (mode.media not in choice.PASSED_ON)


async def test_a_sound_device_that_is_not_there_is_told_from_the_camera(camera: Any) -> None:
    camera(PICTURES[RAW])
    ended: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
    pipeline = feeds.device("/dev/video0", RAW, "hw:99", coding(), ended.set_result)
    await pipeline.start(lambda: None)
    try:
        async with asyncio.timeout(DEADLINE_S):
            failure = await ended
    finally:
        await pipeline.stop()
    assert failure is not None
    assert failure.part == "sound"


async def test_where_no_encoder_was_tried_one_is_asked_for() -> None:
    needed: list[Shape] = []
    wanted = Coding(wire.Encoder(), lambda codec, shape: None, needed.append)
    feeds.device("/dev/video0", JPEG, None, wanted, lambda failure: None)
    assert needed == [Shape(320, 180, Fraction(25))]


@pytest.mark.parametrize(
    "encoder",
    [each for each in ENCODERS if Gst.ElementFactory.find(each.element) is not None],
    ids=lambda each: each.name,
)
def test_what_is_told_to_an_encoder_is_what_it_knows(encoder: Encoder) -> None:
    asked = Asked(encoder.codec, Shape(320, 180, Fraction(25)), 500, 50)
    element = gst.make(encoder.element)
    for name in encoder.told:
        assert element.find_property(name) is not None, name
    graph.told(element, encoder.properties(asked))
    assert element.get_property("bitrate") == 500


def test_an_encoder_is_told_of_another_rate() -> None:
    pipeline = MediaPipeline("a test", "", lambda failure: None)
    asked = Asked("h264", Shape(320, 180, Fraction(25)), 500, 50)
    chain = graph.encoder(pipeline.bin, SOFTWARE, asked)
    pipeline.encode_with(chain, asked, 56)
    pipeline.set_bitrate(2000)
    assert 1700 < chain.element.get_property("bitrate") < 2000
    assert pipeline.encoder is SOFTWARE


def test_what_a_sender_needs_is_installed() -> None:
    gst.require(gst.FIELD_PACKAGES)
