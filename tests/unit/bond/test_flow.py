"""One flow, packet by packet."""

from __future__ import annotations

import struct
from collections import Counter

import pytest

from strata.bond import packets
from strata.bond.cipher import Sealer
from strata.bond.flow import DOUBLE_FILL, LEAD_S, NULL_PACKETS, TRIES_MAX, WAIT_SHARE, Flow, Out
from strata.bond.packets import EchoRequest
from strata.impair.path import Impairment
from unit.bond.world import PSK, World, nack

FLOW_ID = 0x00FF_FE00
"""Its sequence begins at 0xFFFE."""
BUFFER_S = 1.0
RECEIVER = Sealer(PSK)
RECEIVER_REPORT = struct.pack(">BBHI", 0x80, 201, 1, 7)


class Media:
    """What a datagram with media has in it."""

    def __init__(self, id: str, plain: bytes, sequence: int) -> None:
        self.id = id
        self.gre = sequence
        head = struct.unpack_from(">BBHII", plain, 4)
        self.sequence, self.stamp, self.ssrc = head[2:]
        self.payload = plain[16:]
        self.is_again = bool(self.ssrc & 1)


def opened(out: list[Out]) -> list[Media]:
    """The media of what goes out, without the packets before the first."""
    found = []
    for id, datagram in out:
        gre = int.from_bytes(datagram[8:12], "big")
        plain = RECEIVER.open(datagram[4:8], gre, datagram[12:])
        if plain[2:4] == (1968).to_bytes(2, "big") and plain[16:] != NULL_PACKETS:
            found.append(Media(id, plain, gre))
    return found


def says(*parts: bytes) -> bytes:
    plain = struct.pack(">HH", 1969, 32768) + RECEIVER_REPORT + b"".join(parts)
    return packets.wrap(RECEIVER, 1, plain)


class Desk:
    """A flow over links that answer at once, driven by hand."""

    def __init__(self, links: str = "ab", buffer_s: float = BUFFER_S) -> None:
        self.now = 100.0
        self.silent: set[str] = set()
        self.out: list[Out] = []
        self.flow = Flow(Sealer(PSK), FLOW_ID, "desk", buffer_s, self.now, lambda: 1.7e9)
        for id in links:
            self.flow.add_link(id, self.now)

    def ready(self) -> Desk:
        """Past the handshake and the packets before the first."""
        self.run(LEAD_S + 0.2)
        return self

    def step(self) -> list[Media]:
        """10 ms more; echoes are answered when 20 ms have passed."""
        self.now += 0.01
        self.out = out = self.flow.due(self.now)
        for id, datagram in out:
            if id in self.silent or len(datagram) > 1000:
                continue
            gre = int.from_bytes(datagram[8:12], "big")
            plain = RECEIVER.open(datagram[4:8], gre, datagram[12:])
            stamp = int.from_bytes(plain[-12:-4], "big")
            answer = struct.pack(">BBHI4sQI", 0x83, 204, 5, FLOW_ID, b"RIST", stamp, 0)
            self.flow.take(self.now + 0.02, id, says(answer))
        return opened(out)

    def run(self, seconds: float) -> list[Media]:
        return [each for _ in range(round(seconds * 100)) for each in self.step()]

    def write(self, name: str, is_key: bool = False) -> None:
        self.flow.write(self.now, name.encode().ljust(1316, b"."), is_key)

    def ask(self, *sequences: int, on: str = "a") -> None:
        assert self.flow.take(self.now, on, says(nack(sequences))) == []


def names(media: list[Media]) -> list[str]:
    return [each.payload.rstrip(b".").decode() for each in media]


def test_nothing_goes_out_before_the_receiver_answers_and_then_all_of_it() -> None:
    desk = Desk("a")
    desk.silent = {"a"}
    desk.run(0.2)
    desk.write("first")
    assert desk.run(0.1) == []
    desk.silent = set()
    assert names(desk.run(0.4)) == ["first"]


def test_before_the_first_packet_go_some_that_nobody_misses() -> None:
    desk = Desk("ab")
    lead: list[str] = []
    for _ in range(40):
        assert desk.step() == []
        lead += [id for id, datagram in desk.out if len(datagram) > 1000]
    assert set(lead) == {"a", "b"}
    assert 10 <= len(lead) <= LEAD_S * 100 + 1
    assert desk.flow.counters.written == 0


def test_with_a_short_buffer_they_take_no_longer_than_media_may_wait() -> None:
    desk = Desk("ab", buffer_s=0.3)
    while not any(link.state == "up" for link in desk.flow.links.values()):
        desk.step()
    desk.write("first")
    assert names(desk.run(0.3)) == ["first"]


def test_media_keeps_its_order_and_its_time() -> None:
    desk = Desk().ready()
    sent: list[Media] = []
    stamps = []
    for number in range(30):
        desk.write(str(number))
        stamps.append(int(desk.now * 90_000) & 0xFFFF_FFFF)
        sent += desk.step()
    sent += desk.run(0.5)
    assert names(sent) == [str(number) for number in range(30)]
    assert [each.stamp for each in sent] == stamps
    first = sent[0].sequence
    assert [(each.sequence - first) & 0xFFFF for each in sent] == list(range(30))
    assert {each.ssrc for each in sent} == {FLOW_ID}
    assert desk.flow.waiting_s(desk.now) == 0


def test_no_sequence_of_gre_comes_twice_under_one_nonce() -> None:
    desk = Desk().ready()
    desk.flow._gre = (1 << 32) - 40
    seen: set[tuple[bytes, int]] = set()
    before = desk.flow._sealer.nonce
    payloads = []
    for number in range(60):
        desk.write(str(number))
        desk.step()
        for _, datagram in desk.out:
            key = datagram[4:8], int.from_bytes(datagram[8:12], "big")
            assert key not in seen
            seen.add(key)
            if len(datagram) > 1000:
                payloads.append(RECEIVER.open(*key, datagram[12:])[16:18])
    assert before != desk.flow._sealer.nonce
    assert {nonce for nonce, _ in seen} == {before, desk.flow._sealer.nonce}
    assert payloads == [f"{number:.<2}".encode() for number in range(len(payloads))]
    assert len(payloads) > 40


def test_what_is_asked_for_goes_out_again_on_the_other_link_with_the_same_stamp() -> None:
    desk = Desk().ready()
    desk.write("x")
    (first,) = desk.step()
    desk.run(0.1)
    desk.ask(first.sequence)
    (again,) = desk.run(0.25)
    assert again.is_again
    assert again.id != first.id
    assert (again.sequence, again.stamp) == (first.sequence, first.stamp)
    assert again.payload == first.payload
    lost = {id: link.lost_packets for id, link in desk.flow.links.items()}
    assert lost == {first.id: 1, again.id: 0}


def test_a_repair_that_is_lost_too_goes_out_on_two_links() -> None:
    desk = Desk("abc").ready()
    desk.write("x")
    (first,) = desk.step()
    desk.run(0.1)
    desk.ask(first.sequence)
    (again,) = desk.run(0.25)
    desk.ask(first.sequence)
    both = desk.run(0.5)
    assert len(both) == 2
    assert both[0].id != both[1].id
    assert both[0].id != again.id


def test_a_packet_that_may_still_be_on_its_way_is_not_sent_again() -> None:
    desk = Desk().ready()
    desk.write("x")
    (first,) = desk.step()
    desk.ask(first.sequence)
    assert desk.run(0.05) == []
    assert sum(link.lost_packets for link in desk.flow.links.values()) == 0


def test_with_one_link_the_repair_has_to_take_it() -> None:
    desk = Desk("a").ready()
    desk.write("x")
    (first,) = desk.step()
    desk.run(0.1)
    desk.ask(first.sequence)
    assert [each.id for each in desk.run(0.25)] == ["a"]


def test_what_was_never_sent_or_is_too_old_is_not_looked_for() -> None:
    desk = Desk().ready()
    desk.write("x")
    (first,) = desk.step()
    desk.ask((first.sequence + 1000) & 0xFFFF)
    assert desk.run(0.1) == []
    assert desk.flow.counters.too_late == 1
    desk.run(BUFFER_S)
    desk.ask(first.sequence)
    assert desk.run(0.1) == []
    assert desk.flow.counters.too_late == 2
    assert desk.flow.counters.again == 0


def test_a_flood_of_requests_costs_a_bounded_number_of_repairs() -> None:
    desk = Desk().ready()
    sent: list[Media] = []
    for number in range(200):
        desk.write(str(number))
        sent += desk.step()
    numbers = [each.sequence for each in sent[-80:]]
    again: Counter[int] = Counter()
    for _ in range(90):
        for _ in range(20):
            desk.ask(*numbers, on="b")
        again.update(each.sequence for each in desk.step() if each.is_again)
        assert len(desk.flow._again) <= len(numbers)
    assert max(again.values()) <= 2 * TRIES_MAX
    everything = struct.pack(">BBHI4sHH", 0x80, 204, 3, 7, b"RIST", 0, 0xFFFF)
    for _ in range(20):
        desk.flow.take(desk.now, "a", says(everything))
    assert len(desk.flow._again) <= len(desk.flow._sent)


def test_an_echo_request_is_answered_on_its_own_link() -> None:
    desk = Desk().ready()
    request = struct.pack(">BBHI4sQI", 0x82, 204, 5, 77, b"RIST", 4711, 0)
    ((id, datagram),) = desk.flow.take(desk.now, "b", says(request))
    assert id == "b"
    gre = int.from_bytes(datagram[8:12], "big")
    plain = RECEIVER.open(datagram[4:8], gre, datagram[12:])
    assert plain == packets.echo_response(FLOW_ID, b"desk", EchoRequest(4711, 77))


def test_junk_and_links_that_are_gone_are_not_heard() -> None:
    desk = Desk().ready()
    heard_at = desk.flow.heard_at
    desk.now += 5
    assert desk.flow.take(desk.now, "a", b"") == []
    assert desk.flow.take(desk.now, "a", bytes(1500)) == []
    assert desk.flow.take(desk.now, "gone", says()) == []
    assert desk.flow.heard_at == heard_at
    desk.flow.take(desk.now, "a", says())
    assert desk.flow.heard_at == desk.now


def test_an_answer_that_is_replayed_changes_no_round_trip() -> None:
    desk = Desk("a").ready()
    link = desk.flow.links["a"]
    answer = struct.pack(">BBHI4sQI", 0x83, 204, 5, FLOW_ID, b"RIST", link.ask(desk.now), 0)
    desk.flow.take(desk.now + 0.02, "a", says(answer))
    before = link.rtt_s, link.state
    desk.now += 0.5
    desk.flow.take(desk.now, "a", says(answer))
    assert (link.rtt_s, link.state) == before


def test_a_link_that_is_taken_away_is_not_used_and_its_packets_are_repaired_elsewhere() -> None:
    desk = Desk().ready()
    sent: list[Media] = []
    for number in range(20):
        desk.write(str(number))
        sent += desk.step()
    sent += desk.run(0.3)
    mine = [each.sequence for each in sent if each.id == "a"]
    assert mine
    desk.flow.remove_link("a")
    desk.run(0.1)
    desk.ask(*mine, on="b")
    again = desk.run(0.4)
    assert {each.sequence for each in again} == set(mine)
    assert {each.id for each in again} == {"b"}
    desk.flow.remove_link("b")
    desk.write("nobody")
    assert desk.run(BUFFER_S * 2) == []
    desk.flow.add_link("a", desk.now)
    desk.run(0.5)
    desk.write("key", is_key=True)
    assert "key" in names(desk.run(0.5))


def steady(desk: Desk, seconds: float, kbps: float) -> list[Media]:
    """Media of that rate, without key frames."""
    sent, owed = [], 0.0
    for _ in range(round(seconds * 100)):
        owed += kbps * 1.25
        while owed >= 1316:
            owed -= 1316
            desk.write("-")
        sent += desk.step()
    return sent


def test_key_frames_go_out_twice_while_there_is_room() -> None:
    desk = Desk("ab").ready()
    steady(desk, 2.0, 1000)
    desk.write("key", is_key=True)
    key = [each for each in desk.run(0.3) if each.payload.startswith(b"key")]
    assert sorted(each.id for each in key) == ["a", "b"]
    assert key[0].sequence == key[1].sequence
    assert desk.flow.counters.doubled == 1
    for link in desk.flow.links.values():
        link.capacity_kbps = desk.flow.media_kbps / DOUBLE_FILL / 2 * 0.99
    desk.write("other", is_key=True)
    other = [each for each in desk.run(0.3) if each.payload.startswith(b"other")]
    assert len(other) == 1


def test_one_link_doubles_nothing() -> None:
    desk = Desk("a").ready()
    steady(desk, 1.0, 500)
    desk.write("key", is_key=True)
    desk.run(0.3)
    assert desk.flow.counters.doubled == 0


def test_a_burst_is_spread_out() -> None:
    desk = Desk("ab").ready()
    steady(desk, 2.0, 4000)
    for _ in range(80):
        desk.write("burst")
    sizes = [len(desk.step()) for _ in range(40)]
    assert sum(sizes) == 80
    assert max(sizes) < 30
    assert sum(sizes[:30]) == 80, "within 0.3 s"


def silent(desk: Desk) -> Desk:
    desk.silent = set(desk.flow.links)
    desk.run(1.5)
    assert all(link.state == "silent" for link in desk.flow.links.values())
    return desk


def test_what_has_waited_for_too_long_is_dropped_up_to_the_next_key_frame() -> None:
    desk = silent(Desk().ready())
    for number in range(5):
        desk.write(f"old{number}")
    desk.run(WAIT_SHARE * BUFFER_S - 0.1)
    desk.write("key", is_key=True)
    desk.write("after")
    desk.run(0.2)
    assert desk.flow.counters.dropped == 5
    assert not desk.flow.wants_key
    desk.silent = set()
    assert names(desk.run(1.0)) == ["key", "key", "after"]


def test_a_key_frame_that_is_late_is_dropped_whole() -> None:
    desk = silent(Desk().ready())
    for number in range(3):
        desk.write(f"key{number}", is_key=True)
    desk.write("after")
    desk.run(WAIT_SHARE * BUFFER_S + 0.05)
    assert desk.flow.wants_key
    assert desk.flow.counters.dropped == 4
    desk.write("more")
    assert desk.flow.counters.dropped == 5
    desk.write("next", is_key=True)
    assert not desk.flow.wants_key
    desk.silent = set()
    assert set(names(desk.run(0.5))) == {"next"}


def test_the_rest_of_a_key_frame_of_which_the_beginning_was_dropped_is_dropped_too() -> None:
    desk = silent(Desk(buffer_s=0.4).ready())
    desk.write("key0", is_key=True)
    desk.run(WAIT_SHARE * 0.4 + 0.05)
    assert desk.flow.wants_key
    desk.write("key1", is_key=True)
    assert desk.flow.wants_key
    assert desk.flow.counters.dropped == 2


def test_where_every_picture_is_a_key_frame_it_goes_on_all_the_same() -> None:
    desk = silent(Desk().ready())
    for _ in range(200):
        desk.write("key", is_key=True)
        desk.run(0.02)
    desk.silent = set()
    sent = 0
    for _ in range(100):
        desk.write("key", is_key=True)
        sent += len(desk.run(0.02))
    assert sent > 50


def test_nothing_is_kept_for_longer_than_it_is_of_use() -> None:
    desk = Desk().ready()
    steady(desk, 3 * BUFFER_S, 4000)
    assert len(desk.flow._sent) == pytest.approx(4000 * 125 * BUFFER_S / 1316, rel=0.1)
    assert len(desk.flow._order) == len(desk.flow._sent)
    desk.run(2 * BUFFER_S)
    assert not desk.flow._sent
    assert not desk.flow._order


def test_media_that_begins_long_after_the_links_are_up_is_sent_from_the_first_packet_on() -> None:
    world = World({"a": Impairment(delay_ms=20), "b": Impairment(delay_ms=40)}, first_picture_s=9.0)
    world.run(12.0)
    assert world.lost(9.0, 11.0) == []


def test_a_name_that_is_too_long_is_cut() -> None:
    flow = Flow(Sealer(PSK), 2, "ü" * 300, 1.0, 0.0, lambda: 0.0)
    flow.add_link("a", 0.0)
    assert len(flow.due(0.1)[0][1]) < 200
