"""A broadcast from a program: broadcast.py SITE EMAIL RTMP-URL, the password in PASSWORD."""

import os
import sys
import time

import httpx

site, email, url = sys.argv[1:]
api = httpx.Client(base_url=f"{site}/api", timeout=60)
body = {"email": email, "password": os.environ["PASSWORD"]}
login = api.post("/auth/login", json=body).raise_for_status()
api.headers["Authorization"] = f"Bearer {login.json()['token']}"
van = api.post("/senders", json={"name": "van"}).raise_for_status().json()
input(f"Let the box in the van log in with {van['enrollment_token']}, then press Enter ")
channel = api.post("/destinations", json={"name": "channel", "url": url}).raise_for_status().json()
body = {"sender_id": van["id"], "source": {"mode": "test"}, "destinations": [channel["id"]]}
stream = api.post("/streams", json=body).raise_for_status().json()
while stream["state"] not in ("live", "ended", "failed"):
    time.sleep(1)
    stream = api.get(f"/streams/{stream['id']}").raise_for_status().json()
    print(stream["state"], stream["on_air"], [link["bitrate_kbps"] for link in stream["links"]])
print(api.post(f"/streams/{stream['id']}/stop").raise_for_status().json()["detail"])
