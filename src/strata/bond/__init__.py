"""A sender of RIST's main profile that bonds: for each packet it chooses the link.

    sender    sockets: a :class:`Bond`
    flow      one flow: what goes out when, and on which link
    link      what is known of one link
    shares    how much each link carries, and whose turn it is
    pace      how much may go out at once
    rate      what the encoder should make
    packets   the words on the wire
    cipher    the pre-shared key

All but the first are pure. Why this is not librist's sender: docs/decisions/0018-bonding.md.
"""

from strata.bond.rate import Rate
from strata.bond.sender import Bond, LinkReport, Way

__all__ = ["Bond", "LinkReport", "Rate", "Way"]
