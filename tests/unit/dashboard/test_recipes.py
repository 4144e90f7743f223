from __future__ import annotations

import base64
import shlex
from urllib.parse import unquote

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
    whole = f"{URLS[0]}?secret={KEY.reveal()}&aes-type=256"
    assert shlex.split(told["ffmpeg"])[-1] == told["obs"] == whole
    line = shlex.split(told["ristsender"])
    assert line[0] == "ristsender"
    assert line[-1].count(f"secret={KEY.reveal()}") == len(URLS)


def test_a_code_is_an_image_for_each_link() -> None:
    told = recipes.recipe(URLS, KEY, 1000)
    assert [each["address"] for each in told["codes"]] == URLS
    for each in told["codes"]:
        head, _, data = each["image"].partition(",")
        assert head.startswith("data:image/svg+xml")
        text = base64.b64decode(data).decode() if "base64" in head else unquote(data)
        assert "<svg" in text
        assert KEY.reveal() not in text
