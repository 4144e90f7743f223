from __future__ import annotations

import msgspec
import pytest

from strata.control.live import Live
from strata.wire import worker as wire
from strata.wire.host import Alarm

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
        (wire.Ready([15000], "str_1", 1, "0"), True),
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


LINK = wire.LinkStats(15000, "10.0.0.1:5000", 0.0, 0.0, 100, 9.0, "down")


def stats(*links: wire.LinkStats) -> wire.Stats:
    return msgspec.structs.replace(STATS, links=list(links))


def test_a_link_that_goes_down_is_an_alarm_until_it_is_back() -> None:
    live = Live()
    assert not live.hear(stats(msgspec.structs.replace(LINK, state="up")))
    assert not live.has_alarm
    assert live.hear(stats(LINK))
    assert live.links_down == (15000,)
    assert live.has_alarm
    assert not live.hear(stats(LINK))
    assert live.hear(stats(msgspec.structs.replace(LINK, state="up")))
    assert not live.has_alarm


def test_a_link_that_has_not_brought_anything_yet_is_no_alarm() -> None:
    live = Live()
    live.hear(stats(msgspec.structs.replace(LINK, received=0)))
    assert not live.has_alarm


def test_a_slate_is_an_alarm_and_is_on_the_air() -> None:
    live = Live()
    live.hear(wire.Input("receiving", 0.0))
    live.hear(wire.Program("live", "live"))
    assert (live.has_alarm, live.is_fed) == (False, True)
    live.hear(wire.Program("slate", "silence"))
    live.hear(wire.Input("stalled", 30.0))
    assert (live.has_alarm, live.is_fed) == (True, True)


def test_nothing_on_the_air_after_something_is_an_alarm() -> None:
    live = Live()
    live.hear(wire.Input("receiving", 0.0))
    live.hear(wire.Program("none", "none"))
    assert (live.has_alarm, live.is_fed) == (False, True)
    live.hear(wire.Program("none", "live"))
    assert not live.has_alarm
    live.hear(wire.Program("none", "none"))
    live.hear(wire.Program("none", "silence"))
    assert (live.has_alarm, live.is_fed) == (True, False)
    live.hear(wire.Program("live", "live"))
    assert not live.has_alarm


def test_a_worker_that_is_being_replaced_is_an_alarm_until_the_next_one_is_ready() -> None:
    live = Live(is_restarting=True)
    assert live.has_alarm
    live.hear(wire.Ready([15000], "str_1", 1, "0"))
    assert not live.has_alarm


def test_what_the_host_finds_wrong_is_an_alarm() -> None:
    assert Live(alarms=[Alarm("stalled", "no media for 31 s")]).has_alarm
