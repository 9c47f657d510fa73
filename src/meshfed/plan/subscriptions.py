"""Which remotes subscribe to this mesh's exports, by the Leases of all replicas of its controller, and what is said.

A replica counts as alive for as long as its Lease says, from when it was seen to change last, by the clock of who
looks: never by comparing clocks of machines. Two things are not taken for what they are not:

- A Lease that is found at the start may be of a process that died long ago. Who stands in it subscribes perhaps, and
  nothing is said of them, until it is renewed, or has run out.
- Whoever does not see its own Lease renewed sees nobody's, be it that Leases may not be written or watched, or that the
  API is away. Then it is unknown who subscribes; it is not nobody.

That somebody subscribes is said at once. Anything else is said once it has held for a while, so that a restart of
either controller turns nothing, and one that comes and goes a hundred times a second costs a status in half a minute.

The condition is no part of `Ready`: that says whether all that this mesh asks for is in place, and who subscribes is
what the other side asks for. A remote that imports nothing is fine, and its controller may be down without harm to what
it imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import Final

import msgspec

from meshfed.model.names import listed
from meshfed.model.reasons import Condition, ConditionStatus, ConditionType, Reason
from meshfed.plan.replicas import Replica, Subscription

GRACE: Final = 30.0
"""Seconds for which something has to hold until it is said; but that somebody subscribes is said at once."""
KEPT: Final = 600.0
"""Seconds for which a Lease is kept after it has run out, so that people see who died."""


class Subscribers(msgspec.Struct, frozen=True):
    """At which replicas a remote's controller subscribes, and how; ``known`` is false where nobody can say."""

    at: tuple[tuple[str, Subscription], ...] = ()
    known: bool = True

    @property
    def imports(self) -> int:
        """How many of our hosts it says that it has in place."""
        return max((one.imports or 0 for _, one in self.at), default=0)

    @property
    def status(self) -> ConditionStatus:
        """Whether it subscribes."""
        return "True" if self.at else "False" if self.known else "Unknown"


class _Lease(msgspec.Struct, frozen=True):
    """A Lease as it was seen last, when that was, and whether it was seen to change: then somebody lives."""

    replica: Replica
    at: float
    is_news: bool


class _Told(msgspec.Struct):
    """What was said of a remote, since when that is not what holds, and what holds now, since when."""

    said: Subscribers | None = None
    differs_since: float = 0.0
    status: ConditionStatus | None = None
    status_since: float = 0.0

    def is_due(self, holds: Subscribers, now: float) -> bool:
        """Whether what holds is to be said now; takes note of since when it does."""
        if self.status != holds.status:
            self.status, self.status_since = holds.status, now
        if self.said == holds:
            self.differs_since = now
            return False
        before = self.said.status if self.said is not None else None
        if holds.at and before != "True":
            return True
        since = self.differs_since if before == holds.status else self.status_since
        return now >= since + GRACE


class Subscriptions:
    """Who subscribes at the replicas, of which one, ``identity``, is who looks. Times are of any one steady clock."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._leases: dict[str, _Lease] = {}
        self._told: dict[str, _Told] = {}

    def seen(self, name: str, replica: Replica | None, now: float, *, is_news: bool) -> None:
        """Take in a Lease as it is; ``is_news``: it was written meanwhile, rather than found. ``None``: it is gone."""
        if replica is None:
            self._leases.pop(name, None)
        else:
            self._leases[name] = _Lease(replica, now, is_news)

    def look(self, remotes: Collection[str], now: float) -> dict[str, Subscribers | None]:
        """Return what is to be said from now on of remotes, where that is something else; ``None``: it is gone."""
        changes: dict[str, Subscribers | None] = dict.fromkeys(self._told.keys() - set(remotes))
        for gone in changes:
            del self._told[gone]
        live = [one for one in self._leases.values() if _lives(one, now)]
        knows, perhaps = self._knows(now), {name for one in live if not one.is_news for name in one.replica.subscribers}
        for remote in remotes:
            at = tuple(sorted(_subscribing(remote, live), key=itemgetter(0)))
            if not at and knows and remote in perhaps:
                continue
            holds = Subscribers(at, known=knows or bool(at))
            told = self._told.setdefault(remote, _Told())
            if told.is_due(holds, now):
                changes[remote], told.said, told.differs_since = holds, holds, now
        return changes

    def run_out(self, now: float) -> list[Replica]:
        """Return the replicas whose Leases ran out long ago; none where nobody's is seen to be renewed."""
        if not self._knows(now):
            return []
        leases = self._leases.values()
        return [one.replica for one in leases if now >= one.at + one.replica.duration + KEPT]

    def _knows(self, now: float) -> bool:
        """Whether renewals are seen."""
        leases = self._leases.values()
        return any(one.replica.holder == self._identity and one.is_news and _lives(one, now) for one in leases)


def _lives(lease: _Lease, now: float) -> bool:
    return now < lease.at + lease.replica.duration


def _subscribing(remote: str, leases: Sequence[_Lease]) -> Iterator[tuple[str, Subscription]]:
    for one in leases:
        if one.is_news and (found := one.replica.subscribers.get(remote)) is not None:
            yield one.replica.host, found


# --- in words -------------------------------------------------------------------------------------

_DIALECTS: Final = {"delta": "incremental", "sotw": "in the reference's dialect"}
NOT_KNOWN_YET: Final = Condition(
    type=ConditionType.SUBSCRIBED,
    status="Unknown",
    reason=Reason.SUBSCRIBERS_UNKNOWN,
    message="it is not known yet whether it subscribes to what this mesh exports; that takes half a minute",
)
"""What is said of a remote of which nothing was said before."""


def subscribed(subscribers: Subscribers, identity: str, others: Sequence[str]) -> Condition:
    """Say whether the controller of a remote, who has an ``identity`` that ``others`` may have too, subscribes."""
    if subscribers.at:
        where = [f"at replica {name} since {one.since}, {_words(one.dialect)}" for name, one in subscribers.at]
        perhaps = f"; by its identity it may as well be {listed(others)}" if others else ""
        return _condition("True", Reason.SUBSCRIBED, f"subscribes {listed(where)}{perhaps}")
    if subscribers.known:
        return _condition(
            "False",
            Reason.NOT_SUBSCRIBED,
            f"nobody with the identity {identity} subscribes to what this mesh exports. For the other mesh to import "
            "anything, it needs a RemoteMesh for this mesh with `import`, whose condition Connected says what is "
            "wrong, and its controller has to run. Where it is to import nothing, all is well",
        )
    return _condition(
        "Unknown",
        Reason.SUBSCRIBERS_UNKNOWN,
        "this controller does not see its own Lease renewed, by which replicas say who subscribes: it needs get, list, "
        "watch, create, update and delete on leases of coordination.k8s.io in its namespace; its log says what fails",
    )


def _words(dialect: str) -> str:
    return _DIALECTS.get(dialect, dialect)


def _condition(status: ConditionStatus, reason: Reason, message: str) -> Condition:
    return Condition(type=ConditionType.SUBSCRIBED, status=status, reason=reason, message=message)
