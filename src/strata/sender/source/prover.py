"""Tries one encoder and ends: ``python -I -m strata.sender.source.prover``.

One line of JSON on standard input, how fast it was on standard output
(:mod:`strata.sender.source.trial`). Exit status 0, or 1 with the reason as the last line on
standard error.

In a process of its own, because a driver that is broken may hang, or end the process.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any, Final

import msgspec

from strata.errors import StrataError
from strata.sender.source.encoders import Asked, Encoder
from strata.sender.source.trial import Trial, Tried

MAX_LINE_BYTES: Final = 4096
LIFE_S: Final = 20
"""After which it ends itself, should nobody be left to do so."""


def main() -> int:
    signal.alarm(LIFE_S)
    try:
        trial = msgspec.json.decode(sys.stdin.buffer.readline(MAX_LINE_BYTES), type=Trial)
        speed = _try(trial.encoder, trial.asked)
        sys.stdout.buffer.write(msgspec.json.encode(Tried(round(speed, 2))))
        sys.stdout.buffer.flush()
    except (StrataError, ValueError, msgspec.MsgspecError) as error:
        print(" ".join(str(error).split()), file=sys.stderr, flush=True)
        return 1
    return 0


def _try(encoder: Encoder, asked: Asked) -> float:
    """Encodes a second of picture.

    Raises:
        ValueError: it does not; says why.
    """
    from strata.media.gst import Gst, told
    from strata.sender.source import graph

    pictures = max(2, round(asked.shape.fps))
    pipeline: Any = Gst.Pipeline.new(None)
    picture = graph.chain(
        pipeline,
        f"videotestsrc num-buffers={pictures} horizontal-speed=4 ! "
        f"{graph.raw_caps(encoder.raw, asked.shape)}",
    )
    chosen = graph.encoder(pipeline, encoder, asked)
    sink = graph.chain(pipeline, "fakesink sync=false")
    picture.link(chosen.first)
    chosen.last.link(sink)
    came: list[tuple[float, bool]] = []

    def on_buffer(pad: Any, info: Any) -> Any:
        flags = info.get_buffer().get_flags()
        came.append((time.monotonic(), not flags & Gst.BufferFlags.DELTA_UNIT))
        return Gst.PadProbeReturn.OK

    sink.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, on_buffer)
    pipeline.set_state(Gst.State.PLAYING)
    kinds = Gst.MessageType.ERROR | Gst.MessageType.EOS
    message = pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, kinds)
    why = told(message) if message.type == Gst.MessageType.ERROR else None
    pipeline.set_state(Gst.State.NULL)
    if why is not None:
        raise ValueError(why)
    if len(came) < pictures or not came[0][1]:
        raise ValueError(f"{len(came)} of {pictures} pictures came out, or no key frame first")
    took_s = max(came[-1][0] - came[0][0], 0.001)
    return (len(came) - 1) / float(asked.shape.fps) / took_s


if __name__ == "__main__":
    sys.exit(main())
