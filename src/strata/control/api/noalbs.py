"""The numbers of a stream in the form that NOALBS reads, as those of its server type ``Rist``.

NOALBS (github.com/NOALBS/nginx-obs-automatic-low-bitrate-switching) switches the scenes of OBS
by what arrives. It reads ``receiver-stats.flowinstant.peers[].stats`` with rates in bit/s, sums
the rates and takes the mean of the round trips; no ``receiver-stats`` is offline to it. It sends
no header, so the token is part of the address.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from strata.control.api.access import At, Watcher
from strata.control.live import Live
from strata.control.streams import View

router = APIRouter(prefix="/api/noalbs", tags=["streams"])


class PeerStats(BaseModel):
    rtt: float = Field(description="ms; 0 where none has been measured, as in librist")
    avg_rtt: float
    bitrate: int = Field(description="bit/s")
    avg_bitrate: int


class Peer(BaseModel):
    stats: PeerStats


class FlowInstant(BaseModel):
    peers: list[Peer]


class ReceiverStats(BaseModel):
    flowinstant: FlowInstant


class NoalbsOut(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)

    receiver_stats: ReceiverStats | None = Field(
        alias="receiver-stats", description="null: nobody knows what arrives"
    )

    @classmethod
    def of(cls, live: Live | None) -> NoalbsOut:
        """One peer for all links together: an encoder that sends everything over each of them
        would count twice."""
        if live is None or live.stats is None:
            return cls(**{"receiver-stats": None})
        trips = [each.rtt_ms for each in live.stats.links if each.state == "up" and each.rtt_ms]
        rtt_ms = sum(trips) / len(trips) if trips else 0.0
        bits = round(live.stats.bitrate_in_kbps * 1000)
        stats = PeerStats(rtt=rtt_ms, avg_rtt=rtt_ms, bitrate=bits, avg_bitrate=bits)
        flow = FlowInstant(peers=[Peer(stats=stats)])
        return cls(**{"receiver-stats": ReceiverStats(flowinstant=flow)})


@router.get("")
async def numbers(
    at: At,
    caller: Watcher,
    stream: Annotated[
        str | None, Query(max_length=120, description="id or name; null: the newest that runs")
    ] = None,
) -> NoalbsOut:
    """Of the newest stream that runs and that the token may see. The same address serves one
    broadcast after the other."""
    views = [view for view in await at.streams.running(caller) if _is_meant(view, stream)]
    newest = views[0] if views else None
    return NoalbsOut.of(newest.live if newest is not None and newest.is_observed else None)


def _is_meant(view: View, stream: str | None) -> bool:
    return stream is None or stream in (view.row.id, view.row.name)
