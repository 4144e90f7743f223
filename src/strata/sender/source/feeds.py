"""The pipelines, one for each kind of source.

    test    videotestsrc, audiotestsrc
    v4l2    v4l2src, alsasrc or silence
    rtsp    rtspsrc ─► depayloader for each track
    srt     srtsrc: a transport stream as it is, or ─► parsebin where it has to be coded anew
    rtmp    rtmp2src ─► flvdemux; where others publish here, see rtmp_listener.py
    http    souphttpsrc ─► parsebin
    file    filesrc ─► parsebin

Whoever makes one starts it, and is told of its end (:mod:`strata.sender.source.played`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from strata.media import debug_log
from strata.media.gst import Gst, make
from strata.sender.source import choice, graph
from strata.sender.source.choice import DeviceMode, Shape
from strata.sender.source.encoders import Encoder
from strata.sender.source.picture import describe
from strata.sender.source.pipeline import Failure, MediaPipeline
from strata.sender.source.tracks import Coding, Tracks
from strata.sender.source.uri import SourceUri

OnEnd: TypeAlias = Callable[[Failure | None], None]

FLV_SOURCE: Final = "published"
RTSP_LATENCY_MS: Final = 200
"""For packets that come late or in another order; over TCP, for what a camera holds back."""
NETWORK_TIMEOUT_S: Final = 5
SRT_LATENCY_MS: Final = 200
AHEAD_S: Final = 0.3
"""Of what is coded and waits to be sent, of a file: a change of the rate is seen after it."""
FILE_BUFFERS: Final = 500
"""The same of what is passed on: 650 kB."""
_BUFFER_KBIT: Final = 7 * 188 * 8 / 1000


class Feed(Protocol):
    """One try to play a source."""

    has_overflown: bool

    @property
    def is_encoding(self) -> bool: ...

    @property
    def encoder(self) -> Encoder | None: ...

    async def start(self, on_media: Callable[[], None]) -> None:
        """Raises:
        StrataError: it cannot begin.
        """

    def pull(self) -> list[bytes]: ...

    def set_bitrate(self, total_kbps: int) -> None: ...

    async def stop(self) -> None: ...


def test(shape: Shape, encoder: Encoder, coding: Coding, on_end: OnEnd) -> MediaPipeline:
    """The test picture: moving bars, a clock, the number of each picture, a tone."""
    pipeline = MediaPipeline("the test picture", "", on_end)
    tracks = Tracks(pipeline, coding, live=True)
    picture = graph.chain(pipeline.bin, describe(shape, encoder.raw), begins=True)
    number_pictures(picture)
    tone = graph.chain(pipeline.bin, "audiotestsrc is-live=true wave=sine freq=440 volume=0.1")
    picture.get_static_pad("src").link(tracks.raw_video(shape, encoder, fits=True))
    tone.get_static_pad("src").link(tracks.raw_audio())
    return pipeline


def number_pictures(picture: Any) -> None:
    """Writes its number on each."""
    label = picture.get_by_name("frame")
    count = 0

    def number(pad: Any, info: Any) -> Any:
        nonlocal count
        count += 1
        label.set_property("text", f"frame {count:06d}")
        return Gst.PadProbeReturn.OK

    label.get_static_pad("video_sink").add_probe(Gst.PadProbeType.BUFFER, number)


def device(
    path: str,
    mode: DeviceMode,
    audio_device: str | None,
    coding: Coding,
    on_end: OnEnd,
) -> MediaPipeline:
    """A camera or a capture card. Silence where there is no device for the sound."""
    pipeline = MediaPipeline(f"the device {path}", "", on_end)
    tracks = Tracks(pipeline, coding, live=True)
    source = make("v4l2src", device=path, do_timestamp=True)
    pipeline.bin.add(source)
    caps: Any = Gst.Caps.from_string(mode.caps)
    filter: Any = make("capsfilter", caps=caps)
    pipeline.bin.add(filter)
    source.link(filter)
    entry = tracks.entry(caps)
    if entry is not None:
        filter.get_static_pad("src").link(entry)
    if audio_device:
        sound = graph.chain(pipeline.bin, "alsasrc name=alsa do-timestamp=true ! queue")
        sound.get_by_name("alsa").set_property("device", audio_device)
        pipeline.sound = sound
    else:
        sound = graph.chain(pipeline.bin, graph.SILENCE)
    sound.get_static_pad("src").link(tracks.raw_audio())
    return pipeline


def rtsp(uri: SourceUri, coding: Coding, on_end: OnEnd) -> MediaPipeline:
    """A camera. Over TCP: what is lost between camera and sender nobody repairs."""
    pipeline = _network(uri, on_end)
    tracks = Tracks(pipeline, coding, live=True)
    source: Any = make(
        "rtspsrc",
        location=uri.uri,
        latency=RTSP_LATENCY_MS,
        tcp_timeout=NETWORK_TIMEOUT_S * 1_000_000,
        teardown_timeout=Gst.SECOND // 2,
    )
    Gst.util_set_object_arg(source, "protocols", "tcp")
    entries: dict[str, Any] = {}

    def select(_source: Any, _number: int, caps: Any) -> bool:
        # Told of each track before any plays: so the tables are complete from the start.
        structure = caps.get_structure(0)
        kind = structure.get_string("media") or ""
        name = (structure.get_string("encoding-name") or "").upper()
        known = choice.RTP_DEPAYLOADERS.get((kind, name))
        if known is None or kind in entries:
            return False
        depayloader, media = known
        entry = tracks.entry(Gst.Caps.from_string(media))
        if entry is None:
            return False
        depay = graph.chain(pipeline.bin, depayloader)
        depay.get_static_pad("src").link(entry)
        depay.sync_state_with_parent()
        entries[kind] = depay.get_static_pad("sink")
        return True

    def on_pad(_source: Any, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        entry = entries.get(caps.get_structure(0).get_string("media") or "")
        if entry is not None and not entry.is_linked():
            pad.link(entry)

    source.connect("select-stream", select)
    source.connect("pad-added", on_pad)
    pipeline.bin.add(source)
    return pipeline


def srt(uri: SourceUri, coding: Coding | None, on_end: OnEnd) -> MediaPipeline:
    """A transport stream over SRT; as it is without ``coding``."""
    pipeline = _network(uri, on_end)
    source: Any = make("srtsrc", latency=int(uri.options.get("latency", SRT_LATENCY_MS)))
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    source.set_property("uri", f"srt://{host}:{uri.port}")
    Gst.util_set_object_arg(source, "mode", "listener" if uri.listens else "caller")
    # What calls anew, and says so, is who opened it.
    for name, value in (("auto-reconnect", False), ("keep-listening", uri.listens)):
        if source.find_property(name) is not None:
            source.set_property(name, value)
    for name in ("passphrase", "streamid"):
        if name in uri.options:
            source.set_property(name, uri.options[name])
    if "pbkeylen" in uri.options:
        Gst.util_set_object_arg(source, "pbkeylen", uri.options["pbkeylen"])
    pipeline.bin.add(source)
    if coding is None:
        source.link(pipeline.sink)
    else:
        _parse(pipeline, source, coding, live=True)
    return pipeline


def datagrams(uri: SourceUri, coding: Coding, on_end: OnEnd) -> MediaPipeline:
    """A transport stream in datagrams, where it has to be coded anew."""
    pipeline = _network(uri, on_end)
    source = make("udpsrc", address=uri.host or "0.0.0.0", port=uri.port or 0)
    source.set_property("caps", Gst.Caps.from_string("video/mpegts,systemstream=true"))
    pipeline.bin.add(source)
    _parse(pipeline, source, coding, live=True)
    return pipeline


def rtmp(uri: SourceUri, coding: Coding, on_end: OnEnd) -> MediaPipeline:
    """What somebody publishes to a server, fetched from there."""
    pipeline = _network(uri, on_end)
    source = make("rtmp2src", location=uri.uri, timeout=NETWORK_TIMEOUT_S, do_timestamp=True)
    pipeline.bin.add(source)
    _take_flv(pipeline, source, coding)
    return pipeline


def flv(uri: SourceUri, coding: Coding, on_end: OnEnd) -> MediaPipeline:
    """What somebody publishes here: FLV that is pushed into its source."""
    pipeline = _network(uri, on_end)
    source = make("appsrc", is_live=True, format=Gst.Format.BYTES, max_bytes=0)
    source.set_property("name", FLV_SOURCE)
    pipeline.bin.add(source)
    _take_flv(pipeline, source, coding)
    return pipeline


def http(uri: SourceUri, coding: Coding, on_end: OnEnd) -> MediaPipeline:
    """HLS, or a file: it comes as fast as the network goes, and is sent as its clock says."""
    pipeline = _network(uri, on_end)
    source = make("souphttpsrc", location=uri.uri, timeout=NETWORK_TIMEOUT_S * 2)
    pipeline.bin.add(source)
    _parse(pipeline, source, coding, live=False)
    return pipeline


def file(path: str, coding: Coding, on_end: OnEnd) -> MediaPipeline:
    """One pass through a file."""
    pipeline = MediaPipeline(f"the file {path}", "", on_end)
    source = make("filesrc", location=path)
    pipeline.bin.add(source)
    _parse(pipeline, source, coding, live=False)
    return pipeline


def _network(uri: SourceUri, on_end: OnEnd) -> MediaPipeline:
    debug_log.conceal(uri.uri)
    return MediaPipeline(uri.shown, uri.uri, on_end)


def _take_flv(pipeline: MediaPipeline, source: Any, coding: Coding) -> None:
    """Takes apart what comes over RTMP. Not with parsebin: who tunes in is often given sound
    first, and it would take that for all there is."""
    tracks = Tracks(pipeline, coding, live=True)
    demuxer: Any = make("flvdemux")
    pipeline.bin.add(demuxer)
    source.link(demuxer)

    def wait_for_picture(pad: Any, info: Any) -> Any:
        has_picture = pipeline.has_picture
        return Gst.PadProbeReturn.REMOVE if has_picture else Gst.PadProbeReturn.DROP

    def on_pad(_demuxer: Any, pad: Any) -> None:
        pad.add_probe(Gst.PadProbeType.BUFFER, wait_for_picture)
        tracks.take(pad)

    demuxer.connect("pad-added", on_pad)


def _parse(pipeline: MediaPipeline, source: Any, coding: Coding, *, live: bool) -> None:
    """Has what comes recognised and taken apart, and its tracks taken."""
    tracks = Tracks(pipeline, coding, live=live)
    if not live:
        pipeline.wait_for_reader(FILE_BUFFERS)
    parse: Any = make("parsebin")
    pipeline.bin.add(parse)
    source.link(parse)

    def on_pad(_parse: Any, pad: Any) -> None:
        tracks.take(pad)
        if not live and pipeline.encoding is not None:
            buffers = max(20, int(coding.total_kbps * AHEAD_S / _BUFFER_KBIT))
            pipeline.wait_for_reader(buffers)

    parse.connect("pad-added", on_pad)
