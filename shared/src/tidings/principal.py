"""The principal: who is calling, as the access token says."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

Role = Literal["user", "admin"]


@dataclass(frozen=True)
class Principal:
    """A signed-in caller."""

    user_id: UUID
    username: str
    role: Role
    session_id: UUID

    @property
    def is_admin(self) -> bool:
        """Whether the caller may see and do what other people's accounts allow."""
        return self.role == "admin"
