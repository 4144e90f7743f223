"""What stands in for picture and sound, as those see it who watch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias
from unittest.mock import Mock

import pytest

from strata.worker.formats import Program, VideoFormat
from strata.worker.hub import Hub
from strata.worker.units import AccessUnit
from support.children import output_of
from support.media import decode_errors, probe, shape_of
from support.nginx import Nginx
from support.ts import Flv, TsSender, Units, at_s, make_clip, picture_at, read_flv, units_of_ts
from support.worker import Event, WorkerProcess, has

CLIP_S: Final = 24.0
TEAL: Final = (20, 140, 120)
PURPLE: Final = (130, 40, 150)
NEAR: Final = 12
"""Between two values of 0 to 255 that are the same colour, coded twice."""
DELIVERED_S: Final = 1.6
"""From the sender through the recovery buffer, and out."""


async def ffmpeg(*arguments: str | Path) -> None:
    await output_of("ffmpeg", "-v", "error", "-y", *arguments)


def colour(rgb: tuple[int, int, int]) -> str:
    return "color=0x{:02x}{:02x}{:02x}:size=640x360:rate=25".format(*rgb)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return asyncio.run(make_clip(tmp_path_factory.mktemp("slate") / "clip.ts", CLIP_S))


@pytest.fixture(scope="module")
def source(clip: bytes) -> Units:
    return units_of_ts(clip)


@pytest.fixture(scope="module")
def mute(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Without sound."""
    path = tmp_path_factory.mktemp("slate") / "mute.ts"
    return asyncio.run(make_clip(path, 8.0, sound=None))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slate") / "operator.png"
    asyncio.run(ffmpeg("-f", "lavfi", "-i", colour(TEAL), "-frames:v", "1", path))
    return path


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slate") / "operator.mp4"
    coding = ("-t", "3", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    asyncio.run(ffmpeg("-f", "lavfi", "-i", colour(PURPLE), *coding, path))
    return path


async def mean_at(path: Path, seconds: float) -> tuple[int, ...]:
    """The mean colour of a recording at that time."""
    out = path.with_suffix(".rgb")
    await ffmpeg(
        *("-i", path, "-ss", str(seconds), "-frames:v", "1"),
        *("-vf", "scale=1:1:flags=area,format=rgb24", "-f", "rawvideo", out),
    )
    return tuple(out.read_bytes())


def is_near(found: Sequence[int], wanted: Sequence[int]) -> bool:
    return all(abs(a - b) <= NEAR for a, b in zip(found, wanted, strict=True))


async def on_air(worker: WorkerProcess, video: str, audio: str, after: int = 0) -> int:
    """Returns how many events there were when this went on the air."""
    event = await worker.client.wait_for(
        lambda e: has(e, "program", video=video, audio=audio), after=after
    )
    return worker.client.events.index(event, after) + 1


async def has_slate(worker: WorkerProcess) -> None:
    """Returns when there is one that could go on the air."""
    async with asyncio.timeout(20.0):
        while (await worker.ask("configure", slate_now=True))["event"] == "error":
            await asyncio.sleep(0.1)
        assert (await worker.ask("configure", slate_now=False))["event"] == "ok"


def pieces(flv: Flv, source: Units) -> list[tuple[bool, float, float]]:
    """The picture, as runs of the sender's or of others: whose, from when to when."""
    live = set(flv.where(source, "video").values())
    runs: list[tuple[bool, float, float]] = []
    for place, at_ms in enumerate(flv.at_ms["video"]):
        is_live = place in live
        if runs and runs[-1][0] == is_live:
            runs[-1] = (is_live, runs[-1][1], at_ms / 1000)
        else:
            runs.append((is_live, at_ms / 1000, at_ms / 1000))
    return runs


def is_unbroken(flv: Flv, most_s: float = 0.2) -> None:
    for track, stamps in flv.at_ms.items():
        steps = [after - before for before, after in pairwise(stamps)]
        assert min(steps) > 0, f"{track} goes back"
        assert max(steps) <= most_s * 1000, f"{track} stops for {max(steps)} ms"


def forward_states(events: Sequence[Event]) -> list[str]:
    return [event["state"] for event in events if event["event"] == "forward"]


async def the_operators_picture_and_movie_are_what_is_seen_everywhere(
    tmp_path: Path, clip: bytes, source: Units, picture: Path, movie: Path
) -> None:
    names = ["out.mkv", "out.mp4"]
    hls = tmp_path / "hls"
    arguments = ["--slate", str(picture)]
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url("key"), *(f"file://{tmp_path}/{name}" for name in names)]
        forwards.append(f"hls://{hls}?target-duration=2&playlist-length=60")
        async with (
            WorkerProcess(tmp_path, forwards, arguments=arguments) as worker,
            TsSender(worker) as sender,
        ):
            await sender.live(clip, 3.0)
            seen = await on_air(worker, "slate", "silence")
            await asyncio.sleep(1.0)
            await sender.live(clip, 8.0)
            seen = await on_air(worker, "live", "live", seen)
            assert (await worker.ask("configure", slate=str(movie)))["event"] == "ok"
            seen = await on_air(worker, "slate", "silence", seen)
            await asyncio.sleep(1.0)
            await sender.live(clip, 13.0)
            await on_air(worker, "live", "live", seen)
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        [recording] = await nginx.finished()
    flv = read_flv(recording)
    is_unbroken(flv)
    runs = pieces(flv, source)
    assert [is_live for is_live, _, _ in runs] == [True, False, True, False, True]
    for (_, begin_s, end_s), wanted in ((runs[1], TEAL), (runs[3], PURPLE)):
        assert end_s - begin_s > 1.0
        for at in (begin_s + 0.1, (begin_s + end_s) / 2, end_s - 0.1):
            assert is_near(await mean_at(recording, at), wanted)
        assert not is_near(await mean_at(recording, begin_s - 0.5), wanted)
    assert sorted(path.name for path in tmp_path.glob("out*")) == names
    playlist = hls / "index.m3u8"
    for path in (recording, *(tmp_path / name for name in names), playlist):
        assert await decode_errors(path) == "", path.name
    for path in (*(tmp_path / name for name in names), playlist):
        found = await probe(path)
        for track in ("video", "audio"):
            stamps = [packet.dts for packet in found.of(track)]
            steps = [after - before for before, after in pairwise(stamps)]
            assert min(steps) > 0, f"{path.name}: {track}"
            assert max(steps) < 0.2, f"{path.name}: {track}"
            assert stamps[-1] - stamps[0] > 11.5, f"{path.name}: {track}"
    text = playlist.read_text()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 4, "to each slate and back"
    assert text.rstrip().endswith("#EXT-X-ENDLIST")


async def an_encoder_that_paused_is_back_from_its_first_key_frame_on(
    tmp_path: Path, clip: bytes, source: Units
) -> None:
    cut = at_s(clip, 3.0)
    async with Nginx(tmp_path / "nginx") as nginx:
        async with (
            WorkerProcess(tmp_path, [nginx.url("key")]) as worker,
            TsSender(worker) as sender,
        ):
            await sender.send(clip[:cut])
            await on_air(worker, "slate", "silence")
            await asyncio.sleep(1.0)
            await sender.send(clip[cut : picture_at(clip, 6.0)])
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        [recording] = await nginx.finished()
    there = read_flv(recording).where(source, "video")
    back = min(number for number in there if number > 75)
    assert [number for number in range(back, max(there)) if number not in there] == []


async def the_slate_is_switched_off_and_on_while_on_the_air(
    tmp_path: Path, clip: bytes, source: Units
) -> None:
    async with Nginx(tmp_path / "nginx") as nginx:
        async with (
            WorkerProcess(tmp_path, [nginx.url("key")]) as worker,
            TsSender(worker) as sender,
        ):
            await sender.live(clip, 3.0)
            seen = await on_air(worker, "slate", "silence")
            assert (await worker.ask("configure", slate="off"))["event"] == "ok"
            seen = await on_air(worker, "none", "none", seen)
            await asyncio.sleep(1.0)
            assert (await worker.ask("configure", slate="on"))["event"] == "ok"
            seen = await on_air(worker, "slate", "silence", seen)
            await asyncio.sleep(0.5)
            await sender.live(clip, 11.0)
            await on_air(worker, "live", "live", seen)
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        recordings = await nginx.finished()
    assert len(recordings) == 1
    assert set(forward_states(worker.client.events)) == {"connecting", "live", "stopped"}
    flv = read_flv(recordings[0])
    is_unbroken(flv, 2.5)
    assert pieces(flv, source)[-1][0], "the picture is back"
    assert await decode_errors(recordings[0]) == ""


async def a_slate_that_is_held_from_the_beginning_hides_the_picture(
    tmp_path: Path, clip: bytes, source: Units, picture: Path
) -> None:
    """As the next worker has it, when one dies while the operator holds the slate."""
    async with Nginx(tmp_path / "nginx") as nginx:
        arguments = ["--slate", str(picture), "--slate-now"]
        async with (
            WorkerProcess(tmp_path, [nginx.url("key")], arguments=arguments) as worker,
            TsSender(worker) as sender,
        ):
            sending = asyncio.create_task(sender.live(clip, 10.0))
            seen = await on_air(worker, "slate", "silence")
            await asyncio.sleep(3.0)
            assert [e["video"] for e in worker.client.events if e["event"] == "program"] == [
                "none",
                "slate",
            ]
            assert (await worker.ask("configure", slate_now=False))["event"] == "ok"
            await on_air(worker, "live", "live", seen)
            await sending
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        [recording] = await nginx.finished()
    assert await decode_errors(recording) == ""
    flv = read_flv(recording)
    is_unbroken(flv)
    first, *_ = pieces(flv, source)
    assert not first[0]
    assert first[2] - first[1] > 2.5
    assert is_near(await mean_at(recording, 1.0), TEAL)


async def the_operator_puts_the_slate_on_the_air_and_takes_it_off(
    tmp_path: Path, clip: bytes, source: Units, picture: Path
) -> None:
    async with Nginx(tmp_path / "nginx") as nginx:
        arguments = ["--slate", "off"]
        async with (
            WorkerProcess(tmp_path, [nginx.url("key")], arguments=arguments) as worker,
            TsSender(worker) as sender,
        ):
            refused = await worker.ask("configure", slate_now=True)
            assert (refused["event"], refused["code"]) == ("error", "bad_arguments"), refused
            assert "there is no slate to show" in refused["message"]
            sending = asyncio.create_task(sender.live(clip, 9.0))
            await on_air(worker, "live", "live")
            refused = await worker.ask("configure", slate_now=True)
            assert "there is no slate to show" in refused["message"]
            assert (await worker.ask("configure", slate=str(picture)))["event"] == "ok"
            await has_slate(worker)
            await asyncio.sleep(2.0)
            seen = len(worker.client.events)
            assert (await worker.ask("configure", slate_now=True))["event"] == "ok"
            seen = await on_air(worker, "slate", "silence", seen)
            await asyncio.sleep(2.0)
            assert (await worker.ask("configure", slate_now=False))["event"] == "ok"
            await on_air(worker, "live", "live", seen)
            await sending
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        [recording] = await nginx.finished()
    flv = read_flv(recording)
    is_unbroken(flv)
    slates = [run for run in pieces(flv, source) if not run[0]]
    longest = max(slates, key=lambda run: run[2] - run[1])
    assert 1.5 <= longest[2] - longest[1] <= 4.0
    assert is_near(await mean_at(recording, (longest[1] + longest[2]) / 2), TEAL)
    assert await decode_errors(recording) == ""
    # As long as what was sent: the picture goes on beside the clock, not after the slate.
    assert flv.row_ms[-1] == pytest.approx(9_000, abs=300)


async def outlasted(tmp_path: Path, clip: bytes, source: Units) -> Path:
    """The recording of the session that begins when media returns after a slate has lasted for
    as long as it may; the one before is looked at here."""
    arguments = ["--slate-max-s", "3"]
    async with Nginx(tmp_path / "nginx") as nginx:
        async with (
            WorkerProcess(tmp_path, [nginx.url("key")], arguments=arguments) as worker,
            TsSender(worker) as sender,
        ):
            client = worker.client
            await sender.live(clip, 3.0)
            seen = await on_air(worker, "slate", "silence")
            closed = await client.wait_for(
                lambda e: has(e, "forward", state="connecting"), after=seen
            )
            [first] = await nginx.finished()
            await asyncio.sleep(1.0)
            await sender.live(clip, 13.0)
            await client.wait_for(
                lambda e: has(e, "forward", state="live"), after=client.events.index(closed)
            )
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        recordings = await nginx.finished(2)
    assert len(recordings) == 2
    assert recordings[0] == first
    for recording in recordings:
        assert await decode_errors(recording) == ""
    before = read_flv(recordings[0])
    is_unbroken(before)
    slate = pieces(before, source)[-1]
    assert not slate[0]
    # From the last live picture on: 1.5 s until it is missed, and what it may last.
    assert slate[2] - slate[1] == pytest.approx(3.0 + 1.5, abs=0.5)
    assert pieces(read_flv(recordings[1]), source)[-1][0], "the picture is back"
    return recordings[1]


async def without_a_slate_an_outage_is_a_pause_of_one_session(
    tmp_path: Path, clip: bytes, source: Units
) -> None:
    arguments = ["--slate", "off"]
    async with Nginx(tmp_path / "nginx") as nginx:
        async with (
            WorkerProcess(tmp_path, [nginx.url("key")], arguments=arguments) as worker,
            TsSender(worker) as sender,
        ):
            await sender.live(clip, 3.0)
            seen = await on_air(worker, "none", "none", await on_air(worker, "live", "live"))
            await asyncio.sleep(3.9)
            await sender.live(clip, 12.0)
            await on_air(worker, "live", "live", seen)
            await asyncio.sleep(DELIVERED_S)
            assert await worker.stop() == 0
        recordings = await nginx.finished()
    assert len(recordings) == 1
    assert set(forward_states(worker.client.events)) == {"connecting", "live", "stopped"}
    flv = read_flv(recordings[0])
    assert all(is_live for is_live, _, _ in pieces(flv, source))
    is_unbroken(flv, 8.0)
    longest_ms = max(after - before for before, after in pairwise(flv.at_ms["video"]))
    assert 5_500 <= longest_ms <= 8_000
    assert await decode_errors(recordings[0]) == ""


async def a_stream_without_sound(tmp_path: Path, mute: bytes, silence: str) -> None:
    arguments = ["--silence", silence]
    ends = (".mkv", ".mp4")
    async with Nginx(tmp_path / "nginx") as nginx:
        forwards = [nginx.url("key"), *(f"file://{tmp_path}/out{end}" for end in ends)]
        async with (
            WorkerProcess(tmp_path, forwards, arguments=arguments) as worker,
            TsSender(worker) as sender,
        ):
            await sender.live(mute, 3.0)
            sound = "silence" if silence == "on" else "none"
            await on_air(worker, "live", sound)
            await on_air(worker, "slate", sound)
            await asyncio.sleep(1.0)
            assert await worker.stop() == 0
        [recording] = await nginx.finished()
    wanted = ["aac", "h264"] if silence == "on" else ["h264"]
    for path in (recording, *(tmp_path / f"out{end}" for end in ends)):
        assert await decode_errors(path) == ""
        assert await shape_of(path) == wanted
    flv = read_flv(recording)
    assert flv.at_ms["video"][0] == 0
    if silence == "on":
        is_unbroken(flv)
        assert flv.at_ms["audio"][0] <= 100
        assert flv.at_ms["audio"][-1] >= flv.at_ms["video"][-1] - 100
    else:
        assert flv.at_ms["audio"] == []


# --- all of them, beside each other --------------------------------------------------

Scenes: TypeAlias = dict[str, Any]
"""By name: what came of it, or the exception."""


@pytest.fixture(scope="module")
def scenes(
    clip: bytes,
    source: Units,
    mute: bytes,
    picture: Path,
    movie: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Scenes:
    def folder() -> Path:
        return tmp_path_factory.mktemp("scene")

    scenes = {
        "operator": the_operators_picture_and_movie_are_what_is_seen_everywhere(
            folder(), clip, source, picture, movie
        ),
        "paused": an_encoder_that_paused_is_back_from_its_first_key_frame_on(
            folder(), clip, source
        ),
        "switched": the_slate_is_switched_off_and_on_while_on_the_air(folder(), clip, source),
        "now": the_operator_puts_the_slate_on_the_air_and_takes_it_off(
            folder(), clip, source, picture
        ),
        "held": a_slate_that_is_held_from_the_beginning_hides_the_picture(
            folder(), clip, source, picture
        ),
        "outlasted": outlasted(folder(), clip, source),
        "without": without_a_slate_an_outage_is_a_pause_of_one_session(folder(), clip, source),
        "silent": a_stream_without_sound(folder(), mute, "on"),
        "mute": a_stream_without_sound(folder(), mute, "off"),
    }

    async def run() -> list[Any]:
        return await asyncio.gather(*scenes.values(), return_exceptions=True)

    return dict(zip(scenes, asyncio.run(run()), strict=True))


def holds(scenes: Scenes, name: str) -> Any:
    if isinstance(scenes[name], BaseException):
        raise scenes[name]
    return scenes[name]


def test_the_operators_picture_and_movie_are_what_is_seen_everywhere(scenes: Scenes) -> None:
    holds(scenes, "operator")


def test_an_encoder_that_paused_is_back_from_its_first_key_frame_on(scenes: Scenes) -> None:
    holds(scenes, "paused")


def test_the_slate_is_switched_off_and_on_while_on_the_air(scenes: Scenes) -> None:
    holds(scenes, "switched")


def test_the_operator_puts_the_slate_on_the_air_and_takes_it_off(scenes: Scenes) -> None:
    holds(scenes, "now")


def test_a_slate_that_is_held_from_the_beginning_hides_the_picture(scenes: Scenes) -> None:
    holds(scenes, "held")


def test_a_slate_that_has_lasted_long_enough_ends_the_session(scenes: Scenes) -> None:
    assert holds(scenes, "outlasted").exists()


async def test_who_comes_back_is_given_nothing_from_before_the_pause() -> None:
    given: list[AccessUnit] = []
    forward = Mock(feed="units", push=lambda *units: given.extend(units))
    format = VideoFormat("h264", b"\1", "video/x-h264", 320, 180)
    hub = Hub()
    hub.flow.open(Program(format, None))
    hub.push([AccessUnit(format, b"slate", 0, 0, True)])
    hub.close()
    hub.flow.open(Program(format, None))
    hub.prime(forward)
    assert given == []


# Whether the forward or the new picture is first at the hub is a matter of milliseconds.
def test_a_session_after_a_slate_begins_with_the_picture(scenes: Scenes, source: Units) -> None:
    flv = read_flv(holds(scenes, "outlasted"))
    assert all(is_live for is_live, _, _ in pieces(flv, source))
    is_unbroken(flv)


def test_without_a_slate_an_outage_is_a_pause_of_one_session(scenes: Scenes) -> None:
    holds(scenes, "without")


@pytest.mark.parametrize("name", ["silent", "mute"])
def test_a_stream_without_sound_gets_silence_or_stays_mute(name: str, scenes: Scenes) -> None:
    holds(scenes, name)


async def test_a_slate_that_does_not_exist_is_told_at_the_start(tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    worker = WorkerProcess(tmp_path / "one", arguments=["--slate", str(missing)])
    async with worker.child:
        assert await worker.child.wait(3.0) == 2, worker.log()
    assert f"strata-receiver: error: the slate's file {missing} cannot be read" in worker.log()
    assert "Traceback" not in worker.log()


async def test_a_slate_that_does_not_exist_is_told_over_the_socket(tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    async with WorkerProcess(tmp_path / "two") as other:
        answer = await other.ask("configure", slate=str(missing))
        assert (answer["event"], answer["code"]) == ("error", "bad_arguments")
        assert str(missing) in answer["message"]
        assert other.child.status is None
        assert await other.stop() == 0
