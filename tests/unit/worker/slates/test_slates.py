"""Slates from memory, from the disk and from a helper, which is a fake here."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from strata.errors import BadArguments, SlateUnavailable
from strata.worker.formats import VideoFormat
from strata.worker.slates import helper as slate_helper
from strata.worker.slates import slate
from strata.worker.slates import slates as slates_module
from strata.worker.slates.cache import MOST_FILES, SlateCache
from strata.worker.slates.slates import IN_MEMORY, Slates, check_file
from support.children import until

FORMAT = VideoFormat(
    codec="h264",
    config=b"live",
    caps="video/x-h264",
    width=1280,
    height=720,
    fps=Fraction(25),
    profile="high",
)

FAKE = """
import os, sys, time
from dataclasses import replace
from strata.worker.slates import slate
from strata.worker.formats import VideoFormat

what, ran = sys.argv[1], sys.argv[2]
asked = slate.read_request(sys.stdin.buffer.readline())
with open(ran, "a") as file:
    print(os.getpid(), *sorted(os.environ), file=file)
made = VideoFormat("h264", b"made", "video/x-h264", asked.width, asked.height, asked.fps,
                   "main" if what == "misfit" else asked.profile)
packed = slate.pack(slate.Slate(made, ((b"\\0\\0\\0\\1\\x65", True),)))
if what == "hang":
    time.sleep(60)
if what == "fail":
    print("one warning\\nthe reason", file=sys.stderr)
    sys.exit(1)
if what == "mute":
    sys.exit(3)
if what == "die":
    os.kill(os.getpid(), int(sys.argv[3]))
if what == "flood":
    while True:
        os.write(1, bytes(1 << 20))
if what == "slow":
    time.sleep(0.3)
sys.stdout.buffer.write(b"junk" if what == "junk" else packed)
"""


class Fake:
    """A helper and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._script = folder / "fake.py"
        self._script.write_text(FAKE)
        self._ran = folder / "ran"

    def command(self, what: str, *more: object) -> Sequence[str]:
        told = (str(self._script), what, str(self._ran), *map(str, more))
        return (sys.executable, "-I", *told)

    @property
    def runs(self) -> list[list[str]]:
        lines = self._ran.read_text().splitlines() if self._ran.exists() else []
        return [line.split() for line in lines]

    def gone(self) -> bool:
        return not any(Path(f"/proc/{pid}").exists() for pid, *_ in self.runs)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "state" / "slates"


async def test_a_slate_is_made_once_and_then_remembered(fake: Fake) -> None:
    slates = Slates(None, "Name", None, fake.command("make"))
    made = await slates.make(FORMAT)
    assert made.format.config == b"made"
    assert await slates.make(replace(FORMAT, config=b"other")) is made
    assert len(fake.runs) == 1


async def test_only_the_last_ones_are_remembered(fake: Fake) -> None:
    slates = Slates(None, "Name", None, fake.command("make"))
    for width in range(100, 100 + IN_MEMORY + 1):
        await slates.make(replace(FORMAT, width=width))
    await slates.make(replace(FORMAT, width=101))
    assert len(fake.runs) == IN_MEMORY + 1
    await slates.make(replace(FORMAT, width=100))
    assert len(fake.runs) == IN_MEMORY + 2


async def test_the_helper_gets_no_environment_but_what_it_needs(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_ADMIN_PASSWORD", "secret")
    await Slates(None, "Name", None, fake.command("make")).make(FORMAT)
    allowed = {"PATH", "HOME", "LANG", "XDG_CACHE_HOME", "MALLOC_ARENA_MAX", "LC_CTYPE"}
    assert {name for name in fake.runs[0][1:] if not name.startswith("GST_")} <= allowed


async def test_the_next_worker_finds_it_on_the_disk(fake: Fake, cache: Path) -> None:
    first = await Slates(cache, "Name", None, fake.command("make")).make(FORMAT)
    assert await Slates(cache, "Name", None, fake.command("fail")).make(FORMAT) == first
    assert len(fake.runs) == 1
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"junk\n", "misfit"])
async def test_a_corrupt_file_in_the_cache_is_replaced(
    fake: Fake, cache: Path, content: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    first = await Slates(cache, "Name", None, fake.command("make")).make(FORMAT)
    (file,) = cache.iterdir()
    good = file.read_bytes()
    file.write_bytes(good.replace(b"high", b"main") if isinstance(content, str) else content)
    assert await Slates(cache, "Name", None, fake.command("make")).make(FORMAT) == first
    assert file.read_bytes() == good
    assert "made anew" in caplog.text


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
async def test_a_folder_that_others_can_write_to_is_not_used(
    fake: Fake, cache: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    slates = Slates(cache, "Name", None, fake.command("make"))
    await slates.make(FORMAT)
    await slates.make(replace(FORMAT, width=640))
    assert not list(cache.iterdir())
    assert [each for each in caplog.records if each.levelno == logging.WARNING] != []
    assert caplog.text.count("others can write to it") == 1


async def test_a_folder_of_another_user_is_not_used(
    fake: Fake, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    await Slates(cache, "Name", None, fake.command("make")).make(FORMAT)
    assert not list(cache.iterdir())


async def test_a_cache_that_cannot_be_written_to_is_done_without(
    fake: Fake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    await Slates(tmp_path / "file" / "x", "Name", None, fake.command("make")).make(FORMAT)
    await Slates(tmp_path / "file", "Name", None, fake.command("make")).make(FORMAT)
    (tmp_path / "link").symlink_to(tmp_path)
    await Slates(tmp_path / "link", "Name", None, fake.command("make")).make(FORMAT)
    assert caplog.text.count("cannot be read (Not a directory)") >= 2


async def test_a_disk_that_hangs_is_not_waited_for(
    fake: Fake, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slates_module, "DISK_DEADLINE_S", 0.05)
    monkeypatch.setattr(SlateCache, "load", lambda *_: time.sleep(0.5))
    monkeypatch.setattr(SlateCache, "save", lambda *_: time.sleep(0.5))
    assert (await Slates(cache, "Name", None, fake.command("make")).make(FORMAT)).frames
    assert "does not answer" in caplog.text
    await asyncio.sleep(0.6)  # the threads end before the loop does


def test_the_oldest_files_of_the_cache_go(cache: Path) -> None:
    slates = SlateCache(cache)
    slates.save("first", b"1")
    (cache / "other.txt").touch()
    (cache / "left.slate-tmp").touch()
    os.utime(cache / "left.slate-tmp", (1, 1))
    for at in range(MOST_FILES - 1):
        slates.save(f"{at}", b"1")
        os.utime(cache / f"{at}.slate", (100 + at, 100 + at))
    os.utime(cache / "first.slate", (50, 50))
    assert slates.load("first") == b"1"  # which makes it the newest
    slates.save("last", b"1")
    left = {path.name for path in cache.iterdir()}
    assert len(left) == MOST_FILES + 1
    assert {"first.slate", "last.slate", "other.txt"} <= left
    assert not {"0.slate", "left.slate-tmp"} & left


def test_only_a_plain_file_of_ours_is_read_from_the_cache(cache: Path, tmp_path: Path) -> None:
    slates = SlateCache(cache)
    slates.save("a", b"1")
    (tmp_path / "elsewhere").write_bytes(b"2")
    (cache / "link.slate").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(cache / "pipe.slate")
    (cache / "open.slate").write_bytes(b"3")
    (cache / "open.slate").chmod(0o666)
    assert [slates.load(key) for key in ("a", "pipe", "open", "none")] == [b"1", None, None, None]
    assert SlateCache(cache).load("link") is None


def test_what_is_not_written_whole_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    SlateCache(cache).save("a", b"1")
    assert not list(cache.iterdir())
    assert "cannot be written to (No space left" in caplog.text


async def test_those_who_ask_for_the_same_share_a_run(fake: Fake) -> None:
    slates = Slates(None, "Name", None, fake.command("slow"))
    first, second = await asyncio.gather(slates.make(FORMAT), slates.make(FORMAT))
    assert first is second
    assert len(fake.runs) == 1


async def test_one_helper_runs_at_a_time(fake: Fake) -> None:
    slates = Slates(None, "Name", None, fake.command("hang"), deadline_s=60)
    tasks = [asyncio.create_task(slates.make(replace(FORMAT, width=w))) for w in (640, 320)]
    await until(lambda: fake.runs, 10, "the first runs")
    await asyncio.sleep(0.5)
    assert len(fake.runs) == 1
    tasks[0].cancel()
    await until(lambda: len(fake.runs) == 2, 10, "the second runs")
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert fake.gone()


async def test_a_run_ends_when_the_last_who_waits_is_gone(fake: Fake) -> None:
    slates = Slates(None, "Name", None, fake.command("hang"), deadline_s=60)
    first, second = (asyncio.create_task(slates.make(FORMAT)) for _ in range(2))
    await until(lambda: fake.runs, 10, "the helper runs")
    first.cancel()
    await asyncio.wait((first,))
    assert not fake.gone()
    second.cancel()
    await asyncio.wait((second,))
    assert fake.gone()
    slates._command = fake.command("make")
    assert (await slates.make(FORMAT)).frames


async def test_a_helper_that_hangs_is_killed(fake: Fake) -> None:
    slates = Slates(None, "Name", None, fake.command("hang"), deadline_s=1)
    with pytest.raises(SlateUnavailable, match="not made within 1 s"):
        await slates.make(FORMAT)
    assert fake.gone()


async def test_a_helper_that_writes_without_end_is_killed(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slate_helper, "MAX_BYTES", 4 << 20)
    with pytest.raises(SlateUnavailable, match="more than 4 MB"):
        await Slates(None, "Name", None, fake.command("flood")).make(FORMAT)
    assert fake.gone()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (("fail",), "^the reason$"),
        (("mute",), "status 3"),
        (("die", 24), "20 s of processor time.*signal 24"),
        (("die", 5), "400 MB.*signal 5, Trace"),
        (("die", 34), "400 MB.*signal 34"),
        (("junk",), "no header"),
        (("misfit",), "profile became main"),
    ],
)
async def test_a_failure_says_why_and_the_next_call_tries_again(
    fake: Fake, cache: Path, told: tuple[object, ...], reason: str
) -> None:
    slates = Slates(cache, "Name", None, fake.command(*map(str, told)))
    for runs in (1, 2):
        with pytest.raises(SlateUnavailable, match=reason):
            await slates.make(FORMAT)
        assert len(fake.runs) == runs
    assert not list(cache.iterdir())


async def test_a_helper_that_is_not_there_is_told() -> None:
    with pytest.raises(SlateUnavailable, match="could not be started: No such file"):
        await Slates(None, "Name", None, ("/nowhere",)).make(FORMAT)


async def test_there_is_no_slate_for_every_video(fake: Fake) -> None:
    with pytest.raises(SlateUnavailable, match="the video is av1"):
        await Slates(None, "Name", None, fake.command("make")).make(replace(FORMAT, codec="av1"))
    assert fake.runs == []


async def test_another_file_under_the_same_name_is_another_slate(
    fake: Fake, cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"1")
    slates = Slates(cache, "Name", file, fake.command("make"))
    await slates.make(FORMAT)
    await slates.make(FORMAT)
    file.write_bytes(b"22")
    await slates.make(FORMAT)
    assert len(fake.runs) == 2
    file.unlink()
    with pytest.raises(SlateUnavailable, match="cannot be read: No such file"):
        await slates.make(FORMAT)


def test_a_file_is_looked_at(tmp_path: Path) -> None:
    good, empty, large = (tmp_path / name for name in ("good", "empty", "large"))
    good.write_bytes(b"1")
    empty.touch()
    with large.open("wb") as file:
        file.truncate(slate.MAX_FILE_BYTES)
    os.mkfifo(tmp_path / "pipe")
    check_file(good)
    for path, reason in (
        (empty, "0 bytes"),
        (large, "268435456 bytes"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "pipe", "not a file"),
        (tmp_path, "not a file|Is a directory"),
        (Path("a\0b"), "null byte"),
        (Path("a\udcff"), "not UTF-8"),
    ):
        with pytest.raises(BadArguments, match=reason):
            check_file(path)
