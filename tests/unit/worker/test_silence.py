"""Silence, decoded by somebody else."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from strata.worker import elementary, silence
from strata.worker.formats import FRAME_SAMPLES, FREQUENCIES, AudioFormat
from unit.worker.fakes import AUDIO

FRAMES = 8
CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8}
"""By the channel configuration (ISO/IEC 14496-3 table 1.19)."""


def format_of(configuration: int, frequency: int = 3) -> AudioFormat:
    config = (2 << 11 | frequency << 7 | configuration << 3).to_bytes(2, "big")
    return AudioFormat(
        "aac", config, "", FREQUENCIES[frequency], CHANNELS.get(configuration, configuration)
    )


def decoded(format: AudioFormat, frames: list[bytes], folder: Path) -> bytes:
    """The samples of all channels, 16 bits each; any complaint of the decoder is an error."""
    adts = elementary.aac(format.config)
    path = folder / "silence.aac"
    path.write_bytes(b"".join(adts.convert(frame) for frame in frames))
    done = subprocess.run(
        (
            *("ffmpeg", "-hide_banner", "-loglevel", "error", "-xerror"),
            *("-err_detect", "+explode", "-f", "aac", "-i", str(path), "-f", "s16le", "-"),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout


@pytest.mark.parametrize("configuration", range(1, 8))
def test_it_is_silent_on_every_channel(tmp_path: Path, configuration: int) -> None:
    format = format_of(configuration)
    found = decoded(format, [silence.frame(format)] * FRAMES, tmp_path)
    # ffmpeg leaves out what a decoder has to be given before its first sample, if at all.
    assert len(found) in [
        2 * CHANNELS[configuration] * FRAME_SAMPLES * (FRAMES - n) for n in (0, 1)
    ]
    assert not any(found)


@pytest.mark.parametrize("frequency", range(13))
def test_it_is_silent_at_every_frequency(tmp_path: Path, frequency: int) -> None:
    format = format_of(2, frequency)
    found = decoded(format, [silence.frame(format)] * FRAMES, tmp_path)
    assert found
    assert not any(found)


def test_after_sound_it_is_silent_at_once(tmp_path: Path) -> None:
    tone = tmp_path / "tone.aac"
    subprocess.run(
        (
            *("ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "sine=440:sample_rate=48000"),
            *("-t", "0.5", "-ac", "2", "-c:a", "aac", "-f", "adts", str(tone)),
        ),
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    data, frames = tone.read_bytes(), []
    while data:
        size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
        frames.append(data[7:size])
        data = data[size:]
    found = decoded(AUDIO, [*frames, *[silence.frame(AUDIO)] * FRAMES], tmp_path)
    # The first frame still holds the second half of the last one's window.
    quiet = found[-(FRAMES - 1) * FRAME_SAMPLES * 4 :]
    assert any(found[: -len(quiet)])
    assert not any(quiet)


def test_the_usual_silence_is_what_its_configuration_says() -> None:
    assert replace(AUDIO, caps="") == silence.USUAL
    assert elementary.aac(silence.USUAL.config) == elementary.Adts(3, 2)
    assert silence.USUAL.frequency == silence.USUAL.rate == 48_000


@pytest.mark.parametrize("config", [b"", b"\x11", b"\x11\x80", b"\x11\xf8"])
def test_where_the_channels_are_not_known_it_is_of_two(config: bytes) -> None:
    assert silence.frame(replace(AUDIO, config=config)) == silence.frame(AUDIO)


def test_it_is_small() -> None:
    assert all(len(silence.frame(format_of(each))) < 50 for each in range(1, 8))
