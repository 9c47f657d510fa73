"""Whether the clocks of a mesh agree: where the command runs, the API server, and the controller."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from meshfed.api.times import parse_time
from meshfed.views.ages import duration
from meshfed.views.checks.facts import Facts
from meshfed.views.checks.results import Check, Result, ok, skipped, unknown, warning
from meshfed.views.controllers import controller

ALLOWED: Final = timedelta(seconds=60)
"""By how much clocks may differ: istiod has a certificate begin some time before it makes it, and no less is sure."""


def _here(facts: Facts) -> Iterator[Result]:
    """Compare the API server with where the command runs: who compares what both log is misled where they differ."""
    clock = facts.snapshot.server.clock
    if clock is None:
        yield unknown("the API server does not say what time it is: its answer has no Date")
        return
    sure = f"to within {clock.within:.1f} s"
    if abs(clock.ahead) - clock.within <= ALLOWED.total_seconds():
        yield ok(f"the API server has the time that it is here, {sure}")
        return
    yield warning(
        f"the API server is {duration(round(abs(clock.ahead)))} {'ahead of' if clock.ahead > 0 else 'behind'} the "
        f"clock here, {sure}",
        "set the clock that is wrong",
    )


def _controllers(facts: Facts) -> Iterator[Result]:
    """Compare the API server with the controller, by when that says that it renewed its Lease."""
    found = controller(facts.snapshot)
    renewals = [one.renewed for one in found.replicas] + ([found.leader.renewed] if found.leader is not None else [])
    try:
        times = [parse_time(one) for one in renewals if one]
    except ValueError:
        times = []
    if not times:
        why = facts.unread("Lease")
        yield unknown(why) if why else skipped("no controller has a Lease, which would say what time it is there")
        return
    clock = facts.snapshot.server.clock
    if clock is None:
        yield unknown("the API server does not say what time it is: its answer has no Date")
        return
    ahead = max(times) - facts.snapshot.taken  # which is the API server's time, where that is known
    if ahead > ALLOWED + timedelta(seconds=clock.within):
        yield warning(
            f"a controller renewed its Lease {duration(int(ahead.total_seconds()))} from now, by the API server's "
            "clock",
            "set the clock of the node that it runs on: who follows by that clock takes over too late",
        )
        return
    ago = duration(max(round(-ahead.total_seconds()), 0))
    yield ok(f"the controller's last sign was {ago} ago by the API server's clock, and none is of a time to come")


CHECKS: Final = (
    Check(
        "cluster",
        "clock",
        "Whether the API server's clock agrees with the one here to a minute, by the `Date` of its answers, which has "
        "whole seconds.",
        "checks.md#clocks",
        _here,
        before=True,
    ),
    Check(
        "cluster",
        "controller-clock",
        "Whether a controller's clock is ahead of the API server's, by when it says that it renewed its Lease. One "
        "that is behind cannot be told from one that is late.",
        "checks.md#clocks",
        _controllers,
    ),
)
