"""What a viewer sees of a file: each picture as it is decoded, and the decoder's complaints."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Decoded:
    """Attributes:
    pictures: stamp in s, and the sum over the picture, in the order of showing.
    errors: complaints at ffmpeg's level ``error``, but for those of its parser.
    parser_errors: a parser reads ahead of the decoder, and does not hear of a change of
        parameters beside the stream, which is how FLV tells it.
    """

    pictures: list[tuple[float, str]]
    errors: int
    parser_errors: int


def decode(path: Path) -> Decoded:
    """Decodes the picture of a whole file. Stamps are those of the file, none is moved."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-copyts", "-i"]
    options = "-map 0:v -fps_mode passthrough -enc_time_base -1 -f framehash -hash md5 -"
    done = subprocess.run(
        [*command, path, *options.split()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
    )
    base = Fraction(1)
    pictures = []
    for line in done.stdout.splitlines():
        if line.startswith("#tb 0:"):
            base = Fraction(line.partition(":")[2].strip())
        elif not line.startswith("#"):
            _, _, pts, _, _, sum_ = (part.strip() for part in line.split(","))
            pictures.append((float(int(pts) * base), sum_))
    return Decoded(pictures, *_complaints(done.stderr))


def _complaints(said: str) -> tuple[int, int]:
    counts = [0, 0]
    of_parser = False
    for line in said.splitlines():
        repeated = re.match(r" +Last message repeated (\d+) times", line)
        if repeated is None:
            of_parser = line.startswith("[NULL @")
        counts[of_parser] += int(repeated[1]) if repeated is not None else 1
    return counts[0], counts[1]
