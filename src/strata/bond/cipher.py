"""The pre-shared key of RIST's main profile (VSF TR-06-2:2020 section 7).

AES in counter mode. The key is made of the secret and of a nonce that travels in the clear
(PBKDF2, SHA-256, 1024 rounds, the nonce is the salt); the counter begins with the sequence number
of the GRE header, so that no two packets under one nonce may have the same.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections import OrderedDict
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from strata.errors import BadArguments
from strata.secrets import Secret, psk_problem

ROUNDS: Final = 1024
BITS: Final = (128, 256)
KEYS_KEPT: Final = 16
"""Of the other end, those used last: librist takes a nonce of its own for each link."""

_COUNTER: Final = struct.Struct(">I12x")


class Sealer:
    """Seals what goes out and opens what comes back.

    Args:
        bits: of AES: 128 or 256.

    Attributes:
        nonce: of what is sealed here.

    Raises:
        BadArguments: a key that other implementations would cut or misread.
    """

    def __init__(self, psk: Secret, bits: int = 256) -> None:
        problem = psk_problem(psk.reveal())
        if bits not in BITS:
            problem = f"AES with {bits} bits does not exist in RIST; use 128 or 256"
        if problem:
            raise BadArguments(problem)
        self.bits = bits
        self._psk = psk
        self._theirs: OrderedDict[bytes, CipherContext] = OrderedDict()
        self.renew()

    def renew(self) -> None:
        """Takes another nonce, before the sequence numbers come round."""
        # The first bit says which of two secrets is meant (odd and even); we have the even one.
        # All zero means "not encrypted" to librist.
        self.nonce = (secrets.randbelow(0x7FFFFFFE) + 1).to_bytes(4, "big")
        self._ours = self._derive(self.nonce)

    def seal(self, sequence: int, plain: bytes) -> bytes:
        """Encrypts; one sequence number (32 bits) must not be used twice under one nonce."""
        self._ours.reset_nonce(_COUNTER.pack(sequence))
        return self._ours.update(plain)

    def open(self, nonce: bytes, sequence: int, sealed: bytes) -> bytes:
        """Decrypts; what was sealed with another secret comes out as garbage."""
        stream = self._theirs.get(nonce)
        if stream is None:
            stream = self._theirs[nonce] = self._derive(nonce)
            if len(self._theirs) > KEYS_KEPT:
                self._theirs.popitem(last=False)
        self._theirs.move_to_end(nonce)
        stream.reset_nonce(_COUNTER.pack(sequence))
        return stream.update(sealed)

    def _derive(self, nonce: bytes) -> CipherContext:
        """What to seal or open with; in counter mode both are the same."""
        secret = self._psk.reveal().encode()
        key = hashlib.pbkdf2_hmac("sha256", secret, nonce, ROUNDS, self.bits // 8)
        return Cipher(algorithms.AES(key), modes.CTR(_COUNTER.pack(0))).encryptor()
