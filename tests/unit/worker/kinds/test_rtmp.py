from __future__ import annotations

import pytest

from strata.errors import (
    CertificateRefused,
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
    UnsupportedMedia,
)
from strata.wire import forward_url
from strata.worker import kinds
from strata.worker.gst import Gst
from strata.worker.kinds.rtmp import Rtmp
from strata.worker.units import Program

KEY = "abcd-efgh-1234"
H264 = Gst.Caps.from_string("video/x-h264,stream-format=avc,alignment=au")
H265 = Gst.Caps.from_string("video/x-h265,stream-format=hvc1,alignment=au")
AAC = Gst.Caps.from_string("audio/mpeg,mpegversion=4,stream-format=raw")
VP9 = Gst.Caps.from_string("video/x-vp9")
MP2 = Gst.Caps.from_string("audio/mpeg,mpegversion=1,layer=2")
URL = forward_url.parse(f"rtmp://media.example:1936/app/{KEY}")


def output() -> Rtmp:
    return Rtmp(URL, Program(H264, AAC), 5_000, lambda error: None)


@pytest.mark.parametrize("scheme", ["rtmp", "rtmps"])
def test_it_is_what_rtmp_urls_get(scheme: str) -> None:
    assert kinds.of(forward_url.parse(f"{scheme}://host/app/key")) is Rtmp
    assert (Rtmp.FEED, Rtmp.NETWORKED, Rtmp.RIGID) == ("units", True, False)


@pytest.mark.parametrize("program", [Program(H264, AAC), Program(None, AAC), Program(H264, None)])
def test_h264_and_aac_can_be_carried(program: Program) -> None:
    Rtmp.check(program, URL)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (Program(VP9, AAC), r"holds video/x-vp9, and rtmp://media.example:1936/app/\*\*\*\* can"),
        (Program(H264, MP2), "holds mp2.*set the encoder to AAC"),
    ],
)
def test_other_codecs_cannot(program: Program, says: str) -> None:
    with pytest.raises(UnsupportedMedia, match=says) as caught:
        Rtmp.check(program, URL)
    assert not caught.value.can_retry


@pytest.mark.skipif("h265" in Rtmp.VIDEO, reason="this GStreamer knows Enhanced RTMP")
def test_h265_cannot_where_the_muxer_does_not_know_it() -> None:
    with pytest.raises(UnsupportedMedia, match=r"holds h265.*set the encoder to H264"):
        Rtmp.check(Program(H265, AAC), URL)


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
            "Failed to connect: Unacceptable TLS certificate",
            CertificateRefused,
            "the certificate of media.example:1936 cannot be trusted, so nothing was sent",
        ),
        (
            "Error performing TLS handshake: An unexpected TLS packet was received.",
            DestinationRefused,
            "what listens on media.example:1936 does not speak TLS",
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
    assert error.can_retry == (kind is not CertificateRefused)


async def test_its_pipeline_has_a_source_for_each_track_and_the_share() -> None:
    made = output()
    assert all(made.pipeline.takes(track) for track in ("video", "audio"))
    assert not made.pipeline.takes("packets")
    assert made._sink.get_property("peak-kbps") == 5_000
    assert made.bytes_out() == 0
    assert not made._sink.get_property("async-connect")
    made.set_share(3_000)
    assert made._sink.get_property("peak-kbps") == made.share_kbps == 3_000
    await made.stop()
