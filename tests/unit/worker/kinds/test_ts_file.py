from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from strata.errors import BadUrl
from strata.wire import forward_url
from strata.worker.kinds import BY_KIND, ts_file
from strata.worker.kinds.ts_file import TsFile, claim
from strata.worker.units import Program


def output(path: Path) -> TsFile:
    return TsFile(forward_url.parse(f"file://{path}"), Program(None, None), 0, lambda error: None)


def test_it_is_what_file_urls_get() -> None:
    assert BY_KIND["file"] is TsFile
    assert TsFile.KIND == "file"
    assert TsFile.FEED == "packets"


def test_a_name_is_claimed_with_an_empty_file(tmp_path: Path) -> None:
    path = claim(tmp_path / "new" / "folder" / "name.ts")
    assert path == tmp_path / "new" / "folder" / "name.ts"
    assert path.stat().st_size == 0
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_a_name_that_exists_gets_a_number(tmp_path: Path) -> None:
    first = tmp_path / "name.ts"
    first.write_text("precious")
    assert claim(first).name == "name-1.ts"
    assert claim(first).name == "name-2.ts"
    assert first.read_text() == "precious"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "name.ts").symlink_to(tmp_path / "elsewhere.ts")
    assert claim(tmp_path / "name.ts").name == "name-1.ts"
    assert not (tmp_path / "elsewhere.ts").exists()


def test_numbers_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ts_file, "NAMES_MAX", 2)
    for _ in range(2):
        claim(tmp_path / "name.ts")
    with pytest.raises(BadUrl, match="exists 2 times already"):
        claim(tmp_path / "name.ts")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUrl, match=r"cannot record to .*name\.ts: Not a directory; choose"):
        claim(tmp_path / "file" / "folder" / "name.ts")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(BadUrl, match="File name too long"):
        claim(tmp_path / ("x" * 300 + ".ts"))


def test_a_folder_is_made_before_any_media(tmp_path: Path) -> None:
    TsFile.prepare(forward_url.parse(f"file://{tmp_path}/%Y/new/name.ts"))
    assert (tmp_path / time.strftime("%Y") / "new").is_dir()


def test_a_folder_that_cannot_be_made_is_told_before_any_media(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUrl, match=r"cannot record to .*choose a folder"):
        TsFile.prepare(forward_url.parse(f"file://{tmp_path}/file/name.ts"))


def test_a_folder_of_somebody_else_is_told_before_any_media(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    with pytest.raises(BadUrl, match="Permission denied"):
        TsFile.prepare(forward_url.parse(f"file://{tmp_path}/name.ts"))


def test_a_full_disk_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(BadUrl, match="the disk is full"):
        claim(tmp_path / "name.ts")


async def test_the_pattern_is_filled_in_and_the_size_is_what_was_taken(tmp_path: Path) -> None:
    made = output(tmp_path / "%Y" / "name.ts")
    made.build(made._pipeline)
    path = tmp_path / time.strftime("%Y") / "name.ts"
    assert path.exists()
    assert made.bytes_out() == 0
    path.write_bytes(bytes(188))
    assert made.bytes_out() == 188
    path.unlink()
    assert made.bytes_out() == 0


def test_an_error_says_what_to_check(tmp_path: Path) -> None:
    error = output(tmp_path / "name.ts").explain("Could not write", "details")
    assert os.fspath(tmp_path / "name.ts") in error.message
    assert "Could not write; check the disk" in error.message
    assert error.can_retry
