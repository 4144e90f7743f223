"""What an encoder is set to, for the ones that people have: addresses, lines, codes to scan. Pure.

It holds the key of a broadcast or the token of a sender, and is made for the answer to what made
those alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import segno

from strata.control.api.streams import AES_BITS, sender_command, with_key
from strata.secrets import Secret


def recipe(urls: Sequence[str], psk: Secret, buffer_ms: int) -> dict[str, Any]:
    """All that an encoder needs to know.

    Args:
        urls: one for each link, without the key.
    """
    whole = [with_key(url, psk, buffer_ms) for url in urls]
    return {
        "addresses": list(urls),
        "psk": psk.reveal(),
        "facts": [
            ["Protocol", "RIST, main profile"],
            ["Encryption", f"AES-{AES_BITS}, pre-shared key"],
            ["Recovery buffer", f"{buffer_ms} ms"],
            ["Contents", "MPEG-TS: H.264 or H.265, and AAC; a key frame each 2 s"],
        ],
        "ristsender": sender_command(list(urls), psk, buffer_ms),
        "ffmpeg": f"ffmpeg -re -i INPUT -c copy -f mpegts {shlex.quote(whole[0])}",
        "obs": whole[0],
        "codes": [
            {"address": url, "image": code(text)} for url, text in zip(urls, whole, strict=True)
        ],
    }


def enrollment(control: str, token: Secret) -> str:
    """What a sender's environment file gets, so that it finds us and is let in.

    Args:
        control: where it reaches us, such as ``https://control.example``.
    """
    told = {"CONTROL": control, "ENROLLMENT_TOKEN": token.reveal()}
    return "\n".join(f"STRATA_SENDER_{name}={value}" for name, value in told.items())


def code(text: str) -> str:
    """A QR code as an image that a page can show."""
    made = segno.make_qr(text, error="m")
    return made.svg_data_uri(scale=4, border=3, light="#fff", dark="#000")
