from __future__ import annotations

from pathlib import Path

import pytest

from strata.wire import forward_url
from strata.worker.config import WorkerConfig

RTMP = "rtmp://host/app/key"
FILE = "file:///media/name.ts"


def config(max_egress_kbps: int, *urls: str) -> WorkerConfig:
    return WorkerConfig(
        stream_id="str_1",
        ports=(20_000,),
        psk=None,
        forwards=tuple(forward_url.parse(url) for url in urls),
        control_socket=Path("/run/strata/str_1.sock"),
        bind="0.0.0.0",
        buffer_ms=1000,
        aes_bits=256,
        stats_interval_ms=1000,
        max_egress_kbps=max_egress_kbps,
        stall_timeout_s=30.0,
        no_input_timeout_s=0.0,
        orphan_timeout_s=0.0,
    )


@pytest.mark.parametrize(
    ("max_egress_kbps", "urls", "peak_kbps"),
    [
        (20_000, (RTMP,), 20_000),
        (20_000, (RTMP, FILE), 20_000),
        (20_000, (RTMP, RTMP, FILE), 10_000),
        (20_000, (FILE,), 0),
        (20_000, (), 0),
        (0, (RTMP, RTMP), 0),
        (1, (RTMP, RTMP), 1),
    ],
)
def test_the_cap_is_shared_by_what_crosses_the_network(
    max_egress_kbps: int, urls: tuple[str, ...], peak_kbps: int
) -> None:
    assert config(max_egress_kbps, *urls).peak_kbps == peak_kbps
