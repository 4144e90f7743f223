"""The way to control: a WebSocket over TLS, dialled from here, always."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)

import strata
from strata.errors import BadArguments
from strata.sender.connection import Gone
from strata.sender.settings import SenderSettings, is_loopback
from strata.wire import agent as wire

OPEN_DEADLINE_S: Final = 20.0
"""Name, TCP, TLS and the first answer, over a link that is full of media."""
ADDRESS_DEADLINE_S: Final = 6.0
"""For one of several addresses, over one interface."""
PING_INTERVAL_S: Final = 10.0
PING_DEADLINE_S: Final = 15.0
CLOSE_DEADLINE_S: Final = 2.0
OTHER_ADDRESS_S: Final = 0.5
"""Before the next address of the name is tried beside the first: one kind may lead nowhere."""

_quiet = logging.getLogger("strata.websocket")
_quiet.setLevel(logging.WARNING)

WORDS: Final = {
    1000: "control closed the connection",
    1001: "control closed the connection",
    1009: "something that was said was too long",
    1011: "no answer to a ping, or control failed",
    1012: "control ends or is being restarted",
    wire.CLOSE_LATE: "control says that it waited too long",
    wire.CLOSE_TOO_MANY: "control says that too much was said",
}


class Unreachable(Exception):
    """Control was not reached; the message says why, for a log."""


class WebSocket:
    """As :class:`strata.sender.connection.Socket`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            raise _gone(closed) from None

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise _gone(closed) from None

    async def close(self, code: int) -> None:
        await self._connection.close(code)


def _gone(closed: ConnectionClosed) -> Gone:
    """What the other end said last; what this one did, where that said nothing."""
    close = closed.rcvd or closed.sent
    if close is None:
        return Gone(1006, "it broke")
    return Gone(close.code, WORDS.get(close.code) or wire.plain(close.reason) or "it was closed")


async def dial(settings: SenderSettings, interface: str | None = None) -> WebSocket:
    """An open connection.

    Args:
        interface: to go over; None: where the routes lead, and over a proxy where the environment
            names one.

    Raises:
        Unreachable: there is none.
        BadArguments: the settings are wrong.
    """
    url = settings.url
    parts = urlsplit(url)
    way: dict[str, Any] = {"happy_eyeballs_delay": OTHER_ADDRESS_S}
    try:
        if interface is not None:
            way = {"sock": await _connected(parts, interface)}
        return WebSocket(
            await connect(
                url,
                ssl=trust(settings.ca_file) if parts.scheme == "wss" else None,
                # Not for this machine itself.
                proxy=None if interface or is_loopback(parts.hostname or "") else True,
                open_timeout=OPEN_DEADLINE_S,
                ping_interval=PING_INTERVAL_S,
                ping_timeout=PING_DEADLINE_S,
                close_timeout=CLOSE_DEADLINE_S,
                max_size=wire.MAX_FRAME_BYTES,
                compression=None,  # what is said is short, and memory is not
                user_agent_header=f"strata-sender/{strata.__version__}",
                logger=_quiet,
                **way,
            )
        )
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(
            f"its certificate cannot be trusted ({error.verify_message}); see that the name in "
            "control is the one in the certificate, that the clock of this machine is right, and "
            "name a private authority as ca_file"
        ) from None
    except InvalidStatus as error:
        raise Unreachable(
            f"it answers {error.response.status_code} where agents dial in; see whether control "
            "names a control plane, and whether the proxy before it passes WebSockets on"
        ) from None
    except TimeoutError:
        raise Unreachable(f"it does not answer within {OPEN_DEADLINE_S:g} s") from None
    except socket.gaierror as error:
        raise Unreachable(f"{parts.hostname} has no address here ({error.strerror})") from None
    except ProxyError as error:
        raise Unreachable(f"the proxy of the environment does not help: {error}") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise Unreachable(f"{parts.netloc} cannot be reached ({why})") from None
    except (WebSocketException, EOFError) as error:
        raise Unreachable(f"{parts.netloc} does not speak as control does ({error})") from None


async def _connected(parts: SplitResult, interface: str) -> socket.socket:
    """A TCP connection over one interface, to the first address that answers."""
    loop = asyncio.get_running_loop()
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    failure: OSError | None = None
    async with asyncio.timeout(OPEN_DEADLINE_S):
        for family, type, protocol, _, address in await loop.getaddrinfo(
            parts.hostname, port, type=socket.SOCK_STREAM
        ):
            one = socket.socket(family, type, protocol)
            try:
                one.setblocking(False)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
                async with asyncio.timeout(ADDRESS_DEADLINE_S):
                    await loop.sock_connect(one, address)
            except OSError as error:  # TimeoutError is one, too
                one.close()
                failure = error
            except BaseException:
                one.close()
                raise
            else:
                return one
    raise failure or OSError("the name has no address")


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Who may prove that it is control. There is no way to go without: tokens and keys travel."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise BadArguments(
                f"ca_file {ca_file} holds no certificates that can be read: {error}"
            ) from None
    return context
