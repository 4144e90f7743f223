"""``strata-sender``: what runs in the field.

It dials the control plane, says what it has, and sends what it is told to over all its links.
"""
