"""Whether an order of control's can be carried out as it is written. Pure."""

from __future__ import annotations

import math
from typing import Final

from strata.errors import BadArguments
from strata.secrets import psk_problem
from strata.sender.links import receiver_of
from strata.wire import agent as wire

DESTINATIONS_MAX: Final = 32
AES_TYPES: Final = (128, 256)
BUFFER_MS: Final = (50, 30_000)
STATUS_INTERVAL_S: Final = (1.0, 300.0)
STATS_INTERVAL_S: Final = (0.2, 60.0)
ID_CHARS_MAX: Final = 64


def check_start(order: wire.StreamStart) -> None:
    """
    Raises:
        BadArguments: it cannot be carried out, and why.
    """
    check_stream_id(order.stream_id)
    check_destinations(order.destinations, order.psk)
    if order.aes_type not in AES_TYPES:
        raise BadArguments(f"aes_type {order.aes_type} is none that RIST has; it is 128 or 256")
    if not BUFFER_MS[0] <= order.buffer_ms <= BUFFER_MS[1]:
        raise BadArguments(f"buffer_ms {order.buffer_ms} is not between {BUFFER_MS[0]} and 30000")


def check_move(order: wire.StreamMove) -> None:
    """
    Raises:
        BadArguments: it cannot be carried out, and why.
    """
    check_destinations(order.destinations, order.psk)


def check_stream_id(stream_id: str) -> None:
    """What is repeated in every report, and stands in the log."""
    if not stream_id or len(stream_id) > ID_CHARS_MAX or not stream_id.isprintable():
        raise BadArguments("the id of the stream is none")


def check_destinations(destinations: list[str], psk: str) -> None:
    if not 1 <= len(destinations) <= DESTINATIONS_MAX:
        raise BadArguments(f"there are {len(destinations)} receivers; it takes 1 to 32")
    for each in destinations:
        receiver_of(each)
    if (problem := psk_problem(psk)) is not None:
        raise BadArguments(problem)


def check_config(config: wire.Config) -> None:
    """
    Raises:
        BadArguments: it cannot be applied, and why.
    """
    for name, value, (least, most) in (
        ("status_interval_s", config.status_interval_s, STATUS_INTERVAL_S),
        ("stats_interval_s", config.stats_interval_s, STATS_INTERVAL_S),
    ):
        if not math.isfinite(value) or not least <= value <= most:
            raise BadArguments(f"{name} {value} is not between {least:g} and {most:g}")
