"""Faults that tests inject: requests that are refused, hang, lose their connection, or get half an event."""

from __future__ import annotations

from typing import Literal

from meshfed_sandbox.apiserver import errors
from meshfed_sandbox.apiserver.errors import StatusError

Action = Literal["refuse", "hang", "drop", "half-line"]


class Fault:
    """What happens to the next ``times`` requests of a verb, resource and name; an empty one matches all.

    ``refuse`` answers ``status`` (with Retry-After where ``retry_after`` seconds are given), ``hang`` never answers,
    ``drop`` closes the connection before an answer, ``half-line`` closes a watch in the middle of its first event.
    """

    def __init__(
        self,
        action: Action,
        *,
        verb: str = "",
        resource: str = "",
        name: str = "",
        status: int = 500,
        message: str = "",
        retry_after: int = 0,
        times: int = 1,
    ) -> None:
        self.action = action
        self.retry_after = retry_after
        self.times = times
        self._matched = (verb, resource, name)
        self._status = status
        self._message = message

    def strikes(self, verb: str, resource: str, name: str) -> bool:
        """Whether a request is hit; counts down where it is."""
        wanted = zip(self._matched, (verb, resource, name), strict=True)
        if self.times <= 0 or any(want not in {"", actual} for want, actual in wanted):
            return False
        self.times -= 1
        return True

    def error(self) -> StatusError:
        """What a refused request is told."""
        error = errors.generic(self._status, self._message)
        if self.retry_after:
            error.details = {"retryAfterSeconds": self.retry_after}
        return error
