"""What stands above each page: where one is, who one is, and what is wrong anywhere."""

from __future__ import annotations

from typing import Any

from strata.dashboard.panel import Panel
from strata.dashboard.seat import Seat


class Shell(Panel, component="parts/shell.js"):
    def __init__(self, seat: Seat, here: str) -> None:
        super().__init__(seat)
        self.props["here"] = here
        self.props["email"] = seat.user.email
        self.props["role"] = seat.user.role

    def tick(self) -> Any:
        return {}
