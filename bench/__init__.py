"""Measurements, each of them side by side in one run: ``script/bench NAME``.

Everything runs on this machine over loopback, in a temporary folder that is removed. The
figures are CPU time, not wall time, so that they stand on a machine that does other things.
"""
