"""``strata rotate-key``."""

from __future__ import annotations

from strata.client.commands.common import Json, connected, field, say


def rotate_key(as_json: Json = False) -> None:
    """Seal every stored secret with a new key, and forget the old one; takes ten seconds."""
    with connected() as api:
        answer = api.do("POST", "/api/seal/rotate")
    say(
        answer,
        as_json,
        f"{field(answer, 'values')} secrets are sealed with a new key; make a new backup: those "
        "of before have the old one",
    )
