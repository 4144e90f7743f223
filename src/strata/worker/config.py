"""What a worker is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strata.secrets import Secret
from strata.wire.forward_url import ForwardUrl

FORWARDS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class SlateSettings:
    """What stands in for a picture that is missing.

    Attributes:
        wanted: whether anything does.
        file: the operator's picture or movie; None for the stream's name on a calm ground.
        max_s: for how long at most; 0 for as long as it takes.
        name: of the stream.
        cache: folder for slates that have been made; None for none.
        holds: it goes on the air as soon as there is one, and nothing else does, until the
            operator lets the picture back.
    """

    wanted: bool = True
    file: Path | None = None
    max_s: float = 0.0
    name: str = ""
    cache: Path | None = None
    holds: bool = False


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Checked arguments; see ``strata-receiver --help`` for what each means.

    Attributes:
        forward_ids: of ``forwards``, in their order; none: they are numbered.
        last_forward: the highest number that a forward of the stream ever had.
    """

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
    slate: SlateSettings
    keep_damaged: bool
    can_silence: bool
    forward_ids: tuple[str, ...] = ()
    last_forward: int = 0
