"""A local destination: nginx as an RTMP server, and a page that shows what it received."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from pathlib import Path
from typing import Final

from strata.errors import HostError, PartMissing

MODULES: Final = (
    Path("/usr/lib/nginx/modules/ngx_rtmp_module.so"),
    Path("/usr/share/nginx/modules/ngx_rtmp_module.so"),
)
RTMP_PORT: Final = 1935
HTTP_PORT: Final = 8090
LISTEN_DEADLINE_S: Final = 10.0
STOP_DEADLINE_S: Final = 5.0

CONFIG: Final = """\
load_module {module};
{user}daemon off;
master_process off;
worker_processes 1;
pid "{dir}/nginx.pid";
error_log "{dir}/error.log" warn;
events {{ worker_connections 128; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{rtmp_port};
        chunk_size 4096;
        application live {{
            live on;
            hls on;
            hls_path "{dir}/www/hls";
            hls_fragment 2s;
            hls_playlist_length 20s;
        }}
    }}
}}
http {{
    access_log off;
    client_body_temp_path "{dir}/tmp";
    proxy_temp_path "{dir}/tmp";
    fastcgi_temp_path "{dir}/tmp";
    uwsgi_temp_path "{dir}/tmp";
    scgi_temp_path "{dir}/tmp";
    types {{
        text/html html;
        application/vnd.apple.mpegurl m3u8;
        video/mp2t ts;
    }}
    server {{
        listen 127.0.0.1:{http_port};
        root "{dir}/www";
        add_header Cache-Control no-store;
    }}
}}
"""

PAGE: Final = """\
<!doctype html>
<meta charset="utf-8">
<title>Strata: what the platform sees</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem }
  video { width: 100%; background: #111 }
</style>
<h1>What the platform sees</h1>
<video src="hls/demo.m3u8" controls autoplay muted playsinline></video>
<p id="state">The first picture takes some ten seconds: HLS waits for whole segments.</p>
<p>A browser without HLS of its own shows nothing here; use
   <code>ffplay RTMP_URL</code> or VLC.</p>
<script>
  const video = document.querySelector("video"), state = document.querySelector("#state");
  video.addEventListener("playing", () => state.textContent = "On the air.");
  video.addEventListener("error", () => setTimeout(() => { video.load(); video.play() }, 2000));
</script>
"""


class LocalPlatform:
    """nginx-rtmp on loopback, recording nothing, showing the stream ``demo`` as HLS.

    Args:
        folder: for its configuration, segments and log; emptied first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.rtmp_port = _free_port(RTMP_PORT)
        self.http_port = _free_port(HTTP_PORT)

    @property
    def rtmp_url(self) -> str:
        return f"rtmp://127.0.0.1:{self.rtmp_port}/live/demo"

    @property
    def page_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/"

    async def start(self) -> None:
        """Starts nginx and waits until it listens.

        Raises:
            PartMissing: nginx or its module is not installed.
            HostError: it did not come up.
        """
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        module = next((path for path in MODULES if path.exists()), None)
        if binary is None or module is None:
            raise PartMissing(
                "the demonstration needs nginx with its rtmp module; run script/bootstrap "
                "(Debian packages: nginx-light, libnginx-mod-rtmp)"
            )
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in ("www/hls", "tmp"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "www" / "index.html").write_text(PAGE.replace("RTMP_URL", self.rtmp_url))
        config = self._folder / "nginx.conf"
        config.write_text(
            CONFIG.format(
                module=module,
                user="user root;\n" if os.geteuid() == 0 else "",
                dir=self._folder,
                rtmp_port=self.rtmp_port,
                http_port=self.http_port,
            )
        )
        self._process = await spawn(
            binary, "-c", str(config), "-p", str(self._folder), "-e", f"{self._folder}/error.log"
        )
        await self._until_listening()

    async def stop(self) -> None:
        if self._process is not None:
            await end(self._process)

    async def _until_listening(self) -> None:
        """nginx writes its number down once it holds its ports. That somebody listens on them
        would not tell: it may be whoever took them meanwhile."""
        assert self._process is not None
        number = self._folder / "nginx.pid"
        try:
            async with asyncio.timeout(LISTEN_DEADLINE_S):
                while not (number.exists() and number.read_text().strip()):
                    if self._process.returncode is not None:
                        raise TimeoutError
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.stop()
            raise HostError(
                f"the local nginx did not come up; see {self._folder}/error.log"
            ) from None


async def spawn(*command: str, stdin: int | None = None) -> asyncio.subprocess.Process:
    """A child that ends when we do, however we end (setpriv is part of every Debian)."""
    return await asyncio.create_subprocess_exec(
        "setpriv",
        "--pdeathsig",
        "TERM",
        "--",
        *command,
        stdin=stdin if stdin is not None else asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL after a deadline."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port(wanted: int) -> int:
    """The port that is wanted, or where somebody has it any other."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
