"""Holds the forwards of one stream to its egress cap (decision 7).

What to give each and which to give up is decided in :mod:`strata.worker.egress`; this keeps
the account: which forwards wait until it is known that they fit, what each may send, and what
those that have ended may have left in the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from strata.errors import OverCap
from strata.worker import egress
from strata.worker.egress import Claim
from strata.worker.forward import Forward
from strata.worker.hub import Hub

FADE_S: Final = 3.0
"""The kernel still sends what a closed connection has left in its socket, at its old pace."""


class EgressCap:
    """The account of one stream.

    Attributes:
        kbps: what all its forwards together may send over the network; 0 for no limit.
    """

    def __init__(self, hub: Hub, kbps: int) -> None:
        self.kbps = kbps
        self._hub = hub
        self._waiting: list[Forward] = []
        self._fading: list[tuple[float, int]] = []

    @property
    def is_sure(self) -> bool:
        """Whether the stream's rate is known well enough to refuse or give up a forward."""
        return self._hub.units_rate.is_settled

    def claims(self, forwards: Iterable[Forward]) -> list[Claim]:
        """What those of them need that send over the network, in the same order."""
        return [claim for _, claim in self._claimants(forwards)]

    def fits(self, claims: Sequence[Claim]) -> bool:
        return egress.fits(self.kbps, claims)

    def begin(self, forward: Forward, beside: Iterable[Forward]) -> None:
        """Lets the hub feed a forward. One that shares the cap with others waits until the
        stream's rate is known."""
        is_known = not self.kbps or self._hub.units_rate.kbps is not None
        if is_known or not self.claims([forward]) or not self.claims(beside):
            self._hub.add(forward)
        else:
            self._waiting.append(forward)

    def is_waiting(self, forward: Forward) -> bool:
        return forward in self._waiting

    def admit(self, forwards: Iterable[Forward]) -> None:
        """Begins those that waited and fit; the others wait on, or are given up in the end.

        Args:
            forwards: all that are to send, the oldest first, those that wait among them.
        """
        if self._hub.units_rate.kbps is None:
            return
        too_many = self.excess(forwards)
        for forward in tuple(self._waiting):
            if forward not in too_many:
                self._waiting.remove(forward)
                self._hub.add(forward)

    def excess(self, forwards: Iterable[Forward]) -> list[Forward]:
        """Those to give up, the newest, so that the others fit."""
        claimants = self._claimants(forwards)
        kept = egress.kept(self.kbps, [claim for _, claim in claimants])
        return [forward for forward, _ in claimants[kept:]]

    def forget(self, forward: Forward) -> None:
        """It ends, or has never begun."""
        self._hub.remove(forward)
        if forward in self._waiting:
            self._waiting.remove(forward)

    def fade(self, forward: Forward) -> None:
        """It has been sending and has ended."""
        if forward.share_kbps:
            self._fading.append((time.monotonic() + FADE_S, forward.share_kbps))

    def share_out(self, forwards: Iterable[Forward]) -> None:
        """Tells each what it may send.

        Args:
            forwards: all that send, those that are leaving among them.
        """
        now = time.monotonic()
        self._fading = [(until, kbps) for until, kbps in self._fading if until > now]
        kbps = self.kbps and max(1, self.kbps - sum(fading for _, fading in self._fading))
        claimants = self._claimants(forwards)
        shares = egress.shares(kbps, [claim for _, claim in claimants])
        for (forward, _), share_kbps in zip(claimants, shares, strict=True):
            forward.set_share(share_kbps)

    def error(self, claims: Sequence[Claim]) -> OverCap:
        """What is wrong with so many claims."""
        need_kbps = sum(claim.need_kbps for claim in claims)
        return OverCap(
            f"{len(claims)} forwards of this stream would send {need_kbps / 1000:.1f} Mbit/s, and "
            f"the egress cap is {self.kbps / 1000:.1f} Mbit/s; lower the encoder's bitrate or "
            "raise the cap, then set the forward again"
        )

    def _claimants(self, forwards: Iterable[Forward]) -> list[tuple[Forward, Claim]]:
        units_kbps = self._hub.units_rate.kbps or 0.0
        packets_kbps = self._hub.packets_rate.kbps or 0.0
        found = ((each, each.claim(units_kbps, packets_kbps)) for each in forwards)
        return [(forward, claim) for forward, claim in found if claim is not None]
