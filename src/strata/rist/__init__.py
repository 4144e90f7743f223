"""A small binding of librist, usable alone: a :class:`Receiver` and a :class:`Sender`.

Main profile (VSF TR-06-2) with a pre-shared key, several ports or links in one flow.
Nothing here knows of workers, pipelines or streams.
"""

from strata.rist.receiver import Counters, LinkCounters, Mark, Receiver, ReceiverTuning
from strata.rist.sender import Link, Sender

__all__ = ["Counters", "Link", "LinkCounters", "Mark", "Receiver", "ReceiverTuning", "Sender"]
