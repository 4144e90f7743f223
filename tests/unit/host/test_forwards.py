from __future__ import annotations

import pytest

from strata.errors import BadArguments
from strata.host.forwards import Forwards, is_on_disk
from strata.wire import worker

A, B, C = (f"rtmp://{name}/live/stream-key" for name in "abc")
FILE = "file:///media/x.ts"


def begun(*urls: str) -> Forwards:
    forwards = Forwards()
    forwards.begin(urls)
    return forwards


def test_they_are_numbered_from_the_beginning() -> None:
    forwards = begun(A, B)
    assert forwards.ids == ["fwd_1", "fwd_2"]
    assert forwards.secrets("psk") == worker.Secrets("psk", [A, B], ["fwd_1", "fwd_2"], 2)


def test_a_stream_may_begin_with_none() -> None:
    forwards = begun()
    assert (forwards.ids, forwards.outward, forwards.last) == ([], 0, 0)
    forwards.put("fwd_1", A)
    assert forwards.secrets("psk") == worker.Secrets("psk", [A], ["fwd_1"], 1)


def test_an_id_that_was_removed_is_never_given_again() -> None:
    forwards = begun(A, B, C)
    forwards.remove("fwd_2")
    forwards.remove("fwd_3")
    assert forwards.secrets("psk") == worker.Secrets("psk", [A], ["fwd_1"], 3)
    forwards.put("fwd_4", B)
    forwards.remove("fwd_9")  # there is none
    assert forwards.secrets("psk") == worker.Secrets("psk", [A, B], ["fwd_1", "fwd_4"], 4)


def test_one_that_is_replaced_keeps_its_place() -> None:
    forwards = begun(A, B)
    forwards.put("fwd_1", C)
    assert forwards.secrets("psk").forwards == [C, B]
    assert forwards.ids == ["fwd_1", "fwd_2"]


def test_how_many_lead_to_the_network() -> None:
    forwards = begun(A, FILE, "hls:///x", B)
    assert forwards.outward == 2
    assert forwards.hear("fwd_5")
    assert forwards.outward == 3  # of which it is not known
    assert not forwards.hear("fwd_5")
    assert not is_on_disk("gopher://of-another-release")


def test_the_next_host_knows_ids_and_learns_urls() -> None:
    forwards = Forwards(["fwd_1", "fwd_3"], 4)
    assert forwards.secrets("psk").forwards == []
    forwards.entrust([A, B, C], ["fwd_1", "fwd_2", "fwd_3"])  # control was not told of a removal
    assert forwards.secrets("psk") == worker.Secrets("psk", [A, C], ["fwd_1", "fwd_3"], 4)


def test_urls_without_ids_are_those_that_are_known() -> None:
    forwards = Forwards(["fwd_2", "fwd_5"], 5)
    forwards.entrust([A, B])
    assert forwards.secrets("psk") == worker.Secrets("psk", [A, B], ["fwd_2", "fwd_5"], 5)


def test_what_was_changed_before_control_could_tell_is_newer() -> None:
    forwards = Forwards(["fwd_1", "fwd_2"], 2)
    forwards.put("fwd_1", C)
    forwards.put("fwd_3", FILE)
    forwards.remove("fwd_2")
    forwards.entrust([A, B])
    assert forwards.secrets("psk") == worker.Secrets("psk", [C, FILE], ["fwd_1", "fwd_3"], 3)


def test_a_record_of_an_earlier_release_knows_nothing_of_them() -> None:
    forwards = Forwards(None)
    forwards.entrust([A, B])
    assert forwards.secrets("psk") == worker.Secrets("psk", [A, B], ["fwd_1", "fwd_2"], 2)
    forwards.entrust([A, B, C])
    assert forwards.ids == ["fwd_1", "fwd_2"]


def test_one_that_was_removed_from_a_stream_of_an_earlier_release_does_not_come_back() -> None:
    forwards = Forwards(None)
    for id in ("fwd_1", "fwd_2"):
        forwards.hear(id)
    forwards.remove("fwd_1")
    forwards.entrust([A, B])
    assert forwards.secrets("psk") == worker.Secrets("psk", [B], ["fwd_2"], 2)


def test_one_of_which_nobody_knows_the_address_is_given_up() -> None:
    forwards = begun(A)
    forwards.hear("fwd_2")
    assert forwards.drop_unknown() == ["fwd_2"]
    assert forwards.drop_unknown() == []
    assert (forwards.ids, forwards.last) == (["fwd_1"], 2)


def test_ids_that_do_not_fit_the_urls_are_refused() -> None:
    forwards = Forwards(["fwd_1"], 1)
    with pytest.raises(BadArguments, match="2 forwards have 1 ids; give one for each"):
        forwards.entrust([A, B], ["fwd_1"])
    assert forwards.secrets("psk").forwards == []


def test_what_is_written_down_holds_no_secret() -> None:
    noted = begun(A, FILE).to_note()
    assert noted == {"forwards": 1, "forward_ids": ["fwd_1", "fwd_2"], "last_forward": 2}
