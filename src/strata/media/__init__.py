"""What worker and sender both know of media: GStreamer itself, its log without keys, and the
tables of a transport stream."""
