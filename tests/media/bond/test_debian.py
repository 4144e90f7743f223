"""The bond with Debian's ristreceiver."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from strata.bond import Way
from strata.secrets import Secret
from support.bond import bond_to, send, up
from support.children import Child, until
from support.ports import free_udp_ports, udp_port_is_bound
from support.rist import numbers_in
from support.udp import Peer

PSK = Secret("a-psk-of-the-tests-0123")


@pytest.mark.parametrize("aes_bits", [128, 256])
@pytest.mark.parametrize("links", [1, 3])
async def test_debians_receiver_takes_it(links: int, aes_bits: int, tmp_path: Path) -> None:
    ports = free_udp_ports(links)
    urls = ",".join(
        f"rist://@127.0.0.1:{port}?secret={PSK.reveal()}&aes-type={aes_bits}&buffer=300"
        for port in ports
    )
    async with Peer() as out:
        host, port = out.address
        async with Child(
            ["ristreceiver", "-p", "1", "-i", urls, "-o", f"udp://{host}:{port}"],
            tmp_path / "ristreceiver.log",
        ):
            await until(lambda: all(udp_port_is_bound(port) for port in ports), 10.0, "it listens")
            ways = [Way(str(port), "127.0.0.1", port) for port in ports]
            async with bond_to(ways, PSK, aes_bits=aes_bits, buffer_ms=300) as bond:
                await up(bond, links)
                sending = asyncio.create_task(send(bond, range(360)))
                found: list[int] = []
                async with asyncio.timeout(20.0):
                    while 299 not in found:
                        found += numbers_in((await out.hear())[0])
                await sending
                assert found[:300] == list(range(300))
                for report in bond.reports():
                    assert report.state == "up"
                    assert report.sent_bytes > 224 * 100 / links
