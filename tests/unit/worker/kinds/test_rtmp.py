from __future__ import annotations

import socket

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
from strata.worker.flv import FlvTags
from strata.worker.formats import Program
from strata.worker.kinds.rtmp import Rtmp
from strata.worker.output import QUEUE_S_MAX
from strata.worker.units import AccessUnit
from unit.worker.fakes import AUDIO, H265, OTHER_AUDIO, OTHER_VIDEO, VIDEO, picture, sound

KEY = "abcd-efgh-1234"
URL = forward_url.parse(f"rtmp://media.example:1936/app/{KEY}")


def output() -> Rtmp:
    return Rtmp(URL, Program(VIDEO, AUDIO), 5_000, lambda error: None)


@pytest.mark.parametrize("scheme", ["rtmp", "rtmps"])
def test_it_is_what_rtmp_urls_get(scheme: str) -> None:
    assert kinds.of(forward_url.parse(f"{scheme}://host/app/key")) is Rtmp
    assert (Rtmp.FEED, Rtmp.NETWORKED, Rtmp.RIGID) == ("units", True, False)


@pytest.mark.parametrize(
    "program", [Program(VIDEO, AUDIO), Program(None, AUDIO), Program(VIDEO, None)]
)
def test_h264_and_aac_can_be_carried(program: Program) -> None:
    Rtmp.check(program, URL)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (
            Program(OTHER_VIDEO, AUDIO),
            r"holds mpeg2, and rtmp://media.example:1936/app/\*\*\*\* can",
        ),
        (Program(VIDEO, OTHER_AUDIO), "holds mp2.*set the encoder to AAC"),
    ],
)
def test_other_codecs_cannot(program: Program, says: str) -> None:
    with pytest.raises(UnsupportedMedia, match=says) as caught:
        Rtmp.check(program, URL)
    assert not caught.value.can_retry


@pytest.mark.skipif("h265" in Rtmp.VIDEO, reason="this GStreamer knows Enhanced RTMP")
def test_h265_cannot_where_the_sink_does_not_know_it() -> None:
    with pytest.raises(UnsupportedMedia, match=r"holds h265.*set the encoder to H264"):
        Rtmp.check(Program(H265, AUDIO), URL)


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


async def test_its_pipeline_has_a_source_for_tags_and_the_share() -> None:
    made = output()
    assert made.pipeline.takes("tags")
    assert not any(made.pipeline.takes(feeder) for feeder in ("video", "audio", "packets"))
    assert made._sink.get_property("peak-kbps") == 5_000
    assert made.bytes_out() == 0
    assert not made._sink.get_property("async-connect")
    made.set_share(3_000)
    assert made._sink.get_property("peak-kbps") == made.share_kbps == 3_000
    await made.stop()


def queued_after(made: Rtmp, *units: AccessUnit) -> int:
    """Bytes of tags that wait because of these units."""
    before = made.pipeline.queued_bytes("tags")
    for unit in units:
        made.push(unit)
    return made.pipeline.queued_bytes("tags") - before


def tags_of(*units: AccessUnit) -> int:
    """Bytes that these units are on the way."""
    tags = FlvTags()
    return sum(len(tag) for unit in units for tag in tags.unit(unit))


async def test_what_the_stream_is_comes_before_all_else() -> None:
    made = output()
    assert made.pipeline.queued_bytes("tags") == len(FlvTags().begin(Program(VIDEO, AUDIO)))
    await made.stop()


async def test_it_begins_with_a_key_frame() -> None:
    made = output()
    assert queued_after(made, sound(0), picture(1), sound(1), picture(2)) == 0
    assert made.dropped == 0  # what came before the key frame was never due
    units = (picture(3), sound(3), picture(4))
    assert queued_after(made, *units) == tags_of(*units)
    await made.stop()


async def test_where_there_is_no_room_whole_groups_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = output()
    queued_after(made, picture(0))
    room = False
    monkeypatch.setattr(made, "has_room", lambda feeder: room)
    assert queued_after(made, picture(1), sound(1), picture(3)) == 0
    room = True
    assert queued_after(made, picture(4), sound(4)) == 0
    assert made.dropped == 3
    assert queued_after(made, picture(6)) == len(FlvTags().unit(picture(6))[-1])
    assert made.dropped == 3
    await made.stop()


async def test_what_waits_is_bounded_in_seconds_of_media() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # which never says a word
        url = forward_url.parse(f"rtmp://127.0.0.1:{server.getsockname()[1]}/app/{KEY}")
        made = Rtmp(url, Program(VIDEO, AUDIO), 0, lambda error: None)
        await made.start()
        count = 0
        while not made.dropped:
            queued_after(made, picture(count), sound(count))
            count += 1
            assert count < 25 * (QUEUE_S_MAX + 1)
        assert made.pipeline.queued_s("tags") == pytest.approx(QUEUE_S_MAX, abs=0.1)
        await made.stop()


@pytest.mark.parametrize("is_over", [True, False])
async def test_only_at_the_end_of_the_broadcast_the_session_is_closed_in_form(
    is_over: bool,
) -> None:
    made = output()
    assert int(made._sink.get_property("stop-commands")) == 0
    made.end(is_over=is_over)
    assert bool(int(made._sink.get_property("stop-commands"))) is is_over
    await made.stop()
