"""The ``strata`` command as a client: talks REST with a platform, here or elsewhere.

It knows nothing of how the platform is made: what it can do, any program with a token can do.
"""
