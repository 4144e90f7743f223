from __future__ import annotations

import os
from pathlib import Path

import pytest

from strata.errors import HostError
from strata.host import process
from strata.host.process import Identity
from strata.host.records import Record, Records
from strata.host.supervised import Outcome
from strata.host.trace import Trace


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "workers")


@pytest.fixture
def trace(records: Records, tmp_path: Path) -> Trace:
    return Trace(Record("str_1", [15000], name="Derby"), records, tmp_path / "run", tmp_path)


def test_what_is_noted_is_there_for_the_next_host(trace: Trace, records: Records) -> None:
    trace.note(had_media=True, forward_ids=["fwd_2"])
    wanted = Record("str_1", [15000], name="Derby", had_media=True, forward_ids=["fwd_2"])
    assert records.all() == [wanted] == [trace.record]
    trace.forget()
    assert records.all() == []


def test_which_process_its_worker_is(trace: Trace, records: Records) -> None:
    mine = Identity.of(os.getpid())
    trace.note_process(mine)
    assert trace.identity == mine
    trace.note_process(None, slate="off")
    assert records.all() == [Record("str_1", [15000], name="Derby", slate="off")]


def test_a_disk_that_refuses_is_told_and_what_is_so_is_remembered(
    trace: Trace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "workers" / "str_1.new").mkdir()
    with pytest.raises(HostError, match=r"cannot be written down: Is a directory; .*\(df -h\)"):
        trace.note(slate="off")
    trace.note_if_possible(slate_now=True)
    assert "str_1: what runs here cannot be written down" in caplog.text
    assert (trace.record.slate, trace.record.slate_now) == ("off", True)


def test_one_that_does_not_run_is_not_found(trace: Trace) -> None:
    assert trace.find() is None
    trace.note_process(Identity(os.getpid(), 1, "of another start of the machine"))
    assert trace.find() is None


@pytest.mark.parametrize(
    ("last", "reason", "detail"),
    [
        ("INFO w: stopped: eos", "eos", "the worker was told to stop while the host was away"),
        ("INFO w: stopped: orphaned", "no_input", "no media came while the host was away"),
        ("", "worker_crash", "the worker ended while the host was away; it said nothing"),
    ],
)
def test_how_a_worker_ended_that_nobody_was_there_to_see(
    trace: Trace, last: str, reason: str, detail: str
) -> None:
    trace.note(boot=process.boot_id())
    trace.log.write_text(f"{last}\n")
    found = trace.end_of_worker(kernel_killed=False)
    assert (found.reason, found.detail) == (reason, detail)


def test_a_worker_that_ended_with_the_machine(trace: Trace) -> None:
    trace.log.write_text("")
    assert trace.end_of_worker(kernel_killed=True).reason == "out_of_memory"
    found = trace.end_of_worker(kernel_killed=False)
    assert found == Outcome("worker_crash", "the machine was started anew")
