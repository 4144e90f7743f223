"""Limits on what a worker may take of its machine, by whatever the machine has for that."""

from strata.host.limits.detect import best
from strata.host.limits.limits import Allowance, Group, Limits, NoGroup, NoLimits, Place

__all__ = ["Allowance", "Group", "Limits", "NoGroup", "NoLimits", "Place", "best"]
