"""One table of a profile, with checks whose errors tell where they are. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Final, cast

from strata.errors import BadArguments
from strata.impair.address import Address
from strata.impair.path import DIRECTIONS, Direction, Impairment, Outage

SETTINGS: Final = tuple(field.name.replace("_", "-") for field in fields(Impairment))


class Table:
    """Keys may be written with underscores for hyphens.

    Args:
        where: what the table is, as its errors begin.
        raw: as the TOML parser gave it.
        keys: those that it may hold.

    Raises:
        BadArguments: it is no table, or holds another key. All methods raise this for a
            value of the wrong type or out of range.
    """

    def __init__(self, where: str, raw: object, keys: Sequence[str]) -> None:
        self.where = where
        self._raw: dict[str, object] = {}
        if not isinstance(raw, Mapping):
            raise BadArguments(f"{where} is {raw!r}; it must be a table")
        for name, value in raw.items():
            key = name.replace("_", "-")
            if key not in keys:
                raise BadArguments(
                    f"{where}: there is no key {name!r}; there are: {', '.join(keys)}"
                )
            if key in self._raw:
                raise BadArguments(f"{where}: {key} is given twice")
            self._raw[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    def number(self, key: str) -> float:
        value = self._raw.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number")
        return float(value)

    def seconds(self, key: str) -> float:
        """From zero on."""
        value = self.number(key)
        if not (value >= 0 and math.isfinite(value)):
            raise self._wrong(key, "0 or more")
        return value

    def length_s(self, key: str) -> float | None:
        """More than zero; None when it is not given."""
        if key not in self:
            return None
        value = self.number(key)
        if not (value > 0 and math.isfinite(value)):
            raise self._wrong(key, "more than 0")
        return value

    def whole(self, key: str) -> int:
        """0 when it is not given."""
        value = self._raw.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._wrong(key, "a whole number, 0 or more")
        return value

    def text(self, key: str) -> str:
        value = self._raw.get(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a text")
        return value

    def address(self, key: str) -> Address:
        value = self._raw.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "an address with a port, like '127.0.0.1:16000'")
        try:
            return Address.parse(value)
        except BadArguments as error:
            raise BadArguments(f"{self.where}: {key}: {error.message}") from None

    def direction(self, key: str) -> Direction:
        """Both when it is not given."""
        value = self._raw.get(key, "both")
        if value not in DIRECTIONS:
            raise self._wrong(key, f"one of {', '.join(DIRECTIONS)}")
        return cast(Direction, value)

    def tables(self, key: str, form: str, keys: Sequence[str]) -> list[Table]:
        """The tables of a list; none when it is not given.

        Args:
            form: how it is written in TOML.
            keys: what each may hold.
        """
        value = self._raw.get(key, [])
        if not isinstance(value, list):
            raise self._wrong(key, f"written as {form}")
        inside = f"{self.where}, " if form.count(".") else ""
        return [Table(f"{inside}{key} {number}", raw, keys) for number, raw in enumerate(value, 1)]

    def impairment(self, base: Impairment) -> Impairment:
        """``base`` with the settings that are given here."""
        given = {key.replace("-", "_"): self.number(key) for key in SETTINGS if key in self}
        try:
            return replace(base, **given)
        except BadArguments as error:
            raise BadArguments(f"{self.where}: {error.message}") from None

    def outage(self) -> Outage:
        begin_s, end_s = self.seconds("begin-s"), self.seconds("end-s")
        every_s, direction = self.length_s("every-s"), self.direction("direction")
        try:
            return Outage(begin_s, end_s, direction, every_s)
        except BadArguments as error:
            raise BadArguments(f"{self.where}: {error.message}") from None

    def _wrong(self, key: str, allowed: str) -> BadArguments:
        if key not in self:
            return BadArguments(f"{self.where}: {key} is missing; it must be {allowed}")
        return BadArguments(f"{self.where}: {key} is {self._raw[key]!r}; it must be {allowed}")
