from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from strata.errors import BadArguments
from strata.secrets import Secret
from strata.sender.identity import FILE, Identity

ONCE = Secret("snd_1.canary-once")
NEXT = Secret("snd_1.canary-next")
DEVICE = Secret("snd_1.canary-device")


def opened(folder: Path, token: Secret | None = ONCE) -> Identity:
    identity = Identity(folder, token)
    identity.open()
    return identity


def test_a_machine_without_any_token_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BadArguments, match=r"not enrolled: .*strata senders add"):
        opened(tmp_path / "state", None)


def test_the_enrollment_token_is_shown_once(tmp_path: Path) -> None:
    identity = opened(tmp_path / "a" / "state")
    assert (identity.enrollment_token, identity.device_token) == (ONCE, None)
    identity.enroll("snd_1", DEVICE)
    assert (identity.enrollment_token, identity.device_token) == (None, DEVICE)
    file = tmp_path / "a" / "state" / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert ONCE.reveal() not in file.read_text()
    assert os.listdir(file.parent) == [FILE]
    for token in (ONCE, None):  # whether or not it stands in the settings still
        again = opened(file.parent, token)
        assert (again.enrollment_token, again.device_token) == (None, DEVICE)
        assert again.sender_id == "snd_1"


def test_a_new_enrollment_token_goes_before_the_device_token(tmp_path: Path) -> None:
    opened(tmp_path).enroll("snd_1", DEVICE)
    identity = opened(tmp_path, NEXT)
    assert identity.enrollment_token == NEXT
    identity.refuse_enrollment()
    assert (identity.enrollment_token, identity.device_token) == (None, DEVICE)


def test_one_that_is_refused_is_all_there_is(tmp_path: Path) -> None:
    identity = opened(tmp_path)
    identity.refuse_enrollment()
    assert (identity.enrollment_token, identity.device_token) == (ONCE, None)
    assert identity.sender_id is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sender_id": "snd_1"}', "\xff"])
def test_a_damaged_file_is_told_and_not_used(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    assert opened(tmp_path).enrollment_token == ONCE
    assert "damaged" in caplog.text


def test_a_folder_that_cannot_be_written_to_is_told_before_the_token_is_shown(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadArguments, match=r"cannot be used: .*not shown its enrollment token"):
        opened(tmp_path / "file" / "state")


def test_a_full_disk_is_told_before_the_token_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadArguments, match="No space left on device"):
        opened(tmp_path)


def test_what_cannot_be_written_down_is_used_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    identity = opened(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", refuse)
        identity.enroll("snd_1", DEVICE)
    assert identity.device_token == DEVICE
    assert "has to be enrolled anew" in caplog.text
    assert "canary" not in caplog.text
    identity.keep()
    assert json.loads((tmp_path / FILE).read_text())["device_token"] == DEVICE.reveal()
    caplog.clear()
    with monkeypatch.context() as broken:  # it is not written twice
        broken.setattr(os, "open", refuse)
        identity.keep()
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_the_old_file_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).enroll("snd_1", DEVICE)
    before = (tmp_path / FILE).read_bytes()
    identity = opened(tmp_path, NEXT)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    identity.enroll("snd_1", Secret("other"))
    assert (tmp_path / FILE).read_bytes() == before


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / FILE).with_suffix(".try").symlink_to(victim)
    with pytest.raises(BadArguments):
        opened(folder)
    assert victim.read_text() == "mine"
