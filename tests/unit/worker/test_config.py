from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from strata.secrets import Secret
from strata.wire import forward_url
from strata.worker.config import SlateSettings, WorkerConfig

PSK = "a-psk-of-the-tests-0123"
KEY = "abcd-efgh-1234"


def config() -> WorkerConfig:
    return WorkerConfig(
        stream_id="str_1",
        ports=(20_000,),
        psk=Secret(PSK),
        forwards=(forward_url.parse(f"rtmp://host/app/{KEY}"),),
        control_socket=Path("/run/strata/str_1.sock"),
        bind="0.0.0.0",
        buffer_ms=1000,
        aes_bits=256,
        stats_interval_ms=1000,
        max_egress_kbps=20_000,
        stall_timeout_s=30.0,
        no_input_timeout_s=0.0,
        orphan_timeout_s=0.0,
        slate=SlateSettings(name="the name"),
        keep_damaged=False,
        can_silence=True,
    )


@pytest.mark.parametrize("show", [repr, str])
def test_it_shows_no_secret(show: type[str]) -> None:
    shown = show(config())
    assert "str_1" in shown
    assert PSK not in shown
    assert KEY not in shown


def test_it_stays_as_it_is() -> None:
    with pytest.raises(FrozenInstanceError):
        config().max_egress_kbps = 1  # type: ignore[misc]
