"""What stands in for a picture that is missing.

slate     a slate, the request for one, and how both are written
slates    the slates of one worker: from memory, the disk, or made
cache     the folder in which they are kept
helper    the helper process, seen from the worker
maker     the helper process itself: ``python -m strata.worker.slates.maker``
job       what the maker is to do, checked
pipeline  GStreamer in it
encoder   which encoder makes which profile
text      how a stream's name is laid out
"""
