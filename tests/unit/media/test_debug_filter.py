from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from strata.media.debug_filter import Filter

URL = "rtmp://host/live/canary-stream-key?token=canary-of-the-query"
LINE = f"0:00:01 DEBUG rtmp setting location to {URL} stream canary-stream-key\n".encode()


def test_keys_are_left_out_and_the_rest_is_not() -> None:
    one = Filter()
    one.conceal(URL.encode() + b"\n")
    assert one.feed(LINE) == (
        b"0:00:01 DEBUG rtmp setting location to rtmp://host/live/****?**** stream ****\n"
    )
    assert one.finish() == b""


@given(st.lists(st.integers(0, 3 * len(LINE))))
def test_a_key_that_is_cut_in_two_is_left_out(cuts: list[int]) -> None:
    one = Filter()
    one.conceal(URL.encode() + b"\n")
    text, places = 3 * LINE, [0, *sorted(cuts), 3 * len(LINE)]
    shown = b"".join(one.feed(text[a:b]) for a, b in itertools.pairwise(places))
    assert b"canary" not in shown
    assert shown.count(b"\n") == 3


def test_an_address_that_comes_in_parts() -> None:
    one = Filter()
    for part in (URL[:20], URL[20:], "\nsrt://host:1?passphrase=", "canary-passphrase\n"):
        one.conceal(part.encode())
    assert b"canary" not in one.feed(LINE + b"x canary-passphrase\n")


def test_the_last_line_needs_no_end() -> None:
    one = Filter()
    one.conceal(URL.encode() + b"\n")
    assert one.feed(LINE[:-1]) == b""
    assert b"canary" not in one.finish()


@given(st.binary(max_size=200))
def test_any_bytes_will_do(data: bytes) -> None:
    one = Filter()
    one.conceal(URL.encode() + b"\n" + data + b"\n")
    one.feed(data)
    one.finish()


def test_the_process_reads_addresses_before_the_log(tmp_path: Path) -> None:
    keys_read, keys_write = os.pipe()
    out = tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "strata.media.debug_filter", str(keys_read), str(out)],
        stdin=subprocess.PIPE,
        pass_fds=(keys_read,),
        env={},
    )
    os.close(keys_read)
    os.write(keys_write, URL.encode() + b"\n")
    process.communicate(LINE, timeout=30)
    os.close(keys_write)
    assert process.returncode == 0
    assert b"canary" not in out.read_bytes()
    assert out.read_bytes().count(b"****") == 3
