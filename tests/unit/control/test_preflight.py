from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from strata.control.preflight import Encoder, Facts, Finding, Room, Target, findings
from strata.wire import worker as wire
from strata.wire.host import Load

LOAD = Load(4.0, 8000.0, 50_000.0, 1, 100, 0.5, 500.0, 5000.0, None, "none")
ROOM = Room(True, None, LOAD, 0.1, 64.0, 8000.0, 80.0, 1024.0)
RTMP = Target("forward_to.0", "rtmp://h/live/****", "rtmp", "h")
YOUTUBE = Target("destinations.0", "rtmp://yt/live2/****", "rtmp", "a.rtmp.youtube.com")
HLS = Target("preview", "the preview", "hls")
GOOD = Facts([], [RTMP], ROOM, encoder=Encoder("h264", 4000.0, 50, 25.0), max_egress_kbps=20_000)
H265 = wire.Media(wire.VideoMedia("h265", 1920, 1080, 50.0, 5.0), wire.AudioMedia("aac"))


def load(**more: Any) -> Facts:
    fields = {name: getattr(LOAD, name) for name in LOAD.__struct_fields__} | more
    return replace(GOOD, room=replace(ROOM, load=Load(**fields)))


def codes(facts: Facts) -> list[tuple[str, str]]:
    return [(each.severity, each.code) for each in findings(facts)]


def test_nothing_stands_in_the_way() -> None:
    assert findings(GOOD) == []


@pytest.mark.parametrize(
    ("facts", "severity", "code", "field", "said"),
    [
        (
            replace(GOOD, targets=[replace(RTMP, used_by=["str_1"])]),
            *("error", "in_use", "forward_to.0", "on the air already (str_1)"),
        ),
        (
            replace(GOOD, room=replace(ROOM, connected=False)),
            *("error", "host_unreachable", None, "no host is connected"),
        ),
        (
            replace(GOOD, room=replace(ROOM, why_drained="local is draining")),
            *("error", "no_capacity", None, "local is draining"),
        ),
        (load(used_cpu_cores=3.15), "error", "no_capacity", None, "3.15 of the 3.20 cores"),
        (load(used_memory_mb=6340.0), "error", "no_capacity", None, "6340 of the 6400 MB"),
        (load(free_ports=1), "error", "no_capacity", "links", "2 ports would be needed, and 1"),
        (
            load(egress_kbps=12_000.0),
            *("error", "no_capacity", None, "13.0 Mbps would go out, and host.egress_mbps is 12"),
        ),
        (
            replace(load(free_disk_mb=1000.0), records=True),
            *("error", "no_capacity", "record", "only 1000 MB of disk are free"),
        ),
        (
            replace(load(free_disk_mb=2024.0), records=True),
            *("warning", "disk_small", "record", "in 0.5 h"),
        ),
        (
            replace(GOOD, targets=[RTMP] * 5),
            *("error", "over_cap", None, "5 forwards of 4128 kbit/s are 20640 kbit/s"),
        ),
        (
            replace(GOOD, encoder=Encoder("h265", 4000.0)),
            *("error", "unsupported_media", "forward_to.0", "the picture is H.265"),
        ),
        (
            replace(GOOD, targets=[HLS], encoder=Encoder("h264", 4000.0, 250, 50.0)),
            *("warning", "keyframes_far_apart", "preview", "every 5.0 s only"),
        ),
        (
            replace(GOOD, targets=[YOUTUBE], encoder=Encoder("h264", 4000.0, 101, 25.0)),
            *("warning", "keyframes_far_apart", "destinations.0", "every 4.0 s only"),
        ),
        (replace(GOOD, has_audio=False), "warning", "no_audio", "source", "there is no sound"),
    ],
)
def test_each_thing_that_stands_in_the_way(
    facts: Facts, severity: str, code: str, field: str | None, said: str
) -> None:
    [found] = findings(facts)
    assert (found.severity, found.code, found.field) == (severity, code, field)
    assert said in found.message


def test_what_is_just_good_enough() -> None:
    assert codes(load(used_cpu_cores=3.1)) == []
    assert codes(load(used_memory_mb=6336.0)) == []
    assert codes(load(free_ports=2)) == []
    assert codes(load(egress_kbps=13_000.0)) == []
    assert codes(replace(GOOD, targets=[RTMP] * 5, max_egress_kbps=20_640)) == []
    assert codes(replace(GOOD, targets=[RTMP] * 50, max_egress_kbps=0)) == []
    assert codes(replace(GOOD, targets=[HLS], encoder=Encoder(keyint_max=100))) == []
    assert codes(replace(load(free_disk_mb=1024.0 + 8000), records=True)) == []
    assert codes(replace(GOOD, has_audio=True)) == []


def test_key_frames_are_nobodys_business_where_nobody_waits_for_them() -> None:
    assert codes(replace(GOOD, encoder=Encoder(keyint_max=250))) == []


def test_h265_goes_by_srt_and_hls() -> None:
    srt = Target("forward_to.0", "srt://h:1", "srt", "h")
    assert codes(replace(GOOD, targets=[srt, HLS], encoder=Encoder("h265"))) == []


def test_what_is_measured_counts_more_than_what_was_asked_for() -> None:
    facts = replace(GOOD, targets=[RTMP, HLS], media=H265, media_kbps=30_000.0, is_running=True)
    assert codes(facts) == [
        ("error", "over_cap"),
        ("error", "unsupported_media"),
        ("warning", "keyframes_far_apart"),
    ]


def test_a_stream_that_runs_needs_no_new_room() -> None:
    full = load(used_cpu_cores=4.0, used_memory_mb=8000.0, free_ports=0)
    assert codes(replace(full, is_running=True)) == []


def test_a_host_that_has_not_told_yet_is_not_judged() -> None:
    assert codes(replace(GOOD, room=replace(ROOM, load=None), records=True)) == []


def test_nothing_known_is_nothing_found() -> None:
    assert codes(Facts([], [RTMP, HLS], ROOM)) == []


def test_errors_come_first_and_what_was_refused_is_told() -> None:
    refused = Finding("error", "bad_url", "no URL", "forward_to.1")
    assert codes(replace(GOOD, refused=[refused], has_audio=False)) == [
        ("error", "bad_url"),
        ("warning", "no_audio"),
    ]
