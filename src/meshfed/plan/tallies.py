"""How many of a remote's offers are imported, and how many are not for which reason.

Kept up offer by offer: a status is worked out again with every change, and a remote may offer thousands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from meshfed.model.reasons import Decision, Reason


class Tally:
    """What became of each offer, counted by remote and reason; what is not settled yet is not counted."""

    def __init__(self) -> None:
        self._verdicts: dict[str, tuple[str, Reason | None]] = {}
        self._counts: dict[str, Counter[Reason | None]] = {}
        """By remote; under no reason, those that are imported."""

    def change(self, record: str, remote: str, decision: Decision | None) -> set[str]:
        """Take in what became of an offer, ``None``: nothing (yet, or any more); returns whose counts that changes."""
        before = self._verdicts.get(record)
        after = None if decision is None else (remote, None if decision.accepted else decision.reason)
        if before == after:
            return set()
        if before is not None:
            del self._verdicts[record]
            self._add(*before, -1)
        if after is not None:
            self._verdicts[record] = after
            self._add(*after, 1)
        return {verdict[0] for verdict in (before, after) if verdict is not None}

    def _add(self, remote: str, reason: Reason | None, number: int) -> None:
        counts = self._counts.setdefault(remote, Counter())
        counts[reason] += number
        if not counts[reason]:
            del counts[reason]
        if not counts:
            del self._counts[remote]

    def accepted(self, remote: str) -> int:
        """How many offers of a remote are imported."""
        return self._counts.get(remote, Counter())[None]

    def refused(self, remote: str) -> Mapping[Reason, int]:
        """How many offers of a remote are not imported, by reason."""
        return {reason: number for reason, number in self._counts.get(remote, {}).items() if reason is not None}
