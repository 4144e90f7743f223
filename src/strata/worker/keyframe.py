"""The picture that is on the air, as the control socket carries it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strata.errors import NoPicture
from strata.wire import worker as wire
from strata.worker.units import AccessUnit

PART_BYTES: Final = 45_000
"""60,000 in base64: with the words around it, and a configuration, below the 64 KiB of a line."""
CONFIG_BYTES_MAX: Final = 3000
"""Of a configuration record; usual ones have 40 to 200."""
BYTES_MAX: Final = 2 * 1024 * 1024
"""A key frame of 20 Mbps, the egress cap, has about one."""


def parts(found: tuple[AccessUnit, float] | None, id: wire.CommandId) -> Iterator[wire.KeyFrame]:
    """The pieces of a key frame.

    Args:
        found: the unit, and how many seconds ago it went on the air; None for none.

    Raises:
        NoPicture: nothing is on the air, or it is too large to be shown.
    """
    if found is None:
        raise NoPicture(
            "no picture is on the air: no video has come from the sender yet, or the forwards "
            "have ended; it can be shown when media comes"
        )
    unit, age_s = found
    if unit.size > BYTES_MAX or len(unit.format.config) > CONFIG_BYTES_MAX:
        raise NoPicture(
            f"the picture on the air takes {unit.size // 1000} kB, too much to be shown while "
            "others go out; lower the encoder's bitrate, or the size of its picture"
        )
    begins = range(0, max(1, unit.size), PART_BYTES)
    for number, begin in enumerate(begins):
        yield wire.KeyFrame(
            number,
            len(begins),
            unit.format.codec,
            "slate" if unit.stands_in else "live",
            round(age_s, 3),
            unit.data[begin : begin + PART_BYTES],
            unit.format.config if number == 0 else b"",
            id,
        )
