"""``strata doctor``: what is missing on this machine, and the command that mends it.

:mod:`strata.doctor.looks` finds out, :mod:`strata.doctor.judge` says what that means.
"""
