"""A certificate authority of the tests, and servers' certificates signed by it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.children import output_of


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: the authority, and a server's certificate and key for ``localhost``."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    async def make(cls, folder: Path, name: str = "localhost") -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        authority, key = folder / "ca.pem", folder / "key.pem"
        certificate, request = folder / "cert.pem", folder / "request.pem"
        new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj")
        await output_of(
            *new, "/CN=Authority of the tests", "-x509", "-days", "2",
            "-keyout", folder / "ca-key.pem", "-out", authority,
        )  # fmt: skip
        await output_of(*new, f"/CN={name}", "-keyout", key, "-out", request)
        extensions = folder / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{name}\n")
        await output_of(
            "openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", authority,
            "-CAkey", folder / "ca-key.pem", "-CAcreateserial", "-extfile", extensions,
            "-out", certificate,
        )  # fmt: skip
        return cls(authority, certificate, key)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context
