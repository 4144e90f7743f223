"""Who may do what, and to whose things. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from strata.errors import NotAllowed

Role: TypeAlias = Literal["viewer", "operator", "admin"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""Each may do what those before it may."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is logged in.

    Attributes:
        others: ids of other users whose things this one may see, and, as an operator, change.
    """

    id: str
    email: str
    role: Role
    others: tuple[str, ...] = ()

    @property
    def sees_all(self) -> bool:
        return self.role == "admin"

    @property
    def sees(self) -> tuple[str, ...]:
        """Whose things, where not everybody's."""
        return (self.id, *self.others)

    def may_see(self, owner_id: str | None) -> bool:
        """Whether things of that owner; None: of nobody, for administrators alone."""
        return self.sees_all or owner_id in self.sees

    def require(self, role: Role) -> None:
        """That the user has that role at least.

        Raises:
            NotAllowed: it has not.
        """
        if ROLES.index(self.role) < ROLES.index(role):
            article = "a" if self.role == "viewer" else "an"
            raise NotAllowed(
                f"this takes the role of an {role}, and {self.email} is {article} {self.role}; "
                "ask an administrator to do it, or for the role"
            )
