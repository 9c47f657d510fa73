"""From one remote's ledger to its FederatedServices: what was said that should exist, and what waits to be said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from meshfed.api.v1alpha1 import FederatedServiceSpec
from meshfed.controller.remotes.pacing import Pacer
from meshfed.federation.ledger import Ledger

PIECE: Final = 4
"""The offers that are taken in, or carried out, between two looks at everything else the process has to do."""

Desire = Callable[[str, str, FederatedServiceSpec | None, float | None], None]
"""Takes a remote, a host, the FederatedService that should exist for them (``None``: none), and when it was received.

That is by the loop's clock, and ``None`` where it is not the remote that has it change. Returns at once.
"""


class Recording:
    """Says what follows from ``ledger``, in pieces and in the remote's turn. Once ``closed`` it says nothing."""

    def __init__(self, remote: str, ledger: Ledger, desire: Desire) -> None:
        self._remote = remote
        self._ledger = ledger
        self._desire = desire
        self._pacer = Pacer()
        self._received: dict[str, float] = {}
        self.said: dict[str, FederatedServiceSpec] = {}
        """The FederatedServices that should exist by now, by host."""
        self.closed = False

    @property
    def throttled(self) -> bool:
        """Whether something waits because the allowance is used up."""
        return self._pacer.throttled

    def due(self) -> float | None:
        """When the next of what waits has its turn, by the loop's clock; ``None`` where nothing waits."""
        return self._pacer.due()

    def note(self, changed: Iterable[str], *, received: float | None = None) -> None:
        """Let what changed wait until it is carried out. ``received``: when the remote said so, if that is why."""
        for host in changed:
            if host in self.said or self._ledger.desired(host) is not None:
                self._pacer.add(host)
                if received is not None:
                    self._received.setdefault(host, received)
            else:
                self._pacer.discard(host)  # it came and went before its turn
                self._received.pop(host, None)

    async def carry_out(self, *, at_once: bool = False) -> None:
        """Say what waits and whose turn it is, or all of it ``at_once``: in pieces, between which others are served."""
        loop, hosts = asyncio.get_running_loop(), [""] * PIECE
        while len(hosts) == PIECE:
            hosts = self._pacer.drain(PIECE) if at_once else self._pacer.take(loop.time(), PIECE)
            self.say(hosts)
            await asyncio.sleep(0)

    def say(self, hosts: Iterable[str]) -> None:
        """Say what should exist for these hosts."""
        if self.closed:
            return
        for host in hosts:
            spec = self._ledger.desired(host)
            if spec is not None:
                self.said[host] = spec
            else:
                self.said.pop(host, None)
            self._desire(self._remote, host, spec, self._received.pop(host, None))

    def close(self) -> None:
        """Say what waits, and then no more."""
        self.say(self._pacer.drain())
        self.closed = True
