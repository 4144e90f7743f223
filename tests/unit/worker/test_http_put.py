"""Uploads to a small server in this process."""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import strata
from strata.errors import (
    CertificateRefused,
    DestinationError,
    DestinationRefused,
    DestinationUnreachable,
)
from strata.wire import forward_url
from strata.worker import http_put
from strata.worker.http_put import PIECE_BYTES, SHARE_LOOK_S, Putter
from support.ports import free_tcp_port

KEY = "abcd-efgh-1234"
DEADLINE_S = 10.0


class Server:
    """Takes uploads, and does with them what its test says."""

    def __init__(self) -> None:
        self.status = 200
        self.closes = False
        self.release = threading.Event()
        self.release.set()
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def do_PUT(self) -> None:
                server.paths.append(self.path)
                server.headers.append({name.lower(): text for name, text in self.headers.items()})
                server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                server.release.wait(DEADLINE_S)
                if server.closes:
                    self.close_connection = True
                    return
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live/{KEY}/"

    def wrap(self, context: ssl.SSLContext) -> None:
        """Speaks TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def stop(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE_S)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def putter(server: Server) -> Iterator[Putter]:
    putter = Putter(forward_url.parse(server.url), lambda: 0)
    yield putter
    putter.close()


def put(putter: Putter, server: Server, data: bytes = b"media") -> bool:
    return putter.put(server.url + "segment-1.ts", data, "video/mp2t")


def test_a_file_arrives_as_it_is(server: Server, putter: Putter) -> None:
    data = bytes(range(256)) * 300
    assert put(putter, server, data)
    assert server.bodies == [data]
    assert server.paths == [f"/live/{KEY}/segment-1.ts"]
    [headers] = server.headers
    assert headers["content-type"] == "video/mp2t"
    assert headers["content-length"] == str(len(data))
    assert "transfer-encoding" not in headers
    assert headers["user-agent"] == f"Strata / receiver / {strata.__version__}"


def test_the_connection_is_kept_from_one_file_to_the_next(server: Server, putter: Putter) -> None:
    for _ in range(3):
        put(putter, server)
    assert len(server.bodies) == 3
    assert server.connections == 1


def test_an_empty_file_arrives_too(server: Server, putter: Putter) -> None:
    assert put(putter, server, b"")
    assert server.bodies == [b""]


@pytest.mark.parametrize(("status", "accepted"), [(200, True), (201, True), (204, True)])
def test_what_is_accepted(server: Server, putter: Putter, status: int, accepted: bool) -> None:
    server.status = status
    assert put(putter, server) is accepted


def test_what_is_only_received(server: Server, putter: Putter) -> None:
    server.status = 202
    assert put(putter, server) is False


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
def test_a_refusal_says_what_to_check(server: Server, putter: Putter, status: int) -> None:
    server.status = status
    with pytest.raises(DestinationRefused, match=rf"refused the upload \({status} ") as caught:
        put(putter, server)
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert "check the address and its key" in caught.value.message
    assert KEY not in caught.value.message
    assert caught.value.can_retry


@pytest.mark.parametrize("status", [301, 400, 429, 500, 503])
def test_other_answers_are_failures(server: Server, putter: Putter, status: int) -> None:
    server.status = status
    with pytest.raises(DestinationError, match=rf"did not take the upload \({status} ") as caught:
        put(putter, server)
    assert type(caught.value) is DestinationError
    assert KEY not in caught.value.message


def test_after_a_failure_the_next_file_can_arrive(server: Server, putter: Putter) -> None:
    server.status = 500
    with pytest.raises(DestinationError):
        put(putter, server)
    server.status = 200
    assert put(putter, server)


def test_a_server_that_closes_without_an_answer(server: Server, putter: Putter) -> None:
    server.closes = True
    with pytest.raises(DestinationError, match="broke off the upload") as caught:
        put(putter, server)
    assert type(caught.value) is DestinationError
    server.closes = False
    assert put(putter, server)


def test_a_server_that_does_not_answer(
    server: Server, putter: Putter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_put, "SEND_TIMEOUT_S", 0.1)
    server.release.clear()
    with pytest.raises(DestinationUnreachable, match="does not answer in time"):
        put(putter, server)


def test_a_server_that_cannot_prove_its_name_is_sent_nothing(
    server: Server, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server.wrap(context)
    url = server.url.replace("http://", "https://")
    putter = Putter(forward_url.parse(url), lambda: 0)
    with pytest.raises(CertificateRefused, match="nothing was sent there"):
        putter.put(url + "segment-1.ts", b"media", "video/mp2t")
    putter.close()
    assert server.bodies == []


def certificate(folder: Path) -> Path:
    """One that nobody has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_where_nothing_listens() -> None:
    port = free_tcp_port()
    putter = Putter(forward_url.parse(f"http://127.0.0.1:{port}/live/"), lambda: 0)
    with pytest.raises(DestinationUnreachable, match=f"nothing listens on 127.0.0.1:{port}"):
        putter.put(f"http://127.0.0.1:{port}/live/segment-1.ts", b"", "video/mp2t")
    putter.close()


def test_one_that_was_never_used_can_be_closed() -> None:
    Putter(forward_url.parse("http://host/live/"), lambda: 0).close()


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
            CertificateRefused,
            "the certificate of host:8443 cannot be trusted, so nothing was sent there",
        ),
        (
            httpx.ConnectError("[Errno -2] Name or service not known"),
            DestinationUnreachable,
            "the name host does not resolve",
        ),
        (
            httpx.ConnectError("[Errno -3] Temporary failure in name resolution"),
            DestinationUnreachable,
            "the name host does not resolve",
        ),
        (
            httpx.ConnectError("[Errno 111] Connection refused"),
            DestinationUnreachable,
            "nothing listens on host:8443",
        ),
        (
            httpx.ConnectTimeout("timed out"),
            DestinationUnreachable,
            "host:8443 does not answer in time",
        ),
        (
            httpx.WriteTimeout("The write operation timed out"),
            DestinationUnreachable,
            "host:8443 does not answer in time",
        ),
        (
            httpx.WriteError("[Errno 32] Broken pipe"),
            DestinationError,
            "host:8443 broke off the upload (WriteError)",
        ),
        (
            httpx.ConnectError("[Errno -5] No address associated with hostname"),
            DestinationUnreachable,
            "the name host does not resolve",
        ),
        (
            httpx.ConnectError("[Errno 101] Network is unreachable"),
            DestinationUnreachable,
            "host:8443",
        ),
    ],
)
def test_what_httpx_says_in_the_words_of_an_operator(
    error: httpx.HTTPError, kind: type[DestinationError], says: str
) -> None:
    putter = Putter(forward_url.parse(f"https://host:8443/live/{KEY}/"), lambda: 0)
    found = putter._explain(error)
    assert type(found) is kind
    assert says in found.message
    assert KEY not in found.message
    assert found.can_retry == (kind is not CertificateRefused)


def test_a_name_that_cannot_be_one_is_an_error_of_the_destination() -> None:
    url = "https://\u2603.example/live/"
    putter = Putter(forward_url.parse(url), lambda: 0)
    with pytest.raises(DestinationError):
        putter.put(url + "segment-1.ts", b"", "video/mp2t")


class Clock:
    """Stands in for the module ``time``: whoever sleeps moves it on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(http_put, "time", clock)
    return clock


def pieces(share_kbps: list[int], data: bytes) -> Iterator[bytes]:
    """The pieces, with another share for each; the last one stays."""
    shares = iter(share_kbps)
    putter = Putter(forward_url.parse("http://host/live/"), lambda: next(shares, share_kbps[-1]))
    return putter._pieces(data)


def test_without_a_share_there_is_no_pace(clock: Clock) -> None:
    data = bytes(10 * PIECE_BYTES + 1)
    assert b"".join(pieces([0], data)) == data
    assert clock.now_s == 1000.0


def test_a_file_is_sent_at_the_pace_of_the_share(clock: Clock) -> None:
    data = bytes(10 * PIECE_BYTES)
    assert b"".join(pieces([1000], data)) == data
    assert clock.now_s - 1000.0 == pytest.approx(len(data) * 8 / 1000 / 1000)


def test_a_share_that_changes_holds_at_once(clock: Clock) -> None:
    one_s = PIECE_BYTES * 8 / 1000 / 1000
    list(pieces([1000, 2000], bytes(3 * PIECE_BYTES)))
    assert SHARE_LOOK_S + (3 * one_s - SHARE_LOOK_S) / 2 == pytest.approx(clock.now_s - 1000.0)


def test_a_share_that_grows_ends_the_wait(clock: Clock) -> None:
    list(pieces([1, 1000], bytes(2 * PIECE_BYTES)))
    assert clock.now_s - 1000.0 < 10.0


def test_what_a_slow_server_costs_is_not_caught_up_in_a_burst(clock: Clock) -> None:
    for number, _ in enumerate(pieces([1000], bytes(20 * PIECE_BYTES))):
        if number == 0:
            clock.now_s += 60.0
    rest_s = 20 * PIECE_BYTES * 8 / 1000 / 1000
    assert clock.now_s - 1060.0 == pytest.approx(rest_s, abs=0.15)
