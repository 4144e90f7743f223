"""Playlists of HLS, and going on with one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.worker.playlist import SEGMENT_NAME, Entry, Playlist, resume


def filled(*durations_s: float, length: int = 6, first: int = 7) -> Playlist:
    playlist = Playlist(4, length, first)
    for duration_s in durations_s:
        playlist.add(duration_s, follows=True)
    return playlist


def sequence_of(text: str) -> int:
    found = re.search(r"^#EXT-X-MEDIA-SEQUENCE:(\d+)$", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def listed(text: str) -> dict[int, int]:
    """The discontinuity sequence number of each segment (RFC 8216 section 6.2.1)."""
    found = re.search(r"^#EXT-X-DISCONTINUITY-SEQUENCE:(\d+)$", text, re.MULTILINE)
    number = int(found[1]) if found else 0
    sequence, numbers = sequence_of(text), {}
    for line in text.splitlines():
        number += line == "#EXT-X-DISCONTINUITY"
        if line and not line.startswith("#"):
            assert line == f"segment-{sequence}.ts"
            numbers[sequence] = number
            sequence += 1
    return numbers


def test_a_playlist_as_players_read_it() -> None:
    playlist = filled(1.0, 4.004)
    playlist.add(3.9996, follows=False)
    assert playlist.render() == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:3\n"
        "#EXT-X-TARGETDURATION:4\n"
        "#EXT-X-MEDIA-SEQUENCE:7\n"
        "#EXTINF:1.000,\n"
        "segment-7.ts\n"
        "#EXTINF:4.004,\n"
        "segment-8.ts\n"
        "#EXT-X-DISCONTINUITY\n"
        "#EXTINF:4.000,\n"
        "segment-9.ts\n"
    )


def test_an_empty_playlist_names_the_segment_that_comes_next() -> None:
    text = Playlist(4, 6, 12).render()
    assert sequence_of(text) == 12
    assert "EXTINF" not in text


def test_a_segment_has_a_name_of_its_own() -> None:
    playlist = filled(length=3, first=0)
    names = [playlist.add(4.0, follows=True).name for _ in range(20)]
    assert names == [f"segment-{number}.ts" for number in range(20)]
    assert all(SEGMENT_NAME.fullmatch(name) for name in names)


def test_the_oldest_leave_the_list() -> None:
    playlist = filled(*[4.0] * 5, length=3, first=100)
    assert [entry.sequence for entry in playlist.entries] == [102, 103, 104]
    assert playlist.next_sequence == 105
    assert sequence_of(playlist.render()) == 102


def test_a_discontinuity_that_leaves_the_list_is_counted() -> None:
    playlist = Playlist(4, 3, 0)
    for follows in (True, False, True, True):
        playlist.add(4.0, follows)
    text = playlist.render()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert "DISCONTINUITY-SEQUENCE" not in text
    playlist.add(4.0, follows=True)
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in playlist.render()
    assert "#EXT-X-DISCONTINUITY\n" not in playlist.render()


def test_a_playlist_that_is_over_says_so() -> None:
    playlist = filled(4.0)
    playlist.is_over = True
    assert playlist.render().endswith("segment-7.ts\n#EXT-X-ENDLIST\n")


def test_a_playlist_is_gone_on_with() -> None:
    playlist = filled(1.0, 4.004)
    playlist.add(3.5, follows=False)
    again = resume(playlist.render(), 6)
    assert again == playlist
    assert again is not None
    assert again.add(4.0, follows=False) == Entry(10, 4.0, False)


def test_a_playlist_that_was_over_is_so_no_longer() -> None:
    playlist = filled(4.0)
    playlist.is_over = True
    again = resume(playlist.render(), 6)
    assert again is not None
    assert "ENDLIST" not in again.render()


def test_an_empty_playlist_is_gone_on_with() -> None:
    assert resume(Playlist(4, 6, 12, discontinuities=3).render(), 5) == Playlist(
        4, 5, 12, discontinuities=3
    )


def test_a_list_may_become_shorter() -> None:
    playlist = Playlist(4, 6, 0, discontinuities=2)
    for follows in (True, False, False, True, True, False):
        playlist.add(4.0, follows)
    again = resume(playlist.render(), 3)
    assert again is not None
    assert [entry.sequence for entry in again.entries] == [3, 4, 5]
    assert (again.next_sequence, again.discontinuities) == (6, 4)


def test_or_longer() -> None:
    again = resume(filled(4.0, 4.0, length=3).render(), 10)
    assert again == filled(4.0, 4.0, length=10)


def test_tags_of_others_are_passed_over() -> None:
    text = filled(4.0, 3.0).render().replace("#EXTINF:3.000,", "#EXT-X-X:1\n\n#EXTINF:3,a title")
    assert resume(text, 6) == filled(4.0, 3.0)


WHOLE = filled(4.0, 4.0).render()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no playlist",
        WHOLE.replace("#EXT-X-TARGETDURATION:4\n", ""),
        WHOLE.replace("DURATION:4", "DURATION:4.5"),
        WHOLE.replace("DURATION:4", "DURATION:"),
        WHOLE.replace("#EXT-X-MEDIA-SEQUENCE:7\n", ""),
        WHOLE.replace("SEQUENCE:7", "SEQUENCE:-7"),
        WHOLE.replace("SEQUENCE:7", "SEQUENCE:" + "7" * 13),
        WHOLE.replace("SEQUENCE:7", "SEQUENCE:6"),
        WHOLE.replace("segment-8", "segment-9"),
        WHOLE.replace("segment-7", "segment-8"),
        WHOLE.replace("\n", "\r\n"),
        WHOLE[:60],
    ],
)
def test_what_is_none_of_ours_is_not_gone_on_with(text: str) -> None:
    assert resume(text, 6) is None


@pytest.mark.parametrize(
    "text",
    [
        WHOLE.replace("segment-", "live"),
        WHOLE.replace("#EXTINF:4.000,\n", ""),
    ],
    ids=["names of another program", "segments without a duration"],
)
def test_a_list_with_something_else_in_it_is_not_gone_on_with(text: str) -> None:
    assert resume(text, 6) is None


LINES = st.sampled_from(
    [
        *("#EXTM3U", "#EXT-X-TARGETDURATION:4", "#EXT-X-MEDIA-SEQUENCE:1", "#EXT-X-ENDLIST"),
        *("#EXTINF:4.000,", "#EXTINF:4", "#EXTINF:.,", "#EXT-X-DISCONTINUITY", "segment-1.ts"),
        *("segment-2.ts", "segment-٣.ts", "#EXT-X-DISCONTINUITY-SEQUENCE:2", "x", "\ufffd"),
    ]
)


@given(
    text=st.one_of(st.text(), st.lists(LINES, max_size=15).map("\n".join)),
    length=st.integers(3, 8),
)
def test_any_text_is_a_playlist_or_none(text: str, length: int) -> None:
    found = resume(text, length)
    if found is not None:
        assert len(found.entries) <= length
        assert resume(found.render(), length) == found


ADDED = st.tuples(st.integers(0, 20_000), st.booleans())
RESUMED = st.integers(3, 8)


@given(st.lists(st.one_of(ADDED, RESUMED), max_size=60), st.integers(0, 10**9))
def test_numbers_never_go_back_and_stay_with_their_segments(
    series: list[tuple[int, bool] | int], first: int
) -> None:
    playlist = Playlist(20, 4, first)
    sequence, numbers = first, dict[int, int]()
    for each in series:
        if isinstance(each, int):
            resumed = resume(playlist.render(), each)
            assert resumed is not None
            assert resumed.next_sequence == playlist.next_sequence
            playlist = resumed
        else:
            entry = playlist.add(each[0] / 1000, each[1])
            assert entry.sequence not in numbers
        text = playlist.render()
        assert sequence_of(text) >= sequence
        sequence = sequence_of(text)
        assert all(numbers.setdefault(at, number) == number for at, number in listed(text).items())
