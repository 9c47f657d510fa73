"""The time as Kubernetes writes it."""

from __future__ import annotations

from datetime import UTC, datetime


def time_now() -> str:
    """Return the time in whole seconds (metav1.Time)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time_now() -> str:
    """Return the time in microseconds (metav1.MicroTime)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
