from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata import settings
from strata.errors import BadArguments
from strata.settings import Settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("STRATA_"):
            monkeypatch.delenv(name)


def toml(folder: Path, text: str) -> Path:
    path = folder / "strata.toml"
    path.write_text(text)
    return path


def test_the_defaults_that_others_rely_on() -> None:
    found = settings.load()
    assert found.server.listen == "127.0.0.1:8080"
    assert found.host.port_range == "15000-16000"
    assert found.host.port_rest_s == 60.0
    assert found.forward.allow_private is False
    assert found.worker.max_egress_kbps == 20_000
    assert found.worker.orphan_timeout_s == 120.0
    assert found.admin.password is None


def test_the_folders_lie_in_the_data_folder(tmp_path: Path) -> None:
    found = settings.load(data_dir=tmp_path / "data")
    assert found.media_dir == tmp_path / "data" / "media"
    assert found.log_dir == tmp_path / "data" / "logs"


def test_the_data_folder_does_not_depend_on_who_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load().data_dir == tmp_path / ".strata"
    assert settings.load(data_dir=Path("there")).data_dir == tmp_path / "there"
    monkeypatch.setenv("HOME", "/home/somebody")
    assert settings.load(data_dir=Path("~/strata")).data_dir == Path("/home/somebody/strata")


def test_environment_goes_before_the_file_and_flags_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml(
        tmp_path,
        '[server]\nlisten = "127.0.0.1:1"\nsession_hours = 1\n[host]\nport_range = "1000-1001"\n'
        'public_host = "from.file"\nready_timeout_s = 3.5\n',
    )
    monkeypatch.setenv("STRATA_SERVER__LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("STRATA_HOST__PUBLIC_HOST", "from.environment")
    found = settings.load(
        file, server={"listen": "127.0.0.1:3"}, host={"port_range": None, "public_host": None}
    )
    assert found.server.listen == "127.0.0.1:3"
    assert found.server.session_hours == 1
    assert found.host.public_host == "from.environment"
    assert found.host.port_range == "1000-1001"
    assert found.host.ready_timeout_s == 3.5
    assert found.host.stop_timeout_s == 15.0


def test_a_file_is_read_for_the_call_that_names_it_only(tmp_path: Path) -> None:
    file = toml(tmp_path, '[server]\nlisten = "127.0.0.1:1"\n')
    assert settings.load(file).server.listen == "127.0.0.1:1"
    assert settings.load().server.listen == "127.0.0.1:8080"


@pytest.mark.parametrize(("text", "wanted"), [("true", True), ("1", True), ("false", False)])
def test_private_addresses_are_allowed_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, wanted: bool
) -> None:
    monkeypatch.setenv("STRATA_FORWARD__ALLOW_PRIVATE", text)
    assert settings.load().forward.allow_private is wanted


def test_the_first_administrator_has_short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_ADMIN_EMAIL", "me@example.org")
    monkeypatch.setenv("STRATA_ADMIN_PASSWORD", "canary-password")
    found = settings.load()
    assert found.admin.email == "me@example.org"
    assert found.admin.password is not None
    assert found.admin.password.get_secret_value() == "canary-password"
    assert "canary-password" not in repr(found)


def test_an_empty_password_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_ADMIN_PASSWORD", "")
    assert settings.load().admin.password is None


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.load().host.port_rest_s = 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nlissten = 'x'\n", "server.lissten: Extra inputs are not permitted"),
        ("[sever]\nlisten = 'x'\n", "sever: Extra inputs are not permitted"),
        ("[server]\nlisten = '8080'\n", "server.listen: .*write it like 127.0.0.1:8080"),
        ("[host]\nport_range = '16000-15000'\n", "host.port_range: .*write it like 15000-16000"),
        ("[host]\nready_timeout_s = 0\n", "host.ready_timeout_s: .*greater than 0"),
        ("[worker]\nbuffer_ms = 10\n[host]\nport_attempts = 0\n", "host.port_attempts.*buffer_ms"),
        ("[server\n", "strata.toml cannot be read: "),
        ("listen = \x00", "strata.toml cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(BadArguments, match=words) as raised:
        settings.load(toml(tmp_path, text))
    assert "\n" not in raised.value.message


def test_bytes_that_are_no_text_are_told_too(tmp_path: Path) -> None:
    file = tmp_path / "strata.toml"
    file.write_bytes(b"data_dir = '\xff'\n")
    with pytest.raises(BadArguments, match=r"strata.toml cannot be read"):
        settings.load(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadArguments, match=r"nowhere.toml does not exist"):
        settings.load(tmp_path / "nowhere.toml")


def test_an_unknown_key_in_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_HOST__PORT_RNGE", "1-2")
    with pytest.raises(BadArguments, match=r"host.port_rnge: Extra inputs"):
        settings.load()


def test_a_variable_that_hides_a_section_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRATA_HOST", "10.0.0.1")
    with pytest.raises(BadArguments, match=r'"host".*STRATA_SECTION__KEY') as raised:
        settings.load()
    assert "settings file" not in raised.value.message


def test_an_error_repeats_no_value(tmp_path: Path) -> None:
    file = toml(tmp_path, "[admin]\npassword = ['canary-password']\n")
    with pytest.raises(BadArguments, match=r"admin.password") as raised:
        settings.load(file)
    assert "canary" not in raised.value.message
    assert raised.value.__cause__ is None


def test_the_folders_are_for_this_user_alone(tmp_path: Path) -> None:
    found = settings.load(data_dir=tmp_path / "a" / "data")
    settings.make_folders(found)
    settings.make_folders(found)  # they may be there
    for folder in (found.data_dir, found.media_dir, found.log_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = settings.load(data_dir=tmp_path / "file" / "data")
    with pytest.raises(BadArguments, match=r"file/data cannot be used: .*--data-dir"):
        settings.make_folders(found)


def test_a_data_folder_of_somebody_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(BadArguments, match=r"cannot be used: Permission denied; .*--data-dir"):
        settings.make_folders(settings.load(data_dir=tmp_path))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("host.example:80", ("host.example", 80)),
    ],
)
def test_split_listen(text: str, wanted: tuple[str, int]) -> None:
    assert settings.split_listen(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "host", "host:", "host:65536", "h:-1", "h:٣"]
)
def test_what_is_no_address_with_a_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like 127\.0\.0\.1:8080"):
        settings.split_listen(text)


@given(first=st.integers(1, 65_535), last=st.integers(1, 65_535))
def test_a_range_holds_both_its_ends(first: int, last: int) -> None:
    text = f"{first}-{last}"
    if first > last:
        with pytest.raises(ValueError, match="write it like 15000-16000"):
            settings.split_range(text)
    else:
        found = settings.split_range(text)
        assert (found[0], found[-1]) == (first, last)


@pytest.mark.parametrize(
    "text", ["", "15000", "15000-", "-1-5", "0-5", "1-65536", "1-2-3", "a-b", " 1-2", "1-٣"]
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 15000-16000"):
        settings.split_range(text)


def test_the_file_that_explains_the_settings_has_each_of_them_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "deploy" / "strata.toml").read_text()
    # Keys without a default have no value there; they are looked for by their names.
    lines = [line.removeprefix("#") for line in text.splitlines() if not line.startswith("# ")]
    empty = {line.split(" =")[0] for line in lines if re.search(r" =(  #.*)?$", line)}
    told = tomllib.loads("\n".join(line for line in lines if not re.search(r" =(  #.*)?$", line)))
    wanted = Settings().model_dump(mode="json")
    del wanted["data_dir"], told["data_dir"]
    for section, keys in wanted.items():
        assert {*told[section], *(key for key in keys if key in empty)} == set(keys), section
        for key, value in told[section].items():
            assert value == keys[key], f"{section}.{key}"
