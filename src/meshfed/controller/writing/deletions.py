"""Which objects that nobody wants stay for now; the rule itself is `meshfed.plan.deletion_rule`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from meshfed.controller.feed import Feed
from meshfed.kube import ObjectKey
from meshfed.plan import Key, Planner
from meshfed.plan.deletion_rule import stay
from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)

STARTING: Final = "what should exist is being worked out for the first time"
ENDING: Final = "an object could not be taken in, so the controller starts over"


class Deletions:
    """Answers the engine. ``failing`` has the keys that our own code fails on, and why."""

    def __init__(self, planner: Planner, *, failing: Mapping[Key, str], feed: Feed) -> None:
        self._planner = planner
        self._failing = failing
        self._feed = feed
        self._starting = STARTING
        self.passes = False
        """Whether something stays only until everything that waits was worked out."""
        self._log_throttle = LogThrottle()

    def begin(self) -> None:
        """Everything was worked out once."""
        self._starting = ""

    def why_it_stays(self, key: ObjectKey, source: str) -> str:
        """Return why an object that nobody wants stays, in words; empty where it is to be deleted."""
        everything = ENDING if self._feed.is_over else self._starting
        found = stay(source, self._planner, everything=everything, failing=self._failing)
        if found is None:
            return ""
        self.passes |= found.passes
        if not found.passes and self._log_throttle.ready(found.why):
            _log.warning("%s is not wanted, and stays: %s", key, found.why)
        return found.why
