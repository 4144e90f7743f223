from __future__ import annotations

import pytest

from strata.control.live import Live
from strata.wire import worker as wire

STATS = wire.Stats(5000.0, 4900.0, 1000.0, 1.0, 2.0, 60.0, wire.Media(), wire.Flow(), [], [])
CONNECTING = wire.Forward("fwd_1", "rtmp", "connecting", "rtmp://a/b/****")
LIVE = wire.Forward("fwd_1", "rtmp", "live", "rtmp://a/b/****")
SECOND = wire.Forward("fwd_2", "file", "retrying", "file:///x.ts")


def test_nothing_is_known_at_first() -> None:
    live = Live()
    assert live.input.state == "waiting"
    assert live.program == wire.Program("none", "none")
    assert live.forward_states() == []
    assert live.stats is None


def test_the_latest_of_each_kind_is_kept() -> None:
    live = Live()
    for event in (
        wire.Input("receiving", 0.0),
        wire.Program("live", "none"),
        CONNECTING,
        SECOND,
        LIVE,
        wire.Program("live", "live"),
        STATS,
    ):
        live.hear(event)
    assert live.input == wire.Input("receiving", 0.0)
    assert live.program == wire.Program("live", "live")
    assert live.forwards == {"fwd_1": LIVE, "fwd_2": SECOND}
    assert live.forward_states() == ["live", "retrying"]
    assert live.stats is STATS


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (wire.Input("stalled", 1.0), True),
        (wire.Program("live", "live"), True),
        (LIVE, True),
        (STATS, False),
        (wire.Ready([15000], "str_1", 1, "0"), False),
        (wire.Error("refused", "unreachable"), False),
        (wire.Ok("stats"), False),
        (wire.Stopped("eos"), False),
    ],
)
def test_what_can_change_the_state_of_the_stream(event: wire.Event, wanted: bool) -> None:
    assert Live().hear(event) is wanted


def test_two_streams_share_nothing() -> None:
    one, other = Live(), Live()
    one.hear(LIVE)
    assert not other.forwards
