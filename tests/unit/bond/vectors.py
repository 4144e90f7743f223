"""Datagrams of Debian's librist 0.2.7, as they were on the wire, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strata.secrets import Secret

SECRET: Final = Secret("abcdefghijkl")


@dataclass(frozen=True, slots=True)
class Captured:
    """``plain``: what librist had sealed, in hex."""

    name: str
    bits: int
    datagram: bytes
    plain: str

    @property
    def nonce(self) -> bytes:
        return self.datagram[4:8]

    @property
    def sequence(self) -> int:
        return int.from_bytes(self.datagram[8:12], "big")

    @property
    def sealed(self) -> bytes:
        return self.datagram[12:]


SENDER_REPORT: Final = Captured(
    "ristsender: SR, SDES; AES-256",
    256,
    bytes.fromhex(
        "304888b66f2f6312000000001e1b6266aa20f117c5f653df21e15c0861386a2e28d587ec7a36315bb73b69f6"
        "7a458de2393bf818bd29ba1039326ebe"
    ),
    "800007b180c80006dff7cd16eeae3bd07fdc20b413075d3b000000000000000081ca0003dff7cd160102766d"
    "00000000",
)
SENDER_ECHO_REQUEST: Final = Captured(
    "ristsender: RR, SDES, echo request; AES-256",
    256,
    bytes.fromhex(
        "304888b66f2f631200000001d3472c9b2d4de0ce0811faf935847dd23ede5930fe658aadcfa999db97d5499e"
        "231601fa497f08528a181c99542a5250e4907730"
    ),
    "800007b180c90001dff7cd1681ca0003dff7cd160102766d0000000082cc0005dff7cd165249535483ab6749"
    "216ca27b00000000",
)
SENDER_REPORT_128: Final = Captured(
    "ristsender: SR, SDES; AES-128",
    128,
    bytes.fromhex(
        "300888b6d99434c300000000160dae779b0aff77d8210e64a773edfb2508c7ae4651fa82c86f482eac1bbd0d"
        "a52c2c909c5aa9e0be0b22aa870fc939"
    ),
    "800007b180c80006497fe97eeeae3bd08176e6af13075f6f000000000000000081ca0003497fe97e0102766d"
    "00000000",
)
RECEIVER_ECHO_REQUEST: Final = Captured(
    "ristreceiver: RR, SDES, its own (207), echo request; AES-256",
    256,
    bytes.fromhex(
        "304888b6c7063f84000000009308ded95fcbbd2c0b21192242dd2656d5fc6471a47de10da17a8b06eee8f9f4"
        "080537c6464084c8fb5bdb7b960db611b1806009b2c97ff6140e047e614689272dcb76aa06284c6d95e39ee7"
        "6250a47c9ef50c1b555240388270e2745264ef11deed87aab97f8eb50ca7ecc44051e604"
    ),
    "07b1800081c900071234567800000000000000000000000000000000000000006749c42681ca000712345678"
    "0112766d403132372e302e302e313a34363030300000000080cf0004211f59150400000283ab6749c426f300"
    "82cc0005211f59155249535483ab6749c426f35600000000",
)
RECEIVER_KEEPALIVE: Final = Captured(
    "ristreceiver: a datagram of librist's own, with a sequence of GRE and none of RIST's words",
    256,
    bytes.fromhex(
        "30480800c7063f8400000001ab2c68d2d4f4b1cb732917a9998c9330c4f93c0c163738b4c9a2729f12141f0e"
        "8685d45c2445f495139cef8081b230db90796e8b130054e6"
    ),
    "45000038d431400040fccae27f0000017f000001617574682c3132372e302e302e313a31343132362c313237"
    "2e302e302e313a3436303030",
)
RECEIVER_NACK: Final = Captured(
    "ristreceiver: RR, SDES, a request for 20 and 21; AES-128",
    128,
    bytes.fromhex(
        "300888b693bbbd3c00000057e3a07102d1b1296affcb6140a86d1822f8e01babf2612b84f61441b624200960"
        "afebe73c91ec0cdbcd45e18083785ac551b5fff4d847d8c347517340"
    ),
    "07b1800080c900011234567881ca0007123456780112766d403132372e302e302e313a343630303000000000"
    "80cc0003123456785249535400140001",
)

CAPTURED: Final = (
    SENDER_REPORT,
    SENDER_ECHO_REQUEST,
    SENDER_REPORT_128,
    RECEIVER_ECHO_REQUEST,
    RECEIVER_KEEPALIVE,
    RECEIVER_NACK,
)
