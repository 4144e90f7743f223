"""One machine: its ports, its workers, and what they say.

The host knows nothing of users or platforms; it starts what it is told to, keeps it
running without anyone watching, and says what happened.
"""
