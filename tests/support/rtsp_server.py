"""A camera: ``rtsp_server.py PORT LAUNCH [PASSWORD]``, of the user "admin"."""

from __future__ import annotations

import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def main() -> None:
    port, launch, password = sys.argv[1:4]
    Gst.init(None)
    server: Any = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory: Any = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    factory.set_shared(True)
    if password:
        token: Any = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth: Any = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("admin", password), token)
        server.set_auth(auth)
        access = "media.factory.access=(boolean)true,media.factory.construct=(boolean)true"
        factory.add_role_from_structure(Gst.Structure.from_string(f"user,{access}")[0])
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
