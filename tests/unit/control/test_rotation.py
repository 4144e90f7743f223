from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import LargeBinary

from strata.control import rotation, tables
from strata.control.rotation import SEALED
from strata.control.seal import KEY_BYTES
from strata.errors import HostError, NotAllowed
from strata.secrets import Secret
from unit.control.stage import ADMIN, OWNER, URL, VIEWER, Stage


@pytest.fixture(autouse=True)
def _nothing_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "IN_FLIGHT_S", 0.0)


def test_every_sealed_column_is_known() -> None:
    named = {(column.class_.__tablename__, column.key) for column, _ in SEALED}
    found = {
        (table.name, column.name)
        for table in tables.Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and not column.name.endswith("_hash")
    }
    assert named == found


async def add_destination(stage: Stage) -> None:
    async with stage.store.begin() as session:
        session.add(
            tables.Destination(
                id="dst_1",
                owner_id=OWNER.id,
                name="x",
                kind="rtmp",
                url="",
                url_sealed=stage.platform.seal.close(Secret(URL), "dst_1.url"),
                created_at=datetime.now(UTC),
            )
        )


async def sealed(stage: Stage) -> tuple[tables.Stream, tables.Destination]:
    row = await stage.only_row()
    async with stage.store.begin() as session:
        destination = await session.get(tables.Destination, "dst_1")
    assert destination is not None
    return row, destination


async def opens(stage: Stage, psk: Secret) -> bool:
    row, destination = await sealed(stage)
    seal = stage.platform.seal
    return (
        seal.open(row.psk_sealed, f"{row.id}.psk") == psk
        and URL in seal.open(row.forwards_sealed, f"{row.id}.forwards").reveal()
        and seal.open(destination.url_sealed, "dst_1.url").reveal() == URL
    )


async def test_a_new_key_while_everything_runs(stage: Stage) -> None:
    psk = (await stage.begin()).psk
    assert psk is not None
    await add_destination(stage)
    path = stage.settings.data_dir / "seal.key"
    old = path.read_bytes()
    before = (await sealed(stage))[0].psk_sealed
    platform = stage.platform
    assert await rotation.rotate(platform.journal, platform.store, platform.seal, ADMIN) == 3
    assert len(path.read_bytes()) == KEY_BYTES
    assert path.read_bytes() != old
    assert (await sealed(stage))[0].psk_sealed != before
    assert await opens(stage, psk)
    await stage.restart()
    assert await opens(stage, psk)
    assert stage.host.running
    events = await stage.platform.journal.since(ADMIN, None, None, 100)
    assert [each.data for each in events if each.type == "key_rotated"] == [{"values": 3}]


async def test_a_rotation_that_was_cut_short_is_finished_at_the_next_start(
    stage: Stage,
) -> None:
    psk = (await stage.begin()).psk
    assert psk is not None
    await add_destination(stage)
    stage.platform.seal.add_key()
    await stage.restart()
    assert not stage.platform.seal.is_rotating
    assert await opens(stage, psk)


async def test_a_value_that_does_not_open_keeps_both_keys(stage: Stage) -> None:
    await stage.begin()
    row = await stage.only_row()
    async with stage.store.begin() as session:
        found = await session.get(tables.Stream, row.id)
        assert found is not None
        found.psk_sealed = b"nonsense" * 10
    platform = stage.platform
    with pytest.raises(HostError, match="does not open"):
        await rotation.rotate(platform.journal, platform.store, platform.seal, ADMIN)
    assert platform.seal.is_rotating
    assert platform.seal.open(row.forwards_sealed, f"{row.id}.forwards")


@pytest.mark.parametrize("user", [OWNER, VIEWER])
async def test_it_is_for_administrators(stage: Stage, user: object) -> None:
    platform = stage.platform
    with pytest.raises(NotAllowed):
        await rotation.rotate(platform.journal, platform.store, platform.seal, user)  # type: ignore[arg-type]
    assert not platform.seal.is_rotating
