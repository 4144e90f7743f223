from __future__ import annotations

import pytest

from strata.errors import (
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    UnsupportedMedia,
)
from strata.wire import forward_url
from strata.worker.gst import Gst
from strata.worker.kinds import BY_KIND
from strata.worker.kinds.rtmp import Rtmp
from strata.worker.units import Program

KEY = "abcd-efgh-1234"
H264 = Gst.Caps.from_string("video/x-h264,stream-format=avc,alignment=au")
H265 = Gst.Caps.from_string("video/x-h265,stream-format=hvc1,alignment=au")
AAC = Gst.Caps.from_string("audio/mpeg,mpegversion=4,stream-format=raw")
MP2 = Gst.Caps.from_string("audio/mpeg,mpegversion=1,layer=2")


def output() -> Rtmp:
    url = forward_url.parse(f"rtmp://media.example:1936/app/{KEY}")
    return Rtmp(url, Program(H264, AAC), 5_000, lambda error: None)


def test_it_is_what_rtmp_urls_get() -> None:
    assert BY_KIND["rtmp"] is Rtmp
    assert Rtmp.KIND == "rtmp"


@pytest.mark.parametrize("program", [Program(H264, AAC), Program(None, AAC), Program(H264, None)])
def test_h264_and_aac_can_be_carried(program: Program) -> None:
    Rtmp.check(program)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (Program(H265, AAC), "video is h265.*set the encoder to H.264"),
        (Program(H264, MP2), "audio is mp2.*set the encoder to AAC"),
    ],
)
def test_other_codecs_cannot(program: Program, says: str) -> None:
    with pytest.raises(UnsupportedMedia, match=says) as caught:
        Rtmp.check(program)
    assert not caught.value.can_retry


@pytest.mark.parametrize(
    ("debug", "kind", "says"),
    [
        (
            "gstrtmp2sink.c(1023): ():\nFailed to connect: Could not connect to "
            "media.example: Connection refused",
            DestinationUnreachable,
            "RTMP connection refused: nothing listens on media.example:1936",
        ),
        (
            "Failed to connect: Error resolving 'media.example': Name or service not known",
            DestinationUnreachable,
            "the name media.example does not resolve",
        ),
        (
            "Failed to connect: Socket I/O timed out",
            DestinationUnreachable,
            "media.example:1936 does not answer",
        ),
        (
            "Failed to connect: Short read during handshake",
            DestinationRefused,
            "what listens on media.example:1936 does not speak RTMP",
        ),
        (
            "publish denied: stream already exists (NetStream.Publish.BadName)",
            DestinationRefused,
            "refused to take rtmp://media.example:1936/app/****; check the stream key",
        ),
        (
            "'connect' cmd failed: no such application",
            DestinationRefused,
            "refused the application of rtmp://media.example:1936/app/****",
        ),
        (
            "Connection error: Stream was closed remotely",
            DestinationError,
            "media.example:1936 closed the connection",
        ),
        ("", DestinationError, "RTMP to media.example:1936 failed: it broke; see the worker's"),
    ],
)
def test_what_gstreamer_says_in_the_words_of_an_operator(
    debug: str, kind: type[DestinationError], says: str
) -> None:
    error = output().explain("it broke", debug)
    assert type(error) is kind
    assert says in error.message
    assert KEY not in error.message
    assert error.can_retry


async def test_its_pipeline_has_a_source_for_each_track_and_the_cap() -> None:
    made = output()
    made.build(made._pipeline)
    assert set(made._sources) == {"video", "audio"}
    assert made._sink.get_property("peak-kbps") == 5_000
    assert made.bytes_out() == 0
    assert not made._sink.get_property("async-connect")
