from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import NoCapacity
from strata.host.admission import NOTHING, Capacity, Cost, Share, admit, admit_forward, used

ROOM = Capacity(
    cpu_cores=2.0,
    memory_mb=4000.0,
    free_memory_mb=3000.0,
    fill_percent=80.0,
    egress_kbps=20_000.0,
    free_disk_mb=10_000.0,
    min_disk_mb=1024.0,
)
ONE = Cost(0.1, 64.0, 8000.0)


def refusal(
    streams: list[Share], newcomer: Cost = ONE, *, records: bool = False, **changes: Any
) -> str:
    with pytest.raises(NoCapacity) as raised:
        admit(streams, newcomer, dataclasses.replace(ROOM, **changes), records=records)
    text = raised.value.message
    head, tail = "this host has no room for another stream: ", "; stop a stream, or use another"
    assert text.startswith(head)
    assert tail in text
    return text.removeprefix(head).split(tail)[0]


def test_costs_are_added_scaled_and_compared_each_by_itself() -> None:
    one, other = Cost(1.0, 20.0, 300.0), Cost(2.0, 10.0, 400.0)
    assert one + other == Cost(3.0, 30.0, 700.0)
    assert one.times(2.0) == Cost(2.0, 40.0, 600.0)
    assert one.at_least(other) == Cost(2.0, 20.0, 400.0)


def test_an_empty_machine_takes_a_stream() -> None:
    admit([], ONE, ROOM, records=True)


def test_a_newcomer_counts_with_its_reservation_until_more_is_measured() -> None:
    share = Share(ONE)
    assert share.cost == ONE
    share.measure(Cost(0.05, 90.0, 5000.0))
    assert share.cost == Cost(0.1, 90.0, 8000.0)
    share.is_settled = True
    assert share.cost == Cost(0.05, 90.0, 5000.0)


def test_the_most_is_remembered_and_fades_by_half_in_half_a_minute() -> None:
    share = Share(ONE, is_settled=True)
    share.measure(Cost(0.4, 100.0, 8000.0))
    for _ in range(30):
        share.measure(Cost(0.0, 80.0, 0.0))
    assert share.cost.cpu_cores == pytest.approx(0.2, rel=0.02)
    assert share.cost.memory_mb == 80.0
    assert share.cost.egress_kbps == pytest.approx(4000.0, rel=0.02)


def test_what_all_take_is_their_sum() -> None:
    assert used([]) == NOTHING
    assert used([Share(ONE), Share(ONE)]) == Cost(0.2, 128.0, 16_000.0)


def test_no_cores_are_left() -> None:
    streams = [Share(Cost(0.1, 0.0, 0.0)) for _ in range(15)]
    admit(streams, Cost(0.1, 0.0, 0.0), ROOM, records=False)  # 16 x 0.1 is 80 % of 2
    streams.append(Share(Cost(0.1, 0.0, 0.0)))
    assert refusal(streams) == "1.70 cores would be needed, and streams may use 1.60 of 2"


def test_no_memory_is_left() -> None:
    streams = [Share(Cost(0.0, 3200.0, 0.0))]
    assert refusal(streams, Cost(0.0, 1.0, 0.0)) == (
        "3201 MB of memory would be needed, and streams may use 3200 of 4000 MB"
    )


def test_others_than_streams_have_taken_the_memory() -> None:
    assert refusal([], free_memory_mb=63.0) == (
        "64 MB of memory would be needed, and only 63 MB are free"
    )


def test_the_uplink_is_full() -> None:
    assert refusal([Share(ONE), Share(ONE)]) == "24.0 Mbps would go out, and host.egress_mbps is 20"


def test_an_uplink_that_nobody_has_told_of_is_not_counted() -> None:
    has = dataclasses.replace(ROOM, egress_kbps=None)
    admit([Share(ONE), Share(ONE)], ONE, has, records=False)


def test_a_full_disk_refuses_only_what_writes_to_it() -> None:
    full = dataclasses.replace(ROOM, free_disk_mb=1023.0)
    admit([], ONE, full, records=False)
    assert refusal([], records=True, free_disk_mb=1023.0) == (
        "only 1023 MB of disk are free, and 1024 MB have to stay free for a recording to be begun"
    )


amounts = st.floats(0.0, 5000.0)
costs = st.builds(Cost, st.floats(0.0, 1.0), st.floats(0.0, 1000.0), st.floats(0.0, 10_000.0))
capacities = st.builds(
    Capacity,
    cpu_cores=st.integers(1, 8).map(float),
    memory_mb=amounts,
    free_memory_mb=amounts,
    fill_percent=st.floats(1.0, 100.0),
    egress_kbps=st.none() | st.floats(0.0, 50_000.0),
    free_disk_mb=amounts,
    min_disk_mb=amounts,
)


@given(
    has=capacities,
    newcomers=st.lists(st.tuples(costs, st.booleans()), max_size=20),
    measures=st.lists(costs, max_size=3),
)
def test_whatever_was_admitted_fits(
    has: Capacity, newcomers: list[tuple[Cost, bool]], measures: list[Cost]
) -> None:
    streams: list[Share] = []
    for cost, records in newcomers:
        try:
            admit(streams, cost, has, records=records)
        except NoCapacity:
            continue
        streams.append(Share(cost))
        total = used(streams)
        assert total.cpu_cores <= has.cpu_cores * has.fill_percent / 100 + 1e-6
        assert total.memory_mb <= has.memory_mb * has.fill_percent / 100
        assert cost.memory_mb <= has.free_memory_mb
        assert has.egress_kbps is None or total.egress_kbps <= has.egress_kbps
        assert not records or has.free_disk_mb >= has.min_disk_mb
    for share in streams:
        for measure in measures:
            share.measure(measure)
        assert share.cost.at_least(share.reserved) == share.cost  # not believed to take less yet


@given(reserved=costs, measures=st.lists(costs, min_size=1))
def test_a_share_never_counts_for_less_than_it_was_last_measured_to_take(
    reserved: Cost, measures: list[Cost]
) -> None:
    for is_settled in (False, True):
        share = Share(reserved, is_settled=is_settled)
        for measure in measures:
            share.measure(measure)
            assert share.cost.at_least(measure) == share.cost


def test_one_more_forward_needs_room_on_the_uplink_or_the_disk() -> None:
    streams = [Share(ONE)]
    admit_forward(streams, 8000.0, ROOM, records=False)
    admit_forward(streams, 0.0, dataclasses.replace(ROOM, egress_kbps=8000.0), records=True)
    admit_forward(streams, 1e9, dataclasses.replace(ROOM, egress_kbps=None), records=False)
    with pytest.raises(NoCapacity, match=r"another forward: 20\.1 Mbps would go out.* is 20; rem"):
        admit_forward(streams, 12_100.0, ROOM, records=False)
    full = dataclasses.replace(ROOM, free_disk_mb=1000.0)
    admit_forward(streams, 8000.0, full, records=False)
    with pytest.raises(NoCapacity, match=r"only 1000 MB of disk are free, .*; remove one"):
        admit_forward(streams, 0.0, full, records=True)


def test_one_more_forward_of_a_stream_that_is_there_is_no_matter_of_memory() -> None:
    admit_forward([Share(Cost(9.0, 9000.0, 0.0))], 8000.0, ROOM, records=False)
