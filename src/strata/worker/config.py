"""What a worker is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from strata.secrets import Secret
from strata.wire.forward_url import ForwardUrl


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

    @property
    def peak_kbps(self) -> int:
        """What each forward that crosses the network may send at most; 0 for no limit."""
        networked = sum(1 for forward in self.forwards if forward.host is not None)
        if not networked or not self.max_egress_kbps:
            return 0
        return max(1, self.max_egress_kbps // networked)
