from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.control.seal import KEY_BYTES, NONCE_BYTES, Seal
from strata.errors import HostError
from strata.secrets import Secret

SEAL = Seal(bytes(range(KEY_BYTES)))


@given(text=st.text(max_size=200), place=st.text(min_size=1, max_size=40))
def test_what_is_sealed_opens_in_its_place(text: str, place: str) -> None:
    try:
        text.encode(), place.encode()
    except UnicodeEncodeError:
        return
    assert SEAL.open(SEAL.close(Secret(text), place), place).reveal() == text


def test_a_sealed_value_shows_nothing_and_never_looks_the_same() -> None:
    values = {SEAL.close(Secret("canary-key"), "str_1.psk") for _ in range(100)}
    assert len({value[:NONCE_BYTES] for value in values}) == 100
    assert not any(b"canary" in value for value in values)


@pytest.mark.parametrize("place", ["str_2.psk", "str_1.forwards", ""])
def test_it_does_not_open_elsewhere(place: str) -> None:
    sealed = SEAL.close(Secret("canary-key"), "str_1.psk")
    with pytest.raises(HostError, match="does not open; the key file and the database") as raised:
        SEAL.open(sealed, place)
    assert "canary" not in raised.value.message


def test_it_does_not_open_with_another_key() -> None:
    sealed = SEAL.close(Secret("canary-key"), "str_1.psk")
    with pytest.raises(HostError, match=r"str_1\.psk does not open"):
        Seal(bytes(KEY_BYTES)).open(sealed, "str_1.psk")


@given(where=st.integers(min_value=0), flip=st.integers(1, 255))
def test_it_does_not_open_once_a_bit_has_changed(where: int, flip: int) -> None:
    sealed = bytearray(SEAL.close(Secret("canary-key"), "place"))
    sealed[where % len(sealed)] ^= flip
    with pytest.raises(HostError):
        SEAL.open(bytes(sealed), "place")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(NONCE_BYTES)])
def test_what_was_cut_off_does_not_open(sealed: bytes) -> None:
    with pytest.raises(HostError):
        SEAL.open(sealed, "place")


def test_the_key_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    sealed = Seal.load(path).close(Secret("canary-key"), "place")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == KEY_BYTES
    assert Seal.load(path).open(sealed, "place").reveal() == "canary-key"


def test_two_installations_have_two_keys(tmp_path: Path) -> None:
    Seal.load(tmp_path / "one")
    Seal.load(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("content", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_a_file_that_holds_no_key_is_told_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seal.key"
    path.write_bytes(content)
    with pytest.raises(HostError, match="does not hold a key of 32 bytes; restore it"):
        Seal.load(path)
    assert path.read_bytes() == content


def test_a_new_key_closes_and_the_old_one_still_opens(tmp_path: Path) -> None:
    seal = Seal.load(tmp_path / "seal.key")
    old = seal.close(Secret("canary-key"), "place")
    seal.add_key()
    assert seal.is_rotating
    new = seal.close(Secret("canary-key"), "place")
    for known in (seal, Seal.load(tmp_path / "seal.key")):
        assert (
            known.open(old, "place").reveal() == known.open(new, "place").reveal() == "canary-key"
        )
        assert known.is_rotating
    seal.drop_old_keys()
    for known in (seal, Seal.load(tmp_path / "seal.key")):
        assert known.open(new, "place").reveal() == "canary-key"
        assert not known.is_rotating
        with pytest.raises(HostError, match="do not belong together"):
            known.open(old, "place")
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["seal.key"]


def test_a_seal_that_lies_nowhere_may_have_another_key() -> None:
    seal = Seal(bytes(KEY_BYTES))
    seal.add_key()
    seal.drop_old_keys()
    assert seal.open(seal.close(Secret("x"), "place"), "place").reveal() == "x"
