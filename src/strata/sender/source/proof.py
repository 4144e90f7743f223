"""Which encoder is used: the first that encodes a second of picture here, at the real size.

An element that is installed says little: the chip may be missing, its driver broken, the size
too large for it. Each candidate is tried in a process of its own with a deadline; those of chips
at the same time. What was found is remembered as long as the program runs.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from strata import helpers
from strata.errors import EncoderUnavailable
from strata.media.gst import Gst
from strata.sender.source import encoders
from strata.sender.source.choice import Codec, Shape
from strata.sender.source.encoders import Asked, Encoder
from strata.sender.source.trial import Trial, Tried

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-I", "-m", "strata.sender.source.prover")
CHIP_DEADLINE_S: Final = 2.5
SOFTWARE_DEADLINE_S: Final = 3.0
"""Together less than the 8 s within which a source begins; the last in the list, too, has as
long."""
_ANSWER_BYTES: Final = 4096


class Encoders:
    """What is known of this machine's encoders.

    Args:
        command: the process that tries one.
    """

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._chosen: dict[tuple[Codec, Shape], Encoder] = {}
        self._distrusted: set[str] = set()
        self._lock = asyncio.Lock()

    def known(self, codec: Codec, shape: Shape) -> Encoder | None:
        """The one that has proved itself, if it was asked for before."""
        return self._chosen.get((codec, shape))

    def distrust(self, encoder: Encoder) -> None:
        """It failed on the air: another one from now on."""
        self._distrusted.add(encoder.name)
        self._chosen = {
            key: chosen for key, chosen in self._chosen.items() if chosen.name != encoder.name
        }

    async def choose(self, asked: Asked) -> Encoder:
        """The best that works.

        Raises:
            EncoderUnavailable: none does.
        """
        key = (asked.codec, asked.shape)
        async with self._lock:
            if key not in self._chosen:
                self._chosen[key] = await self._prove(asked)
            return self._chosen[key]

    async def _prove(self, asked: Asked) -> Encoder:
        there = [
            each
            for each in encoders.candidates(asked.codec)
            if each.name not in self._distrusted
            and Gst.ElementFactory.find(each.element) is not None
        ]
        refused: list[str] = []
        chips = [each for each in there if each.is_hardware]
        tried = await asyncio.gather(
            *(self._try(each, asked, CHIP_DEADLINE_S, refused) for each in chips)
        )
        for encoder, is_good in zip(chips, tried, strict=True):
            if is_good:
                return _chosen(encoder, asked)
        for encoder in there:
            if not encoder.is_hardware and await self._try(
                encoder, asked, SOFTWARE_DEADLINE_S, refused
            ):
                return _chosen(encoder, asked)
        if not there:
            refused.append("none is installed (Debian packages: gstreamer1.0-plugins-ugly, -bad)")
        raise EncoderUnavailable(
            f"no encoder for {asked.codec} encodes {asked.shape} on this machine: "
            f"{'; '.join(refused)}; give a smaller picture, or a camera that encodes by itself"
        )

    async def _try(
        self, encoder: Encoder, asked: Asked, deadline_s: float, refused: list[str]
    ) -> bool:
        shape = asked.shape
        trial = Trial(
            encoders.ENCODERS.index(encoder),
            shape.width,
            shape.height,
            (shape.fps.numerator, shape.fps.denominator),
            asked.kbps,
            asked.gop,
        )
        line = msgspec.json.encode(trial) + b"\n"
        why = ""
        try:
            answer = await helpers.ask(self._command, line, deadline_s, _ANSWER_BYTES)
            if answer.status != 0:
                why = answer.words or f"it ended with status {answer.status}"
            else:
                speed = msgspec.json.decode(answer.output, type=Tried).speed
                if speed < encoder.least_speed:
                    why = f"it is {speed:.1f} times as fast as needed; {encoder.least_speed} is"
                    why += " what it takes"
        except TimeoutError:
            why = f"a second of picture took it more than {deadline_s:g} s"
        except (OSError, helpers.TooLong, msgspec.MsgspecError) as error:
            why = f"it could not be tried: {error}"
        if why:
            log.info("encoder %s is not used for %s: %s", encoder.name, shape, why)
            refused.append(f"{encoder.name}: {why}")
        return not why


def _chosen(encoder: Encoder, asked: Asked) -> Encoder:
    log.info("%s at %s is encoded with %s", asked.codec, asked.shape, encoder.name)
    return encoder


HERE: Final = Encoders()
"""Of this program."""
