from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from strata.errors import BadArguments, HostError
from strata.rist import context
from strata.rist.context import PROFILE_MAIN, Context, ffi, lib, peer_config, set_secret
from strata.secrets import Secret

KEY = "abcd-efgh-1234"


def make_receiver(holder: Any, settings: Any) -> int:
    return int(lib.rist_receiver_create(holder, PROFILE_MAIN, settings))


def secret_of(config: Any) -> bytes:
    return bytes(ffi.buffer(config.secret))


def test_the_librist_that_is_loaded_tells_its_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", context.version())


def test_a_config_has_the_defaults_of_librist_and_no_key_yet() -> None:
    config = peer_config(Secret(KEY), 128)
    assert config.key_size == 128
    assert config.recovery_length_max > 0
    assert secret_of(config) == bytes(128)


def test_without_a_key_nothing_is_encrypted() -> None:
    assert peer_config(None, 256).key_size == 0


def test_a_key_is_put_in_whole_and_wiped_whole() -> None:
    longest = "k" * 127
    config = peer_config(Secret(longest), 256)
    set_secret(config, Secret(longest))
    assert secret_of(config) == longest.encode() + b"\0"
    set_secret(config, Secret(KEY))
    assert secret_of(config) == KEY.encode().ljust(128, b"\0")
    set_secret(config, None)
    assert secret_of(config) == bytes(128)


@pytest.mark.parametrize("bits", [0, 1, 192, 512])
def test_only_two_sizes_of_key_exist(bits: int) -> None:
    with pytest.raises(BadArguments, match="128 or 256"):
        peer_config(Secret(KEY), bits)


@pytest.mark.parametrize("key", ["", "short", "k" * 128, "nul\0inside", "schlüssel-1234"])
def test_a_key_that_librist_would_cut_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(BadArguments) as caught:
        peer_config(Secret(key), 256)
    assert not key or key not in caught.value.message


def test_a_context_that_cannot_be_made_leaves_nothing() -> None:
    with pytest.raises(HostError, match="could not make a context"):
        Context(lambda holder, settings: -1, 1024, 20)


def test_no_inbox_no_context(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lib:
        def inbox_new(self, max_bytes: int, batch_ms: int) -> Any:
            return ffi.NULL

    monkeypatch.setattr(context, "lib", Lib())
    with pytest.raises(HostError, match="no memory or file descriptor"):
        Context(make_receiver, 1024, 20)


def test_a_context_is_closed_once_however_often_asked() -> None:
    made = Context(make_receiver, 1024, 20)
    assert made.take_logs() == []
    assert made.take_reports() == []
    made.close()
    made.close()
    assert made.ctx == ffi.NULL
    assert made.inbox == ffi.NULL


def test_a_peer_that_librist_refuses_is_none_and_the_log_says_why() -> None:
    made = Context(make_receiver, 1024, 20)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        config = peer_config(None, 256)
        config.address_family = socket.AF_INET
        config.address = b"127.0.0.1"
        config.physical_port = other.getsockname()[1]
        try:
            assert made.make_peer(config) is None
            assert any(level == "error" and "in use" in text for level, text in made.take_logs())
            assert made.take_logs() == []
        finally:
            made.close()


def test_a_report_that_was_cut_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_text", lambda taken: '{"a": 1}\n{"b": \n{"c": 3}\n')
    made = Context(make_receiver, 1024, 20)
    try:
        assert made.take_reports() == [{"a": 1}, {"c": 3}]
    finally:
        made.close()


def test_log_lines_have_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_text", lambda taken: "3broken \n4odd\n6fine\n?what\n")
    made = Context(make_receiver, 1024, 20)
    try:
        assert made.take_logs() == [
            *(("error", "broken"), ("warning", "odd"), ("info", "fine"), ("debug", "what")),
        ]
    finally:
        made.close()
