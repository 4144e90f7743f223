"""The pre-shared key, against what librist 0.2.7 made with it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.bond import cipher
from strata.bond.cipher import KEYS_KEPT, Sealer
from strata.errors import BadArguments
from strata.secrets import Secret
from unit.bond.vectors import CAPTURED, SECRET, Captured

sequences = st.integers(0, (1 << 32) - 1)


@pytest.mark.parametrize("one", CAPTURED, ids=lambda one: one.name)
def test_what_librist_sealed_opens(one: Captured) -> None:
    found = Sealer(SECRET, one.bits).open(one.nonce, one.sequence, one.sealed)
    assert found.hex() == one.plain


@pytest.mark.parametrize("one", CAPTURED, ids=lambda one: one.name)
def test_what_is_sealed_here_is_what_librist_would_have_made(one: Captured) -> None:
    sealer = Sealer(SECRET, one.bits)
    # Counter mode is its own inverse: with librist's nonce opening seals.
    assert sealer.open(one.nonce, one.sequence, bytes.fromhex(one.plain)) == one.sealed


@given(sequences, st.binary(max_size=1500), st.sampled_from(cipher.BITS))
def test_what_was_sealed_opens_at_the_other_end(sequence: int, plain: bytes, bits: int) -> None:
    here, there = SEALERS[bits]
    assert there.open(here.nonce, sequence, here.seal(sequence, plain)) == plain


SEALERS = {bits: (Sealer(SECRET, bits), Sealer(SECRET, bits)) for bits in cipher.BITS}


def test_another_secret_makes_garbage() -> None:
    here, there = Sealer(SECRET), Sealer(Secret("lkjihgfedcba"))
    plain = bytes(64)
    assert there.open(here.nonce, 1, here.seal(1, plain)) != plain


def test_a_nonce_is_another_one_each_time_and_says_that_the_even_key_is_meant() -> None:
    sealer = Sealer(SECRET)
    seen = {sealer.nonce}
    for _ in range(20):
        sealer.renew()
        assert sealer.nonce not in seen
        assert sealer.nonce[0] < 0x80
        assert any(sealer.nonce)
        seen.add(sealer.nonce)


@pytest.mark.parametrize(
    ("psk", "bits", "says"), [("short", 256, "8"), ("x" * 128, 256, "127"), ("a" * 20, 192, "128")]
)
def test_a_key_that_others_would_misread_is_refused(psk: str, bits: int, says: str) -> None:
    with pytest.raises(BadArguments, match=says) as caught:
        Sealer(Secret(psk), bits)
    assert psk not in caught.value.message


def test_strangers_nonces_do_not_push_out_the_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[bytes] = []
    real = hashlib.pbkdf2_hmac

    def counted(name: str, secret: bytes, salt: bytes, *more: Any) -> bytes:
        derived.append(salt)
        return real(name, secret, salt, *more)

    sealer = Sealer(SECRET)
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)
    receiver = b"\x01\x02\x03\x04"
    for number in range(4 * KEYS_KEPT):
        sealer.open(number.to_bytes(4, "big"), 1, b"junk")
        sealer.open(receiver, 1, b"words")
    assert derived.count(receiver) == 1
    assert len(sealer._theirs) == KEYS_KEPT
