"""The bad days of ``script/bench resilience``: what is done to two links, and when.

Seconds count from the first packet of the feed. Until :data:`CLEAR_S` nothing is done, so
that what is measured is a broadcast on the air, not its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.stage import WARM_UP_S
from strata.impair.path import PERFECT, Impairment, Outage

CLEAR_S: Final = WARM_UP_S
CALM_S: Final = 4.0
"""Links are perfect again for so long, so that it shows what comes back."""
POST_S: Final = 2.5
"""The feed goes on for so long after the last picture that counts, so that none is late
because nothing pushes it on."""
FIRST_OUTAGE_S: Final = CLEAR_S + 2.0


@dataclass(frozen=True, slots=True)
class Day:
    """One row of the table.

    Attributes:
        links: what each of the two links does, in both directions.
        outages: of each link.
        restart_s: the encoder is killed then, and another one begins with stamps from zero.
            The first packet or two that a ristsender is given reach no receiver, and with them
            goes the head of the first key frame: whether its slices are whole is chance.
    """

    name: str
    links: tuple[Impairment, Impairment] = (PERFECT, PERFECT)
    outages: tuple[tuple[Outage, ...], tuple[Outage, ...]] = ((), ())
    restart_s: float | None = None
    is_quick: bool = False

    @property
    def needs_s(self) -> float:
        """The least window that holds all of it and 1 s more."""
        ends = [outage.end_s for link in self.outages for outage in link]
        if self.restart_s is not None:
            ends.append(self.restart_s + 6.0)
        return max(ends, default=CLEAR_S) - CLEAR_S + 1.0


def _both(name: str, impairment: Impairment, *, is_quick: bool = False) -> Day:
    return Day(name, (impairment, impairment), is_quick=is_quick)


def _cut(name: str, *lengths: float, loss: float = 0.0, is_quick: bool = False) -> Day:
    """All links are cut, for each of these lengths in turn, with 4 s of links between."""
    begin, outages = FIRST_OUTAGE_S, []
    for length in lengths:
        outages.append(Outage(begin, begin + length))
        begin += length + 4.0
    air = Impairment(loss_percent=loss)
    return Day(name, (air, air), (tuple(outages), tuple(outages)), is_quick=is_quick)


DAYS: Final = (
    Day("no impairment", is_quick=True),
    _both("loss 2 %", Impairment(loss_percent=2)),
    _both("loss 10 %", Impairment(loss_percent=10), is_quick=True),
    _both("loss 20 %", Impairment(loss_percent=20)),
    _both(
        "loss 10 %, delay 40 ms, jitter 60 ms",
        Impairment(loss_percent=10, delay_ms=40, jitter_ms=60),
    ),
    _both("bursts of 150 ms, 5 % of the time", Impairment(burst_loss_percent=5, burst_ms=150)),
    Day(
        "the faster link cut for 8 s",
        (Impairment(delay_ms=5), Impairment(delay_ms=60, jitter_ms=20)),
        ((Outage(FIRST_OUTAGE_S, FIRST_OUTAGE_S + 8.0),), ()),
    ),
    _cut("all links cut for 0.8 s", 0.8),
    _cut("all links cut for 1 s", 1.0),
    _cut("all links cut for 5 s", 5.0, is_quick=True),
    _cut("all links cut for 5 s twice, loss 10 %", 5.0, 5.0, loss=10),
    Day("encoder killed and begun anew", restart_s=FIRST_OUTAGE_S + 2.0, is_quick=True),
)
