from __future__ import annotations

from pathlib import Path

import pytest

from strata.control import addresses
from strata.control.previews import TICKET_S, Previews
from strata.errors import AddressRefused, NotAllowed, NotFound
from strata.settings import Forward
from strata.wire import forward_url

ID = f"str_{'1' * 32}"
OTHER = f"str_{'2' * 32}"
PLAYLIST = """#EXTM3U
#EXT-X-TARGETDURATION:2
#EXTINF:2.000,
segment-7.ts
#EXTINF:2.000,
http://elsewhere.example/segment-8.ts
../../seal.key
#EXTINF:2.000,
segment-9.ts
"""


class Clock:
    now = 1_000_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def previews(tmp_path: Path, clock: Clock) -> Previews:
    return Previews(tmp_path, clock)


@pytest.fixture
def folder(previews: Previews) -> Path:
    path = forward_url.parse(previews.url(ID)).path
    assert path is not None
    folder = Path(path)
    folder.mkdir(parents=True)
    return folder


async def test_nobody_else_may_write_there(previews: Previews, tmp_path: Path) -> None:
    for url in (previews.url(ID), f"hls:previews/{ID}", "file:previews/x.ts", "hls:previews"):
        with pytest.raises(AddressRefused, match="kept for previews"):
            await addresses.check(url, Forward(), tmp_path)


async def test_each_segment_has_a_ticket_and_nothing_else_is_named(
    previews: Previews, folder: Path
) -> None:
    (folder / "index.m3u8").write_text(PLAYLIST)
    lines = (await previews.playlist(ID)).splitlines()
    named = [line for line in lines if not line.startswith("#")]
    assert [each.partition("?ticket=")[0] for each in named] == ["segment-7.ts", "segment-9.ts"]
    for each in named:
        previews.check(ID, each.partition("?ticket=")[2])
    assert lines[:2] == ["#EXTM3U", "#EXT-X-TARGETDURATION:2"]


async def test_a_stream_without_a_preview(previews: Previews) -> None:
    with pytest.raises(NotFound, match="has no preview"):
        await previews.playlist(ID)


async def test_a_segment(previews: Previews, folder: Path) -> None:
    (folder / "segment-7.ts").write_bytes(b"media")
    assert await previews.segment(ID, "segment-7.ts") == b"media"


@pytest.mark.parametrize(
    ("stream_id", "name"),
    [
        (ID, "segment-8.ts"),
        (ID, "index.m3u8"),
        (ID, "secret.ts"),
        (ID, "../segment-7.ts"),
        (ID, "segment-7.ts\n"),
        (ID, ".segment-7.ts.part"),
        ("..", "segment-7.ts"),
        ("", "segment-7.ts"),
        (f"{ID}/..", "segment-7.ts"),
        ("str_x", "segment-7.ts"),
    ],
)
async def test_there_is_no_way_out_of_the_folder(
    previews: Previews, folder: Path, stream_id: str, name: str
) -> None:
    for place in (folder, folder.parent, folder.parent.parent):
        (place / "segment-7.ts").write_bytes(b"canary")
        (place / "secret.ts").write_bytes(b"canary")
    with pytest.raises(NotFound):
        await previews.segment(stream_id, name)


def test_a_ticket_is_for_one_stream_and_for_a_while(previews: Previews, clock: Clock) -> None:
    ticket = previews.ticket(ID)
    previews.check(ID, ticket)
    with pytest.raises(NotAllowed):
        previews.check(OTHER, ticket)
    clock.now += TICKET_S - 1
    previews.check(ID, ticket)
    clock.now += 2
    with pytest.raises(NotAllowed):
        previews.check(ID, ticket)


@pytest.mark.parametrize("ticket", ["", ".", "9999999999.", "9999999999.ff", "x.y", "9999999999.ä"])
def test_a_ticket_that_nobody_gave(previews: Previews, ticket: str) -> None:
    with pytest.raises(NotAllowed):
        previews.check(ID, ticket)
    until, _, signature = previews.ticket(ID).partition(".")
    with pytest.raises(NotAllowed):
        previews.check(ID, f"{int(until) + 1}.{signature}")


def test_another_installation_gives_other_tickets(previews: Previews, tmp_path: Path) -> None:
    with pytest.raises(NotAllowed):
        Previews(tmp_path).check(ID, previews.ticket(ID))


async def test_what_is_removed_is_a_preview_and_nothing_else(
    previews: Previews, folder: Path
) -> None:
    (folder / "segment-7.ts").write_bytes(b"media")
    (folder.parent / "notes").mkdir()
    (folder.parent / OTHER).symlink_to(folder.parent / "notes")
    assert await previews.there() == {ID}
    await previews.remove({ID})
    assert not folder.exists()
    assert (folder.parent / "notes").is_dir()
    assert await previews.there() == set()


async def test_nothing_there_is_nothing_to_remove(previews: Previews) -> None:
    assert await previews.there() == set()
