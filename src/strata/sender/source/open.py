"""From an order to a source."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from strata.errors import BadArguments
from strata.sender.source import choice, device, feeds, proof, ts_file, uri
from strata.sender.source.choice import Shape, is_stream_passed_on
from strata.sender.source.datagrams import Datagrams
from strata.sender.source.feeds import Feed
from strata.sender.source.played import Make, Outcome, Played
from strata.sender.source.proof import Encoders
from strata.sender.source.rtmp_listener import RtmpListener
from strata.sender.source.seam import Source, SourceSettings
from strata.wire import agent as wire

OnEnd = Callable[[Outcome], None]

USUAL: SourceSettings = SourceSettings()


def open_source(
    source: wire.Source,
    encoder: wire.Encoder,
    settings: SourceSettings = USUAL,
    encoders: Encoders = proof.HERE,
) -> Source:
    """A source as it was ordered; on the event loop. Nothing is opened yet.

    Raises:
        StrataError: the order names no source that there could be.
    """
    if source.mode == "test":
        return _played("the test picture", _test(settings), encoder, settings, encoders)
    if source.mode == "v4l2":
        path = _named(source.device, "v4l2", "device", "/dev/video0")
        make = _device(path, source.audio_device)
        return _played(f"the device {path}", make, encoder, settings, encoders)
    if source.mode == "file":
        path = _named(source.path, "file", "path", "/media/clip.mp4")
        return _file(path, source.loop, encoder, settings, encoders)
    address = uri.parse(
        _named(source.uri, "uri", "uri", "rtsp://camera/stream"), files=settings.file_uris
    )
    if address.kind == "file":
        return _file(address.path, source.loop, encoder, settings, encoders)
    return _played(
        address.shown,
        _network(address),
        encoder,
        settings,
        encoders,
        is_paced=address.kind == "http",
        listens=address.listens,
    )


def _played(
    name: str,
    make: Make,
    encoder: wire.Encoder,
    settings: SourceSettings,
    encoders: Encoders,
    **how: Any,
) -> Source:
    return Played(name, make, encoder, encoders, settings, **how)


def _named(value: str | None, mode: str, field: str, example: str) -> str:
    if not value:
        raise BadArguments(f"a source of mode {mode} needs its {field}, such as {example}")
    return value


def _test(settings: SourceSettings) -> Make:
    shape = Shape(settings.width, settings.height, Fraction(settings.fps))

    async def make(played: Played, on_end: OnEnd) -> Feed:
        chosen = await played.encoders.choose(played.coding.asked(shape))
        return feeds.test(shape, chosen, played.coding, on_end)

    return make


def _device(path: str, audio_device: str | None) -> Make:
    async def make(played: Played, on_end: OnEnd) -> Feed:
        mode = await device.mode_of(path)
        if mode.media not in choice.PASSED_ON:
            shape = choice.shape_for(mode.width, mode.height, mode.fps)
            await played.encoders.choose(played.coding.asked(shape))
        sound = None if played.lacks_sound_device else audio_device
        return feeds.device(path, mode, sound, played.coding, on_end)

    return make


def _file(
    path: str, loop: bool, encoder: wire.Encoder, settings: SourceSettings, encoders: Encoders
) -> Source:
    path = posixpath.normpath(path)
    is_ts: bool | None = None

    async def make(played: Played, on_end: OnEnd) -> Feed:
        nonlocal is_ts
        if is_ts is None:
            streams = await ts_file.streams_of(path)
            is_ts = streams is not None and is_stream_passed_on(streams)
        if is_ts:
            return ts_file.TsFile(path, on_end)
        return feeds.file(path, played.coding, on_end)

    return _played(
        f"the file {path}", make, encoder, settings, encoders, is_paced=True, is_looped=loop
    )


def _network(address: uri.SourceUri) -> Make:
    async def make(played: Played, on_end: OnEnd) -> Feed:
        if address.kind == "udp":
            if not played.recodes:
                return Datagrams(address, on_end)
            return feeds.datagrams(address, played.coding, on_end)
        if address.kind == "srt":
            return feeds.srt(address, played.coding if played.recodes else None, on_end)
        if address.listens:
            return RtmpListener(address, played.coding, on_end)
        if address.kind == "rtmp":
            return feeds.rtmp(address, played.coding, on_end)
        kinds = {"rtsp": feeds.rtsp, "http": feeds.http}
        return kinds[address.kind](address, played.coding, on_end)

    return make
