"""What a worker is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strata.secrets import Secret
from strata.wire.forward_url import ForwardUrl

FORWARDS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Checked arguments; see ``strata-receiver --help`` for what each means."""

    stream_id: str
    ports: tuple[int, ...]
    psk: Secret | None
    forwards: tuple[ForwardUrl, ...]
    control_socket: Path
    bind: str
    buffer_ms: int
    aes_bits: int
    stats_interval_ms: int
    max_egress_kbps: int
    stall_timeout_s: float
    no_input_timeout_s: float
    orphan_timeout_s: float
