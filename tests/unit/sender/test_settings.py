from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from strata.errors import BadArguments
from strata.sender import settings
from strata.sender.settings import SenderSettings, agent_url, default_state_dir, is_loopback

URL = 'control = "https://control.example"\n'


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("STRATA_") or name == "STATE_DIRECTORY":
            monkeypatch.delenv(name)


def toml(folder: Path, text: str) -> Path:
    path = folder / "sender.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_defaults_that_others_rely_on() -> None:
    found = settings.load()
    assert found.receiver_silence_s == 90.0  # longer than the 60 s after which control reclaims
    assert not found.allow_plain
    assert found.links == found.sources == found.media_folders == ()


@pytest.mark.parametrize(
    ("control", "wanted"),
    [
        ("https://control.example", "wss://control.example/agent/ws"),
        ("https://control.example/", "wss://control.example/agent/ws"),
        ("wss://control.example:8443/strata/", "wss://control.example:8443/strata/agent/ws"),
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/agent/ws"),
        ("ws://[::1]:8080", "ws://[::1]:8080/agent/ws"),
    ],
)
def test_where_it_dials(tmp_path: Path, control: str, wanted: str) -> None:
    assert agent_url(control) == wanted
    assert settings.load(toml(tmp_path, f'control = "{control}"\n')).url == wanted


@pytest.mark.parametrize(
    "control",
    [
        *("control.example", "ftp://control.example", "https://", "https://h:0", "https://h:99999"),
        *("https://user@h", "https://h/?a=b", "https://h/#a"),
    ],
)
def test_what_is_no_control_plane(tmp_path: Path, control: str) -> None:
    with pytest.raises(BadArguments, match=r"control: .*the address of the control plane"):
        settings.load(toml(tmp_path, f'control = "{control}"\n'))


@pytest.mark.parametrize("control", ["http://control.example", "ws://192.0.2.1:8080"])
def test_keys_go_over_no_line_that_all_can_read(tmp_path: Path, control: str) -> None:
    text = f'control = "{control}"\n'
    with pytest.raises(BadArguments, match=r"used: Value error, control: .*allow_plain") as raised:
        settings.load(toml(tmp_path, text))
    assert "\n" not in raised.value.message
    assert settings.load(toml(tmp_path, text + "allow_plain = true\n")).url.startswith("ws://")


def test_without_control_nobody_can_tell_it_anything() -> None:
    with pytest.raises(BadArguments, match="control is not set"):
        _ = settings.load().url


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("a.localhost", True),
        ("192.0.2.1", False),
        ("localhost.example", False),
    ],
)
def test_what_is_this_machine(host: str, is_here: bool) -> None:
    assert is_loopback(host) is is_here


def test_the_token_is_taken_out_of_the_environment_and_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_SENDER_ENROLLMENT_TOKEN", " canary-token\n")
    monkeypatch.setenv("STRATA_SENDER_ENCODER__CEILING_KBPS", "4000")
    found = settings.load(toml(tmp_path, URL + 'enrollment_token = "other"\n'))
    assert found.enrollment_token is not None
    assert found.enrollment_token.get_secret_value() == "canary-token"
    assert "canary" not in repr(found)
    assert "STRATA_SENDER_ENROLLMENT_TOKEN" not in os.environ
    assert found.encoder.ceiling_kbps == 4000


@pytest.mark.parametrize("text", ['enrollment_token = ""\n', 'enrollment_token = " "\n', ""])
def test_an_empty_token_is_none(tmp_path: Path, text: str) -> None:
    assert settings.load(toml(tmp_path, URL + text)).enrollment_token is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("contrl = 'x'\n", "contrl: Extra inputs"),
        ("[[links]]\n", "links.0: .*needs an interface"),
        ("[[links]]\naddress = 'here'\n", "links.0.address"),
        ("[[links]]\ninterface = 'wwan0'\n" * 2, "links: .*same id"),
        ("[[links]]\ninterface = 'a'\n" * 9, "links: .*at most 8"),
        ("[[links]]\nid = 'a b'\ninterface = 'a'\n", "links.0.id"),
        ("[encoder]\nfloor_kbps = 500\nceiling_kbps = 400\n", "floor_kbps is above"),
        ("media_folders = ['videos']\n", "media_folders: .*from / on"),
        ("receiver_silence_s = 1\n", "receiver_silence_s"),
        ("[[sources]]\nname = 'A/B'\nuri = 'rtsp://h'\n", "sources.0.name: .*small letters"),
        ("[[sources]]\nname = 'a'\nuri = 'rtsp://h'\n" * 2, "sources: .*same name"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadArguments, match=words) as raised:
        settings.load(toml(tmp_path, text))
    assert "\n" not in raised.value.message


def test_an_error_repeats_no_password(tmp_path: Path) -> None:
    text = "[[sources]]\nname = '#'\nuri = 'rtsp://user:canary@h'\n"
    with pytest.raises(BadArguments) as raised:
        settings.load(toml(tmp_path, text))
    assert "canary" not in raised.value.message


def test_links_and_sources_have_names(tmp_path: Path) -> None:
    found = settings.load(
        toml(
            tmp_path,
            '[[links]]\nid = "left"\ninterface = "wwan0"\n[[links]]\ninterface = "wwan1"\n'
            '[[links]]\naddress = "2001:DB8::1"\n'
            '[[sources]]\nname = "front"\nuri = "rtsp://user:canary@192.0.2.1/"\n',
        )
    )
    assert [link.name for link in found.links] == ["left", "wwan1", "2001:db8::1"]
    assert found.sources[0].uri.get_secret_value() == "rtsp://user:canary@192.0.2.1/"
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("environment", "is_root", "wanted"),
    [
        ({"STATE_DIRECTORY": "/a:/b"}, True, "/a"),
        ({}, True, "/var/lib/strata-sender"),
        ({"XDG_STATE_HOME": "/home/x/state"}, False, "/home/x/state/strata-sender"),
        ({"HOME": "/home/x"}, False, "/home/x/.local/state/strata-sender"),
    ],
)
def test_where_it_keeps_what_it_logs_in_with(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_root: bool, wanted: str
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    assert default_state_dir() == Path(wanted)
    assert settings.load().state_dir == Path(wanted)


SECRET = URL + 'enrollment_token = "t"\n'
CAMERA = URL + "[[sources]]\nname = 'a'\nuri = 'rtsp://h'\n"


@pytest.mark.parametrize(
    ("text", "mode", "is_mine", "is_told"),
    [
        (SECRET, 0o600, True, False),
        (SECRET, 0o640, True, False),
        (SECRET, 0o640, False, True),
        (SECRET, 0o604, True, True),
        (CAMERA, 0o644, True, True),
        (URL, 0o644, True, False),
    ],
)
def test_who_else_can_read_the_secrets_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    mode: int,
    is_mine: bool,
    is_told: bool,
) -> None:
    file = toml(tmp_path, text)
    file.chmod(mode)
    group = file.stat().st_gid
    monkeypatch.setattr(os, "getegid", lambda: group if is_mine else group + 1)
    monkeypatch.setattr(os, "getgroups", lambda: [group if is_mine else group + 2])
    said = settings.exposure(file, settings.load(file))
    assert (said is not None) is is_told
    if said is not None:
        assert f"chmod 600 {file}" in said


def test_the_environment_exposes_no_file() -> None:
    assert settings.exposure(None, settings.load()) is None


def test_the_file_that_explains_the_settings_has_each_of_them_with_its_default(
    tmp_path: Path,
) -> None:
    example = Path(__file__).parents[3] / "deploy" / "sender.toml"
    lines = example.read_text().splitlines()
    assert SenderSettings.model_validate(tomllib.loads(example.read_text())) == settings.load()
    keys = [line.removeprefix("#") for line in lines if not line.startswith("# ")]
    empty = {line.split(" =")[0] for line in keys if re.search(r" =(  #.*)?$", line)}
    told: dict[str, Any] = tomllib.loads(
        "\n".join(line for line in keys if not re.search(r" =(  #.*)?$", line))
    )
    wanted = settings.load().model_dump(mode="json")
    assert told.keys() | empty == wanted.keys()
    assert told["encoder"] == wanted["encoder"]
    for key in told.keys() - {"encoder", "links", "sources", "state_dir"}:
        assert told[key] == wanted[key], key
    # The tables that may come more than once: an example of each, with all its keys.
    for key, kind in (("links", settings.Link), ("sources", settings.Source)):
        names = {name for each in told[key] for name in each}
        assert names == set(kind.model_fields), key
    # And with what is commented out there, it can be used.
    file = toml(tmp_path, "\n".join(line for line in keys if not re.search(r" =(  #.*)?$", line)))
    settings.load(file)
