"""Holes in a real stream: no damaged picture goes on the air."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from strata.worker.ingest import Ingest
from strata.worker.line import Line
from strata.worker.pace import Pace
from strata.worker.ts_gaps import TsGaps
from strata.worker.ts_mux import TsMuxer
from strata.worker.units import AccessUnit
from support.media import MUX_KBPS, decode_errors

DATAGRAM = 7 * 188


@pytest.mark.parametrize("seed", range(3))
async def test_pictures_after_a_hole_are_left_out_up_to_the_next_key_frame(
    tmp_path: Path, test_file: Path, seed: int
) -> None:
    chance = random.Random(seed)
    data, failures = test_file.read_bytes(), list[str]()
    ingest, pace, gaps, line = Ingest(failures.append, failures.append), Pace(), TsGaps(), Line()
    ingest.start()
    line.liveness.begin()
    out: list[AccessUnit] = []
    at, now_s, holes = 0, 100.0, 0
    while at < len(data):
        batch = data[at : at + chance.randrange(10, 30) * DATAGRAM]
        at += len(batch)
        now_s += len(batch) * 8 / MUX_KBPS / 1000
        for stamp_s, piece in pace.split(gaps.mend(batch), now_s):
            ingest.push(piece, stamp_s)
        out += line.push(ingest.pull(), int(now_s * 1e9))
        if chance.random() < 0.03 and now_s > 102.0:
            missing, holes = chance.choice((1, 1, 2, 3, 5, 40)), holes + 1
            at += missing * DATAGRAM
            now_s += missing * DATAGRAM * 8 / MUX_KBPS / 1000
            gaps.note(missing)
            line.missed()
    program = ingest.known()
    ingest.stop()
    (tmp_path / "out.ts").write_bytes(TsMuxer(program).mux(out))
    assert holes > 3
    assert 0 < line.counts.gaps <= holes
    assert line.counts.damaged_frames > 0
    assert await decode_errors(tmp_path / "out.ts") == ""
    assert not failures
