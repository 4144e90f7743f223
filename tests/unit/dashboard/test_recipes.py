from __future__ import annotations

import re
import shlex
from urllib.parse import unquote

import zxingcpp

from strata.dashboard import recipes
from strata.secrets import Secret

URLS = ["rist://strata.example.org:15000", "rist://strata.example.org:15002"]
KEY = Secret("a-key-of-some-length")


def test_all_that_an_encoder_needs() -> None:
    told = recipes.recipe(URLS, KEY, 1000)
    assert (told["addresses"], told["psk"]) == (URLS, KEY.reveal())
    assert ["Recovery buffer", "1000 ms"] in told["facts"]


def test_lines_name_the_key_where_programs_look_for_it() -> None:
    told = recipes.recipe(URLS, KEY, 1000)
    whole = f"{URLS[0]}?secret={KEY.reveal()}&aes-type=256&buffer=1000"
    assert shlex.split(told["ffmpeg"])[-1] == told["obs"] == whole
    line = shlex.split(told["ristsender"])
    assert line[0] == "ristsender"
    assert line[-1].count(f"secret={KEY.reveal()}&aes-type=256&buffer=1000") == len(URLS)


def drawn(svg: str) -> memoryview:
    """An image of a code, a byte for each pixel: strokes from left to right, a unit wide."""
    [scale] = re.findall(r"scale\((\d+)\)", svg)
    [ground] = re.findall(r"fill='#fff' d='M0 0h(\d+)v\1h-\1z'", svg)
    [strokes] = re.findall(r"stroke='#000' d='([^']+)'", svg)
    unit, units = int(scale), int(ground)
    rows = [bytearray(b"\xff" * units) for _ in range(units)]
    x, y = 0, 0.0
    for step, across, down in re.findall(r"([Mmh])(-?\d+)(?: (-?[\d.]+))?", strokes):
        if step == "h":
            rows[int(y)][x : x + int(across)] = bytes(int(across))
            x += int(across)
        else:
            x, y = (x + int(across), y + float(down)) if step == "m" else (int(across), float(down))
    pixels = b"".join(bytes(row[at // unit] for at in range(units * unit)) * unit for row in rows)
    return memoryview(pixels).cast("B", (units * unit, units * unit))


def test_a_code_says_what_is_given_to_obs_for_each_link() -> None:
    told = recipes.recipe(URLS, KEY, 1000)
    assert [each["address"] for each in told["codes"]] == URLS
    read = []
    for each in told["codes"]:
        head, _, data = each["image"].partition(",")
        assert head == "data:image/svg+xml;charset=utf-8"
        assert KEY.reveal() not in unquote(data)
        found = zxingcpp.read_barcode(drawn(unquote(data)))
        assert found is not None
        assert found.format == zxingcpp.BarcodeFormat.QRCode
        read.append(found.text)
    assert read[0] == told["obs"]
    assert read[1] == told["obs"].replace(URLS[0], URLS[1])
