"""nginx-rtmp as the destination, and a look at what it recorded."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from bench.media import FPS
from bench.processes import Child, MeasurementFailed

MODULE: Final = "/usr/lib/nginx/modules/ngx_rtmp_module.so"
START_DEADLINE_S: Final = 5.0
_HOLE_FRAMES: Final = 1.5
"""A step in decoding time of more than this many frames is a hole."""


class Nginx:
    """One nginx that records each stream it is sent into ``folder``.

    Args:
        by_session: a file for each RTMP session; else the last one of a key stays.
    """

    def __init__(self, folder: Path, port: int, *, by_session: bool = False) -> None:
        self.recordings = folder / "recordings"
        self.recordings.mkdir()
        self._port = port
        config = folder / "nginx.conf"
        config.write_text(
            f"load_module {MODULE};\ndaemon off;\nmaster_process off;\n"
            f"pid {folder}/nginx.pid;\nerror_log stderr error;\n"
            "events { worker_connections 256; }\n"
            f"rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; "
            f"record all; record_path {self.recordings}; "
            f"record_unique {'on' if by_session else 'off'}; }} }} }}\n"
        )
        command = ("nginx", "-p", folder, "-c", config, "-e", "stderr")
        self.child = Child(command, folder / "nginx.log")
        try:
            self._wait()
        except BaseException:
            self.child.stop()
            raise

    def url(self, key: str) -> str:
        return f"rtmp://127.0.0.1:{self._port}/live/{key}"

    def recording(self, key: str) -> Path:
        return self.recordings / f"{key}.flv"

    def sessions(self, key: str) -> list[Path]:
        """With ``by_session``: the recordings of a key, the first session first."""
        return sorted(self.recordings.glob(f"{key}-*.flv"))

    def _wait(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline:
            self.child.check()
            try:
                socket.create_connection(("127.0.0.1", self._port), 1.0).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise MeasurementFailed(f"nginx does not listen; see {self.child.log}")


@dataclass(frozen=True, slots=True)
class Recording:
    """Video frames of a recording, and how many places it has where some are missing."""

    frames: int
    holes: int

    def whole(self, frames_min: int) -> bool:
        return self.frames >= frames_min and not self.holes


def inspect(path: Path) -> Recording:
    """Counts frames and holes. A recording that does not exist has no frames."""
    if not path.exists():
        return Recording(0, 0)
    command = "ffprobe -v error -select_streams v -show_entries packet=dts_time -of csv=p=0"
    done = subprocess.run(
        [*command.split(), path], capture_output=True, text=True, check=False, timeout=120
    )
    stamps = [float(line.strip(",")) for line in done.stdout.split()]
    step_max_s = _HOLE_FRAMES / FPS
    holes = sum(after - before > step_max_s for before, after in pairwise(stamps))
    return Recording(len(stamps), holes)
