"""What could not be put in place: kept up as verdicts come, since a status is worked out again with every one of them.

A status says how many failed, names the first few and quotes one of them. Where a webhook refuses thousands of objects,
sorting them all for each would take as long as all of them together.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from meshfed.plan.values import Applied


class Failures:
    """Names whose objects could not be written, and why; false where there are none."""

    def __init__(self) -> None:
        self._verdicts: dict[str, Applied] = {}
        self.names: list[str] = []
        """All of them, sorted."""

    def change(self, name: str, applied: Applied | None) -> bool:
        """Take in the verdict on ``name``, ``None`` where there is none any more, and say whether it matters here."""
        before = self._verdicts.get(name)
        after = applied if applied is not None and applied.state == "failed" else None
        if before == after:
            return False
        if after is None:
            del self._verdicts[name]
            del self.names[bisect_left(self.names, name)]
        else:
            if before is None:
                insort(self.names, name)
            self._verdicts[name] = after
        return True

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def first(self) -> Applied:
        """The verdict on the first of the names; raises IndexError where there is none."""
        return self._verdicts[self.names[0]]
