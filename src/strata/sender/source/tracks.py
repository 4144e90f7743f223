"""Puts the picture and the sound that a source offers into the transport stream.

What can be passed on is; what cannot is coded anew. The first picture and the first sound are
taken, what is beyond them (a second language) is left.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from strata.media.gst import Gst, make
from strata.sender.source import choice, graph
from strata.sender.source.choice import Codec, Shape
from strata.sender.source.encoders import Asked, Encoder, audio_kbps_for, gop_for, video_kbps
from strata.sender.source.pipeline import MediaPipeline
from strata.wire import agent as wire


class Coding:
    """How what has to be encoded is.

    Args:
        wanted: of the order.
        known: the encoder that has proved itself for a shape; None where none was tried.
        on_needed: called on the event loop when one is needed that was not tried: everything
            is built again when it has been.
    """

    def __init__(
        self,
        wanted: wire.Encoder,
        known: Callable[[Codec, Shape], Encoder | None],
        on_needed: Callable[[Shape], object],
    ) -> None:
        self.wanted = wanted
        self.known = known
        self.on_needed = on_needed
        self.total_kbps = wanted.bitrate_kbps

    def asked(self, shape: Shape) -> Asked:
        return Asked(
            self.wanted.codec,
            shape,
            video_kbps(self.total_kbps, self.audio_kbps, shape.fps),
            gop_for(self.wanted.keyint_max, shape.fps),
        )

    @property
    def audio_kbps(self) -> int:
        return audio_kbps_for(self.total_kbps)


class Tracks:
    """The tracks of one pipeline.

    Args:
        live: pictures come when they come; otherwise they wait until they are wanted.
    """

    def __init__(self, pipeline: MediaPipeline, coding: Coding, *, live: bool) -> None:
        self._pipeline = pipeline
        self._coding = coding
        self._live = live
        self.mux = graph.muxer(pipeline.bin)
        self.mux.link(pipeline.sink)
        self._has_audio = False
        pipeline.has_picture = False

    def take(self, pad: Any) -> None:
        """A pad of the source, from its thread."""
        caps = pad.get_current_caps() or pad.query_caps(None)
        entry = self.entry(caps)
        target = entry if entry is not None else self._nowhere()
        pad.link(target)

    def entry(self, caps: Any, media: str | None = None) -> Any | None:
        """Where media of these caps goes in; None where it is of no use.

        Args:
            media: what it is, where the caps are those of its packets.
        """
        structure = caps.get_structure(0)
        media = media or str(structure.get_name())
        if media.startswith(("video/", "image/")) and not self._pipeline.has_picture:
            self._pipeline.has_picture = True
            return self._video(structure, media)
        if media.startswith("audio/") and not self._has_audio:
            self._has_audio = True
            return self._audio(structure, media)
        return None

    def raw_video(self, shape: Shape, encoder: Encoder, *, fits: bool = False) -> Any:
        """Where raw pictures go in.

        Args:
            fits: they are as the encoder wants them.
        """
        self._pipeline.has_picture = True
        asked = self._coding.asked(shape)
        first = (
            graph.LIVE_QUEUE + " ! " + graph.raw_caps(encoder.raw, shape)
            if fits
            else graph.fit(encoder, shape, live=self._live)
        )
        before = graph.chain(self._pipeline.bin, first)
        chain = graph.encoder(self._pipeline.bin, encoder, asked)
        after = graph.chain(self._pipeline.bin, graph.QUEUE)
        before.link(chain.first)
        chain.last.link(after)
        after.link(self.mux)
        self._pipeline.encode_with(chain, asked, self._coding.audio_kbps)
        graph.join(self._pipeline.bin, (before, chain.first, chain.last, after))
        return before.get_static_pad("sink")

    def raw_audio(self) -> Any:
        """Where raw sound goes in."""
        self._has_audio = True
        return self._to_mux(graph.aac(self._coding.audio_kbps))

    def passed_video(self, codec: Codec) -> Any:
        self._pipeline.has_picture = True
        return self._to_mux(f"{graph.parser(codec)} ! {graph.QUEUE}")

    def _video(self, structure: Any, media: str) -> Any | None:
        codec = choice.PASSED_ON.get(media)
        if codec is not None:
            return self.passed_video(codec)
        shape = choice.shape_for(
            _int(structure, "width"), _int(structure, "height"), _fraction(structure, "framerate")
        )
        encoder = self._coding.known(self._coding.wanted.codec, shape)
        if encoder is None:
            self._coding.on_needed(shape)
            return None
        raw = self.raw_video(shape, encoder)
        return raw if media == "video/x-raw" else self._decoded(raw, "video/x-raw")

    def _audio(self, structure: Any, media: str) -> Any | None:
        form = structure.get_string("stream-format")
        if choice.is_sound_passed_on(media, _int(structure, "mpegversion"), form):
            return self._to_mux(graph.AAC_PARSER)
        raw = self.raw_audio()
        return raw if media == "audio/x-raw" else self._decoded(raw, "audio/x-raw")

    def _to_mux(self, description: str) -> Any:
        made = graph.chain(self._pipeline.bin, description)
        made.link(self.mux)
        graph.join(self._pipeline.bin, (made,))
        return made.get_static_pad("sink")

    def _decoded(self, target: Any, media: str) -> Any:
        """A decoder before what takes raw media."""
        caps: Any = Gst.Caps.from_string(media)
        decode: Any = make("decodebin", caps=caps)
        self._pipeline.bin.add(decode)
        decode.connect("pad-added", lambda _bin, pad: target.is_linked() or pad.link(target))
        decode.sync_state_with_parent()
        return decode.get_static_pad("sink")

    def _nowhere(self) -> Any:
        sink = make("fakesink", sync=False)
        sink.set_property("async", False)
        self._pipeline.bin.add(sink)
        sink.sync_state_with_parent()
        return sink.get_static_pad("sink")


def _int(structure: Any, field: str) -> int | None:
    known, value = structure.get_int(field)
    return int(value) if known else None


def _fraction(structure: Any, field: str) -> Fraction | None:
    known, over, under = structure.get_fraction(field)
    return Fraction(over, under) if known and over > 0 and under > 0 else None
