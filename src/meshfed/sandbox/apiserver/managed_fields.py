"""Stand-in."""

from __future__ import annotations
from typing import Any
from meshfed.sandbox.apiserver.patches import merge_patch


class ApplyConflict(Exception):
    """Conflict."""

    conflicts: list[tuple[str, str]]


def apply(
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    *,
    manager: str,
    force: bool,
    schema: Any,
    api_version: str,
    subresource: str,
    now: str,
) -> dict[str, Any]:
    """Apply."""
    result: dict[str, Any] = merge_patch(live or {}, applied)
    return result


def update(
    live: dict[str, Any] | None,
    new: dict[str, Any],
    *,
    manager: str,
    schema: Any,
    api_version: str,
    subresource: str,
    now: str,
) -> dict[str, Any]:
    """Update."""
    return new
