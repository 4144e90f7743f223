"""What a host does around a test push; the helper is a few lines of script."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from strata.errors import BadArguments, BadUrl, HostError, NoCapacity, WorkerFailed
from strata.host import test_pushes as pushes
from strata.host.limits import Allowance, Group, NoGroup, NoLimits
from strata.settings import Limits as LimitSettings
from strata.wire import host as wire
from support.children import until

KEY = "canary-stream-key"
URL = f"rtmp://host/app/{KEY}"
HELPER = """
import os, sys, time
from strata.wire import helpers
what, ran = sys.argv[1:]
with open(ran, "a") as file:
    print(os.getpid(), file=file)
push = helpers.decode(sys.stdin.buffer.readline(), helpers.Push)
print(flush=True)
if what == "hang":
    time.sleep(60)
if what == "fail":
    sys.exit("a warning\\nthe reason")
if what == "mute":
    sys.exit(3)
if what == "die":
    os.kill(os.getpid(), 9)
if what == "junk":
    print("{}")
if what == "flood":
    while True:
        os.write(1, bytes(65536))
answer = helpers.Pushed(True, f"took {push.seconds} s", "ok", push.seconds, len(push.url))
sys.stdout.buffer.write(helpers.encode(answer))
"""


class CountedGroup(NoGroup):
    def __init__(self, limits: CountedLimits) -> None:
        self._limits = limits

    def enter(self, command: list[str]) -> list[str]:
        self._limits.did.append("enter")
        return command

    async def slow_down(self) -> None:
        self._limits.did.append("slow down")

    async def remove(self) -> None:
        await asyncio.sleep(0)
        self._limits.did.append("remove")


class CountedLimits(NoLimits):
    def __init__(self) -> None:
        super().__init__("")
        self.did: list[str] = []
        self.made: list[tuple[str, Allowance]] = []

    async def make(self, name: str, allowance: Allowance) -> Group:
        self.made.append((name, allowance))
        return CountedGroup(self)


class Case:
    def __init__(self, folder: Path, what: str = "", deadline_s: float = 20.0) -> None:
        script = folder / "helper.py"
        script.write_text(HELPER)
        self._ran = folder / "ran"
        self.limits = CountedLimits()
        command = (sys.executable, "-I", str(script), what, str(self._ran))
        self.pushes = pushes.TestPushes(self.limits, LimitSettings(), command, deadline_s)

    @property
    def runs(self) -> list[int]:
        return [int(line) for line in self._ran.read_text().split()] if self._ran.exists() else []

    def nothing_is_left(self) -> bool:
        runs = any(Path(f"/proc/{pid}").exists() for pid in self.runs)
        return not runs and self.limits.did.count("remove") == len(self.limits.made)


async def test_a_push_is_limited_like_a_worker_and_its_answer_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case(tmp_path)
    caplog.set_level("INFO")
    tested = await case.pushes.run(wire.TestPush(URL, 4.0))
    assert tested == wire.Tested(True, "took 4.0 s", "ok", 4.0, len(URL))
    [(name, allowance)] = case.limits.made
    assert name.startswith("test_")
    assert allowance == Allowance(0.5, 256, 256)
    assert case.limits.did == ["enter", "slow down", "remove"]
    assert "test push to rtmp://host/app/****: ok: took 4.0 s" in caplog.text
    assert KEY not in caplog.text


async def test_no_more_than_two_at_once(tmp_path: Path) -> None:
    case = Case(tmp_path, "hang")
    running = [asyncio.create_task(case.pushes.run(wire.TestPush(URL))) for _ in range(2)]
    await until(lambda: len(case.runs) == 2, 10.0, "both run")
    with pytest.raises(NoCapacity, match="2 test pushes are under way"):
        await case.pushes.run(wire.TestPush(URL))
    await case.pushes.close()
    for task in running:
        assert task.cancelled()
    assert case.nothing_is_left()
    assert len(case.limits.made) == 2


@pytest.mark.parametrize(
    ("push", "kind"),
    [
        (wire.TestPush(URL, 0.5), BadArguments),
        (wire.TestPush(URL, 10.5), BadArguments),
        (wire.TestPush(URL, float("nan")), BadArguments),
        (wire.TestPush("nonsense", 5.0), BadUrl),
    ],
)
async def test_what_cannot_be_pushed_starts_nothing(
    tmp_path: Path, push: wire.TestPush, kind: type[Exception]
) -> None:
    case = Case(tmp_path)
    with pytest.raises(kind):
        await case.pushes.run(push)
    assert case.limits.made == []


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("fail", HostError, "the reason$"),
        ("mute", HostError, "exit status 3"),
        ("die", HostError, "signal 9, Killed"),
        ("junk", HostError, "without a word"),
        ("flood", WorkerFailed, "was killed"),
        ("hang", WorkerFailed, "had not ended after 2 s"),
    ],
)
async def test_one_that_says_nothing_of_the_destination_is_told(
    tmp_path: Path, what: str, kind: type[Exception], words: str
) -> None:
    case = Case(tmp_path, what, deadline_s=2.0)
    for _ in range(2):  # and makes room for the next
        with pytest.raises(kind, match=words):
            await case.pushes.run(wire.TestPush(URL))
    assert case.nothing_is_left()


async def test_one_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    limits = CountedLimits()
    one = pushes.TestPushes(limits, LimitSettings(), ("/nonexistent/helper",))
    with pytest.raises(WorkerFailed, match="could not be started: No such file"):
        await one.run(wire.TestPush(URL))
    assert limits.did == ["enter", "remove"]
