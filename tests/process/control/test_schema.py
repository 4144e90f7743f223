"""What the interface says of itself, held against what it answers, by a tool that knows nothing
of it but that."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.control import Place, place
from support.control_alone import ControlAlone

DEADLINE_S: Final = 110.0

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)

LEFT_OUT: Final = ("/api/seal/rotate", "/api/auth/logout")
"""One takes ten seconds by design; the other ends the login that the tool works with."""


@pytest.fixture
def here() -> Iterator[Place]:
    with place() as one:
        yield one


async def test_no_answer_is_outside_of_the_description(here: Place, tmp_path: Path) -> None:
    async with ControlAlone(here) as control, await control.log_in() as api:
        token = api.http.headers["authorization"]
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("st"),
            *("run", f"{control.url}/api/openapi.json", "--header", f"Authorization: {token}"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "20", "--continue-on-failure", "--suppress-health-check", "all"),
            *("--no-color", "--warnings", "off", "--seed", "1"),
            *(part for path in LEFT_OUT for part in ("--exclude-path", path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
            env={**os.environ, "no_proxy": "*"},
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = said.decode(errors="replace")
        print(text[-3000:])
        assert process.returncode == 0, text[-6000:]
        assert "Traceback" not in control.child.said()
        assert "failed" not in control.child.said().replace("start_failed", "")
