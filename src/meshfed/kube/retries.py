"""When an object is tried again: after a failed write, and where something else keeps changing it back. Pure.

Times are the caller's, in seconds of any steady clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.kube.errors import ConfigError, Conflict, Forbidden, KubeError, NotFound
from meshfed.kube.sources import Outcome, Record
from meshfed.kube.writer import NotOwnedError

UNDISTURBED: Final = 60.0
"""Seconds an object must stay as written before its next divergence counts as the first again."""
REWRITES: Final = 3
"""Times that what others changed is put back without delay."""
_CONFLICTS: Final = 5


class Retry(msgspec.Struct, frozen=True):
    """What a failed write comes to: an outcome, a sentence, and seconds until the next try, which grow up to ``cap``.

    ``blocking``: it may yet be applied, so that others should wait for it.
    """

    outcome: Outcome
    message: str
    base: float
    cap: float
    blocking: bool = False
    at_least: float = 0.0


def after(error: KubeError, attempts: int) -> Retry:
    """Return what becomes of an object whose write failed, ``attempts`` having failed before."""
    if isinstance(error, Conflict) and attempts < _CONFLICTS:
        return Retry(Outcome.PENDING, "it changes at this moment", base=0.05, cap=1.0, blocking=True)
    if isinstance(error, NotOwnedError):
        return Retry(Outcome.NOT_OWNED, str(error), base=5.0, cap=60.0)
    if error.retryable:
        at_least = error.retry_after or 0.0
        return Retry(Outcome.FAILED, str(error), base=0.2, cap=30.0, blocking=True, at_least=at_least)
    if isinstance(error, Forbidden | NotFound | ConfigError):
        return Retry(Outcome.FAILED, str(error), base=1.0, cap=60.0)
    return Retry(Outcome.INVALID, str(error), base=5.0, cap=300.0)


def is_contested(record: Record, now: float) -> bool:
    """Note that an object is not as it was written; returns whether that came too often to put it back at once."""
    if record.applied is not record.desired or record.diverged_at is not None:
        return False
    record.diverged_at = now
    if now - record.applied_at >= UNDISTURBED:
        record.rewrites = 0
    return record.rewrites >= REWRITES
