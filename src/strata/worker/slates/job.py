"""One pipeline that makes a slate: what all of them end with, and how they are run."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from strata.media.gst import Gst, make, told
from strata.worker.formats import VideoFormat
from strata.worker.sizes import SizeGuard
from strata.worker.slates.encoder import Recipe, claim, encoder
from strata.worker.slates.slate import Request, Slate, begins_anew, pictures_only

GROUP_S: Final = 2
"""Of a still picture in all, and between the key frames of a movie. Platforms ask for it."""
MOVIE_S: Final = 20
MOVIE_CPU_S: Final = 14.0
MOVIE_WALL_S: Final = 22.0
"""When a movie is cut short: well before the process is killed. Half a movie is better than
none."""
PACKED_BYTES: Final = 48 * 1024 * 1024
QUIET_S: Final = 10.0
"""Without one picture. A decoder that waits for something waits for ever."""


class Job:
    """One pipeline, from its sources to the coded pictures."""

    def __init__(self, request: Request, recipe: Recipe, *, movie: bool) -> None:
        self.request = request
        self.recipe = recipe
        self.group = max(2, round(request.fps * GROUP_S))
        self._most = max(2, round(request.fps * MOVIE_S)) if movie else self.group
        self._pipeline: Any = Gst.Pipeline.new("slate")
        self._sink: Any = make("appsink", sync=False, max_buffers=4, enable_last_sample=False)
        coded: Any = make("capsfilter", caps=Gst.Caps.from_string(recipe.form))
        parser: Any = make(recipe.parser)
        chain = encoder(request, recipe, self.group, movie=movie)
        # The encoder knows the profile only from what follows it.
        self._tail = self.chain(*chain, parser, coded, self._sink)
        self._sizes = SizeGuard()

    def chain(self, *elements: Any) -> Any:
        """Adds and links elements; returns the first."""
        for each in elements:
            self._pipeline.add(each)
        for each, following in pairwise(elements):
            _link(each, following)
        for each in reversed(elements):
            each.sync_state_with_parent()
        return elements[0]

    def end_with(self, *elements: Any) -> Any:
        """The same, and links the last to the encoder."""
        first = self.chain(*elements)
        _link(elements[-1], self._tail)
        return first

    def guard(self, pad: Any) -> None:
        """Lets no picture through that is too large to be decoded."""
        self._sizes.watch(pad)

    def run(self) -> Slate:
        """Raises ValueError, with a reason."""
        self._pipeline.set_state(Gst.State.PLAYING)
        try:
            frames, caps = self._pull()
        finally:
            self._pipeline.set_state(Gst.State.NULL)
        if not frames or not begins_anew(self.request.codec, frames[0][0]):
            raise ValueError("the encoder gave no picture to begin with")
        return Slate(_format_of(caps, self.request.codec, self.recipe), tuple(frames))

    def _pull(self) -> tuple[list[tuple[bytes, bool]], Any]:
        frames: list[tuple[bytes, bool]] = []
        caps: Any = None
        size = 0
        began = last = time.monotonic()
        while len(frames) < self._most and size < PACKED_BYTES:
            sample = self._sink.try_pull_sample(Gst.SECOND // 10)
            now = time.monotonic()
            if sample is not None:
                buffer = sample.get_buffer()
                caps, last = sample.get_caps(), now
                unit = buffer.extract_dup(0, buffer.get_size())
                key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
                frames.append((pictures_only(self.request.codec, unit), key))
                size += len(unit)
            elif self._sink.is_eos():
                break
            else:
                self._look_for_errors()
            if now - last > QUIET_S:
                raise ValueError(f"no picture came for {QUIET_S:.0f} s")
            late = time.process_time() > MOVIE_CPU_S or now - began > MOVIE_WALL_S
            if late and len(frames) >= self.group:
                break
        self._look_for_errors()
        return frames, caps

    def _look_for_errors(self) -> None:
        message = self._pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        if self._sizes.refused:
            raise ValueError(self._sizes.refused)
        if message is not None:
            raise ValueError(told(message))


def _link(one: Any, other: Any) -> None:
    if not one.link(other):
        raise ValueError(f"{one.get_factory().name} does not link with {other.get_factory().name}")


def _format_of(caps: Any, codec: str, recipe: Recipe) -> VideoFormat:
    structure = caps.get_structure(0)
    data = structure.get_value("codec_data")
    if data is None:
        raise ValueError("the encoder gave no configuration")
    _, numerator, denominator = structure.get_fraction("framerate")
    profile = structure.get_string("profile")
    made = VideoFormat(
        codec=codec,
        config=bytes(data.extract_dup(0, data.get_size())),
        caps=caps.to_string(),
        width=structure.get_int("width")[1],
        height=structure.get_int("height")[1],
        fps=Fraction(numerator, denominator) if denominator else None,
        profile=None if profile is None else str(profile),
    )
    return claim(made, recipe)
