"""What is asked of the process that tries an encoder, and what it answers. Pure."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from strata.sender.source import encoders
from strata.sender.source.choice import Shape
from strata.sender.source.encoders import Asked, Encoder


class Trial(msgspec.Struct, frozen=True):
    """What is to be tried: ``number`` in the list of encoders."""

    number: int
    width: int
    height: int
    fps: tuple[int, int]
    kbps: int
    gop: int

    @property
    def encoder(self) -> Encoder:
        return encoders.ENCODERS[self.number]

    @property
    def asked(self) -> Asked:
        shape = Shape(self.width, self.height, Fraction(*self.fps))
        return Asked(self.encoder.codec, shape, self.kbps, self.gop)


class Tried(msgspec.Struct, frozen=True):
    """``speed``: times as fast as the pictures would come."""

    speed: float
