"""``strata up --demo``: a broadcast within a minute, without a camera or a platform.

A field sender (:mod:`strata.sender`) and a media server (nginx with its rtmp module) run
beside the control plane; the stream between them is an ordinary one.
"""
