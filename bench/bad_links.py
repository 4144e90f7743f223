"""What is done to the links in ``script/bench bonding``, and when; times count from the start of
the media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EVENT_S: Final = 8.0
"""Until then all is well, and every sender knows its links."""
BACK_S: Final = 23.0
FOR_EVER_S: Final = 1_000.0


@dataclass(frozen=True, slots=True)
class Narrow:
    """One link.

    Attributes:
        kbps: what it carries; 0: all.
        changes: from when on it carries how much.
        dead: from when to when nothing passes.
    """

    kbps: float
    delay_ms: float
    changes: tuple[tuple[float, float], ...] = ()
    dead: tuple[float, float] | None = None

    def toml(self, listen: int, to: int, begin_s: float) -> str:
        """``begin_s``: of the media, after that of the relay."""
        text = (
            f'[[link]]\nlisten = "127.0.0.1:{listen}"\nto = "127.0.0.1:{to}"\n'
            f"rate-kbps = {self.kbps}\ndelay-ms = {self.delay_ms}\n"
        )
        if self.dead is not None:
            begin, end = (max(0.0, at + begin_s) for at in self.dead)
            text += f"[[link.outage]]\nbegin-s = {begin}\nend-s = {end}\n"
        for at, kbps in self.changes:
            text += f"[[link.phase]]\nat-s = {at + begin_s}\nrate-kbps = {kbps}\n"
        return text


@dataclass(frozen=True, slots=True)
class Case:
    """One table.

    Attributes:
        by_rate: librist's weights by what the links carry; the others are all 1.
        steers: the encoder follows, where the sender says what it should make.
    """

    name: str
    links: tuple[Narrow, ...]
    by_rate: tuple[int, ...]
    seconds: float
    kbps: float = 4_000.0
    buffer_ms: int = 1_000
    steers: bool = False


CARRY: Final = Case(
    "3 and 2 Mbps carry 4 Mbps", (Narrow(3_000, 20), Narrow(2_000, 40)), (3, 2), 60.0
)
DIES: Final = Case(
    "one of two links dies",
    (Narrow(6_000, 20, dead=(EVENT_S, FOR_EVER_S)), Narrow(6_000, 40)),
    (3, 2),
    20.0,
)
COLLAPSES: Final = Case(
    "one of three links falls from 3 to 0.3 Mbps",
    (Narrow(3_000, 20, changes=((EVENT_S, 300.0),)), Narrow(2_000, 40), Narrow(3_000, 30)),
    (3, 2, 3),
    22.0,
)
JOINS: Final = Case(
    "a third link comes",
    (Narrow(3_000, 20), Narrow(2_000, 40), Narrow(3_000, 30, dead=(-10.0, EVENT_S))),
    (3, 2, 3),
    20.0,
)
FALLS: Final = Case(
    "two links fall from 6 to 2 Mbps, and rise again",
    tuple(
        Narrow(3_000, delay_ms, changes=((EVENT_S, 1_000.0), (BACK_S, 3_000.0)))
        for delay_ms in (20.0, 40.0)
    ),
    (3, 2),
    45.0,
    buffer_ms=2_000,
    steers=True,
)
