"""The choice of an encoder, with processes that behave as drivers do."""

from __future__ import annotations

import asyncio
import sys
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from strata.errors import EncoderUnavailable
from strata.media.gst import Gst
from strata.sender.source import encoders, proof
from strata.sender.source.choice import Shape
from strata.sender.source.encoders import ENCODERS, Asked
from strata.sender.source.proof import Encoders

ASKED = Asked("h264", Shape(320, 180, Fraction(25)), 500, 50)

TRIES = """
import json, os, sys, time
trial = json.loads(sys.stdin.readline())
open({log!r}, "a").write(f"{{trial['number']}}\\n")
how = {hows!r}.get(str(trial["number"]), "fast")
if how == "hangs": time.sleep(60)
if how == "dies": os.abort()
if how == "fails": sys.exit("no chip there")
if how == "babbles": print("what?"); sys.exit()
print(json.dumps({{"speed": 0.5 if how == "slow" else 9.0}}))
"""


def number_of(name: str) -> int:
    return next(at for at, each in enumerate(ENCODERS) if each.name == name)


VA = number_of("VA-API")
V4L2 = number_of("V4L2")
FINE = number_of("x264 (superfast)")
FAST = number_of("x264 (ultrafast)")


class Machine:
    """One on which each encoder is installed, and behaves as it is told."""

    def __init__(self, tmp_path: Any, **hows: str) -> None:
        self.log = tmp_path / "tried"
        by_number = {str(globals()[name]): how for name, how in hows.items()}
        script = TRIES.format(log=str(self.log), hows=by_number)
        self.encoders = Encoders([sys.executable, "-I", "-c", script])

    @property
    def tried(self) -> list[int]:
        return sorted(map(int, self.log.read_text().split())) if self.log.exists() else []


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {ENCODERS[at].element for at in (VA, V4L2, FINE, FAST)}
    find = SimpleNamespace(find=lambda name: object() if name in names else None)
    monkeypatch.setattr(proof, "Gst", SimpleNamespace(ElementFactory=find))
    monkeypatch.setattr(proof, "CHIP_DEADLINE_S", 1.0)


async def test_the_first_chip_that_works_is_taken(tmp_path: Any) -> None:
    machine = Machine(tmp_path)
    assert await machine.encoders.choose(ASKED) is ENCODERS[VA]
    assert machine.tried == [VA, V4L2]


@pytest.mark.parametrize("how", ["hangs", "dies", "fails", "babbles", "slow"])
async def test_one_that_does_not_prove_itself_is_passed_over(tmp_path: Any, how: str) -> None:
    machine = Machine(tmp_path, VA=how)
    async with asyncio.timeout(10.0):
        assert await machine.encoders.choose(ASKED) is ENCODERS[V4L2]


async def test_software_comes_after_the_chips_and_the_fastest_is_taken_however_slow(
    tmp_path: Any,
) -> None:
    machine = Machine(tmp_path, VA="fails", V4L2="fails")
    assert await machine.encoders.choose(ASKED) is ENCODERS[FINE]
    assert FAST not in machine.tried
    machine = Machine(tmp_path, VA="fails", V4L2="dies", FINE="slow", FAST="slow")
    assert await machine.encoders.choose(ASKED) is ENCODERS[FAST]


async def test_what_was_found_is_remembered(tmp_path: Any) -> None:
    machine = Machine(tmp_path)
    assert machine.encoders.known("h264", ASKED.shape) is None
    await asyncio.gather(*(machine.encoders.choose(ASKED) for _ in range(3)))
    assert machine.tried == [VA, V4L2]
    assert machine.encoders.known("h264", ASKED.shape) is ENCODERS[VA]


async def test_one_that_failed_on_the_air_is_not_taken_again(tmp_path: Any) -> None:
    machine = Machine(tmp_path)
    chosen = await machine.encoders.choose(ASKED)
    machine.encoders.distrust(chosen)
    assert machine.encoders.known("h264", ASKED.shape) is None
    assert await machine.encoders.choose(ASKED) is ENCODERS[V4L2]


async def test_where_none_works_each_is_named_with_its_reason(tmp_path: Any) -> None:
    machine = Machine(tmp_path, VA="fails", V4L2="hangs", FINE="dies", FAST="babbles")
    with pytest.raises(EncoderUnavailable) as failed:
        await machine.encoders.choose(ASKED)
    said = str(failed.value)
    assert "320x180 at 25 pictures a second" in said
    assert "VA-API: no chip there" in said
    assert "V4L2: a second of picture took it more than" in said
    assert "camera that encodes by itself" in said


async def test_where_none_is_installed_it_says_what_to_install(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = SimpleNamespace(find=lambda name: None)
    monkeypatch.setattr(proof, "Gst", SimpleNamespace(ElementFactory=none))
    with pytest.raises(EncoderUnavailable, match=r"gstreamer1\.0-plugins-ugly"):
        await Machine(tmp_path).encoders.choose(ASKED)


async def test_what_cannot_be_started_is_told(tmp_path: Any) -> None:
    with pytest.raises(EncoderUnavailable, match="could not be tried"):
        await Encoders(["/nonexistent/prover"]).choose(ASKED)


@pytest.mark.parametrize("codec", ["h264", "h265"])
async def test_a_real_one_proves_itself(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "Gst", Gst)
    chosen = await Encoders().choose(Asked(codec, ASKED.shape, 500, 50))
    assert chosen in encoders.candidates(codec)


async def test_a_real_one_that_cannot_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "Gst", Gst)
    monkeypatch.setattr(proof, "SOFTWARE_DEADLINE_S", 10.0)
    with pytest.raises(EncoderUnavailable, match="x264"):
        await Encoders().choose(Asked("h264", Shape(1, 1, Fraction(25)), 500, 50))
