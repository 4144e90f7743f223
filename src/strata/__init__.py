"""Strata puts a field crew's picture on the air: bonded RIST in, platforms and recordings out."""

__version__ = "0.1.0"
