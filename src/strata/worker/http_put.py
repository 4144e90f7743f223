"""HTTP PUT, at a pace, from a thread of its own. Blocks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import strata
from strata.errors import (
    CertificateRefused,
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
)
from strata.wire.forward_url import ForwardUrl

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S: Final = 5.0
SEND_TIMEOUT_S: Final = 5.0
"""For each piece to be taken, and for the answer."""
PIECE_BYTES: Final = 16 * 1024
SHARE_LOOK_S: Final = 0.1
"""How often the share is looked at while waiting."""

ACCEPTED: Final = frozenset((200, 201, 204))
RECEIVED: Final = 202
"""The server has it, which is not to say that it takes it (RFC 9110 section 15.3.3)."""
REFUSED: Final = frozenset((401, 403, 404, 405, 410))


UNRESOLVED: Final = (
    "Name or service not known",
    "name resolution",
    "No address associated with hostname",
)
"""What getaddrinfo(3) says of a name that it does not find."""


class Putter:
    """A connection to one server, kept open from one file to the next.

    Args:
        share_kbps: called before each piece: what may be sent now, 0 for no limit.
    """

    def __init__(self, url: ForwardUrl, share_kbps: Callable[[], int]) -> None:
        self._url = url
        self._share_kbps = share_kbps
        self._client: httpx.Client | None = None

    def put(self, url: str, data: bytes, content_type: str) -> bool:
        """Uploads one file. True when the server accepted it, False when it only received it.

        Raises:
            DestinationError: or one of its kinds: it did not arrive.
        """
        httpx, ssl = _load()
        if self._client is None:
            timeout = httpx.Timeout(SEND_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
            # The authorities of this machine, as for RTMPS, not a list of httpx's own.
            verify = (
                ssl.create_default_context() if self._url.url.lower().startswith("https") else True
            )
            self._client = httpx.Client(timeout=timeout, trust_env=False, verify=verify)
        headers = {
            "Content-Length": str(len(data)),
            "Content-Type": content_type,
            # YouTube wants manufacturer, model and version.
            "User-Agent": f"Strata / receiver / {strata.__version__}",
        }
        try:
            answer = self._client.put(url, content=self._pieces(data), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._explain(error) from None
        if answer.status_code in ACCEPTED:
            return True
        if answer.status_code == RECEIVED:
            return False
        where = f"{self._url.host}:{self._url.port}"
        said = f"{answer.status_code} {answer.reason_phrase}".strip()
        if answer.status_code in REFUSED:
            raise DestinationRefused(
                f"{where} refused the upload ({said}); check the address and its key"
            )
        raise DestinationError(f"{where} did not take the upload ({said})")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            yield piece
            self._wait(len(piece) * 8 / 1000)

    def _wait(self, kbits: float) -> None:
        """Until that much may have been sent; the share may change meanwhile."""
        while kbits > 0 and (share := self._share_kbps()):
            nap_s = min(kbits / share, SHARE_LOOK_S)
            time.sleep(nap_s)
            kbits -= nap_s * share

    def _explain(self, error: Exception) -> DestinationError:
        where = f"{self._url.host}:{self._url.port}"
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return CertificateRefused(
                f"the certificate of {where} cannot be trusted, so nothing was sent there; "
                "check the name and the clock of this machine, or install the authority that "
                "signed it"
            )
        if any(words in text for words in UNRESOLVED):
            return DestinationUnreachable(
                f"the name {self._url.host} does not resolve; check the forward URL"
            )
        if "refused" in text:
            return DestinationUnreachable(
                f"nothing listens on {where}; check the address and that the server is up"
            )
        kind = type(error).__name__
        if "Timeout" in kind:
            return DestinationUnreachable(
                f"{where} does not answer in time; check the address, and whether it keeps up"
            )
        if kind in ("ConnectError", "InvalidURL"):
            return DestinationUnreachable(
                f"{where} cannot be reached ({text}); check the address, and this machine's network"
            )
        return DestinationError(f"{where} broke off the upload ({kind})")


def _load() -> tuple[Any, Any]:
    """httpx, and with it the TLS that a worker does without otherwise (see ``__main__``)."""
    if sys.modules.get("ssl", sys) is None:
        del sys.modules["ssl"]
    import ssl

    import httpx

    return httpx, ssl
