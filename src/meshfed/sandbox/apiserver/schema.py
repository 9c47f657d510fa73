"""Stand-in."""

from __future__ import annotations
from typing import Any
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """One reason an object is refused."""

    reason: str
    message: str
    field: str


class Schema:
    """A kind's schema."""

    @classmethod
    def compile(cls, openapi_v3: dict[str, Any]) -> Schema:
        """Compile."""
        return cls()

    def prune(self, obj: dict[str, Any]) -> list[str]:
        """Prune."""
        return []

    def default(self, obj: dict[str, Any]) -> None:
        """Default."""

    def validate(self, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[Cause]:
        """Validate."""
        return []
