"""Stand-in."""

from typing import Any

BUILTIN_SCHEMAS: dict[str, dict[str, Any]] = {}
