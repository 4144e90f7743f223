from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from strata.control import forwards, tables
from strata.control.forwards import Forward, Forwards, begun
from strata.control.seal import Seal
from strata.secrets import Secret

ONE = "rtmp://one/live/canary-one"
TWO = "rtmp://two/live/canary-two"
SEAL = Seal(b"k" * 32)


def row(sealed: bytes) -> tables.Stream:
    return tables.Stream(id="str_1", forwards_sealed=sealed, created_at=datetime.now(UTC))


def test_ids_are_given_as_the_host_gives_them() -> None:
    assert [each.id for each in begun([Forward(ONE), Forward(TWO)]).now] == ["fwd_1", "fwd_2"]


def test_what_is_closed_opens_the_same() -> None:
    held = Forwards((Forward(ONE, "fwd_1", "dst_1", "YouTube"),), before=(Forward(TWO, "fwd_2"),))
    assert forwards.opened(SEAL, row(forwards.closed(SEAL, "str_1", held))) == held
    held = Forwards(())
    assert forwards.opened(SEAL, row(forwards.closed(SEAL, "str_1", held))) == held


def test_what_an_earlier_release_wrote_is_understood() -> None:
    sealed = SEAL.close(Secret(json.dumps([ONE, TWO])), "str_1.forwards")
    assert forwards.opened(SEAL, row(sealed)) == begun([Forward(ONE), Forward(TWO)])


def test_no_key_is_shown() -> None:
    forward = Forward(ONE, "fwd_1")
    assert "canary" not in repr(Forwards((forward,)))
    assert forward.shown == "rtmp://one/live/****"


def test_a_url_that_an_earlier_release_took_has_no_place() -> None:
    assert Forward("gopher://x/y").place is None
    assert Forward(ONE).place == "rtmp one:1935 /live/canary-one?"


NOW = begun([Forward(ONE), Forward(TWO)])


def test_one_more_another_one_and_one_less() -> None:
    more = NOW.with_(Forward("srt://h:1"))
    assert [each.id for each in more.now] == ["fwd_1", "fwd_2", ""]
    other = NOW.with_(Forward("srt://h:1", "fwd_1"))
    assert [each.url for each in other.now] == ["srt://h:1", TWO]
    assert [each.id for each in NOW.without("fwd_1").now] == ["fwd_2"]
    assert NOW.find("fwd_3") is None


SHOWN = {"fwd_1": "rtmp://one/live/****", "fwd_2": "rtmp://two/live/****"}
NEW = Forward("srt://h:1")


def in_doubt(wanted: Forwards) -> Forwards:
    return Forwards(wanted.now, before=NOW.now)


def test_what_is_not_in_doubt_stays() -> None:
    assert NOW.settled({}) is NOW


def test_one_that_was_added_gets_its_id() -> None:
    held = in_doubt(NOW.with_(NEW))
    for shown in ("srt://h:1", None):
        found = held.settled({**SHOWN, "fwd_7": shown})
        assert [(each.id, each.url) for each in found.now] == [
            ("fwd_1", ONE),
            ("fwd_2", TWO),
            ("fwd_7", NEW.url),
        ]
        assert found.before is None


def test_one_that_was_not_added_is_forgotten() -> None:
    assert in_doubt(NOW.with_(NEW)).settled(dict(SHOWN)) == NOW
    # One that somebody else added is not ours.
    assert in_doubt(NOW.with_(NEW)).settled({**SHOWN, "fwd_3": "rtmp://x/live/****"}) == NOW


def test_one_that_was_replaced_is_the_one_that_is_shown() -> None:
    held = in_doubt(NOW.with_(Forward(NEW.url, "fwd_1")))
    assert held.settled({**SHOWN, "fwd_1": "srt://h:1"}).now[0].url == NEW.url
    assert held.settled(dict(SHOWN)) == NOW
    assert held.settled({"fwd_1": None, "fwd_2": None}).now[0].url == NEW.url  # what was wanted


def test_one_that_was_removed_or_not() -> None:
    held = in_doubt(NOW.without("fwd_1"))
    assert held.settled({"fwd_2": SHOWN["fwd_2"]}) == NOW.without("fwd_1")
    assert held.settled(dict(SHOWN)) == NOW


@given(
    st.lists(st.sampled_from([ONE, TWO, NEW.url]), max_size=4),
    st.lists(st.sampled_from([ONE, TWO, NEW.url]), max_size=4),
    st.dictionaries(
        st.sampled_from(["fwd_1", "fwd_2", "fwd_3", "fwd_9"]),
        st.sampled_from([*SHOWN.values(), None]),
    ),
)
def test_what_is_settled_is_there_and_known(
    now: list[str], before: list[str], there: dict[str, str | None]
) -> None:
    held = Forwards(begun(map(Forward, now)).now, before=begun(map(Forward, before)).now)
    found = held.settled(there)
    ids = [each.id for each in found.now]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= set(there)
    assert {each.url for each in found.now} <= {*now, *before}
