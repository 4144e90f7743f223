"""``strata-receiver``: one stream, one process.

Media flows one way: librist (:mod:`strata.rist`) -> ingest pipeline -> hub -> the pipeline
of each forward. All decisions are taken on one event loop; GStreamer's threads only carry.
"""
