"""Tries a destination before a broadcast does, in a process of its own.

bars  the picture and the sound that it is sent
push  the push itself, by the code that carries a broadcast
main  the process: ``python -I -m strata.worker.trial.main``
"""
