"""``strata-receiver``: one stream, one process.

Media flows one way: librist (:mod:`strata.rist`) -> ingest pipeline -> hub -> the pipeline
of each forward. Everything up to the hub happens on one event loop; GStreamer's threads
carry media from there to each destination.
"""
