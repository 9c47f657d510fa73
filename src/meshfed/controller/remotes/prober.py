"""Proves the ways into remote meshes, again and again, and says what came of it.

Each remote has a pace of its own (`meshfed.probe.Schedule`), so one whose gateway swallows packets delays no other. One
packet that is lost is no news: a way counts as broken when it failed twice in a row. Nothing is ever removed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from meshfed.controller.remotes.trust_bundle import TrustBundle
from meshfed.federation.reachability import reachable, unproven
from meshfed.model.probes import Answered, Broken, Finding, Link, Probe, Way, ways
from meshfed.model.reasons import Condition
from meshfed.plan import OfferKey, RemoteKey
from meshfed.probe import Roots, Schedule, handshake
from meshfed.telemetry.metrics import Metrics

Proven = OfferKey | RemoteKey
"""What is proven: an import, by its FederatedService, or the way to a remote's discovery service."""
Shake = Callable[[Way, Roots], Awaitable[Finding]]
Told = Callable[[Proven, Condition, bool], None]
"""Hears what holds of something now, and whether it has been False for so long that it is worth an Event."""

BLOCKED: Final = (
    "the remote's discovery service is connected through the same gateway, so it is this controller's own sidecar that "
    "closes the handshakes: name {ports} in annotation traffic.sidecar.istio.io/excludeOutboundPorts of the "
    "controller's pods (the chart's controller.probe.ports)"
)
"""Why nothing can be proven where a sidecar lets nothing unknown through."""
AT_ONCE: Final = 4
"""The most handshakes with one remote at a time."""
LASTING: Final = 30.0
"""Seconds for which something has to be False until that counts for more than itself."""
CONFIRMED: Final = 2
"""Failures in a row that make a way broken."""


class Prober:
    """Proves what is wanted of it, by the roots of ``bundle``; ``told`` hears what holds."""

    def __init__(
        self,
        bundle: TrustBundle,
        told: Told,
        *,
        metrics: Metrics,
        faults: Callable[[Hashable, Exception | None], None],
        connected: Callable[[str], bool],
        shake: Shake = handshake,
    ) -> None:
        """``connected``: whether the discovery service of a remote is, by way of our sidecar."""
        self._connected = connected
        self._bundle = bundle
        self._told = told
        self._metrics = metrics
        self._faults = faults
        self._shake = shake
        self._remotes: dict[str, _RemoteProber] = {}
        self._remote_of: dict[Proven, str] = {}
        self._more = asyncio.Event()

    def want(self, key: Proven, probe: Probe | None) -> None:
        """Prove this for ``key`` from now on, in the place of what was; ``None``: nothing any more."""
        before = self._remote_of.pop(key, None)
        if before is not None and (probe is None or before != probe.remote):
            self._remotes[before].want(key, None)
        if probe is None:
            return
        self._remote_of[key] = probe.remote
        if probe.remote not in self._remotes:
            self._remotes[probe.remote] = _RemoteProber(
                probe.remote,
                self._bundle,
                self._told,
                metrics=self._metrics,
                faults=self._faults,
                connected=self._connected,
                shake=self._shake,
            )
            self._more.set()
        self._remotes[probe.remote].want(key, probe)

    async def run(self) -> None:
        """Prove until cancelled."""
        running: set[str] = set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bundle.run(self._trust_changed))
            while True:
                self._more.clear()
                for name in self._remotes.keys() - running:
                    # A remote that goes leaves a task that waits: there are as many as there ever were names.
                    running.add(name)
                    tasks.create_task(self._remotes[name].run())
                await self._more.wait()

    def _trust_changed(self) -> None:
        for remote in self._remotes.values():
            remote.trust_changed()


class _RemoteProber:
    """The ways into one remote mesh."""

    def __init__(
        self,
        name: str,
        bundle: TrustBundle,
        told: Told,
        *,
        metrics: Metrics,
        faults: Callable[[Hashable, Exception | None], None],
        connected: Callable[[str], bool],
        shake: Shake,
    ) -> None:
        self._connected = connected
        self._name = name
        self._bundle = bundle
        self._told = told
        self._metrics = metrics
        self._faults = faults
        self._shake = shake
        self._schedule = Schedule()
        self._probes: dict[Proven, Probe] = {}
        self._users: dict[Way, set[Proven]] = {}
        self._findings: dict[Way, Finding] = {}
        self._failures: dict[Way, int] = {}
        """How often in a row a way failed that last answered, or was never tried."""
        self._said: dict[Proven, tuple[Condition, bool]] = {}
        self._false_since: dict[Proven, float] = {}
        self._shaking = 0
        self._wake = asyncio.Event()

    def want(self, key: Proven, probe: Probe | None) -> None:
        """Prove this for ``key`` from now on; ``None``: nothing any more."""
        before, now = self._probes.pop(key, None), asyncio.get_running_loop().time()
        if before == probe:
            if probe is not None:
                self._probes[key] = probe
            return
        old, new = (set(ways(one)) if one is not None else set() for one in (before, probe))
        for way in old - new:
            self._users[way].discard(key)
            if not self._users[way]:
                del self._users[way]
                self._forget(way)
        for way in new - old:
            self._users.setdefault(way, set()).add(key)
        for way in new:
            self._schedule.soon(way, now)
        if probe is None:
            self._said.pop(key, None)
            self._false_since.pop(key, None)
            self._count()
        else:
            self._probes[key] = probe
            self._say(key)
        self._wake.set()

    def _forget(self, way: Way) -> None:
        self._schedule.drop(way)
        self._findings.pop(way, None)
        self._failures.pop(way, None)

    def trust_changed(self) -> None:
        """There are other roots, or none for another reason."""
        if self._bundle.roots is None:
            for key in self._probes:
                self._say(key)
        self._wake.set()

    async def run(self) -> None:
        """Prove until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                roots = self._bundle.roots
                free = roots is not None and self._shaking < AT_ONCE
                way = self._schedule.take(loop.time()) if free else None
                if way is not None and roots is not None:
                    self._shaking += 1
                    tasks.create_task(self._prove(way, roots))
                    continue
                pause = self._schedule.next() - loop.time() if free else float("inf")
                # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(pause, 0.01) if pause < float("inf") else None):
                        await self._wake.wait()

    async def _prove(self, way: Way, roots: Roots) -> None:
        loop = asyncio.get_running_loop()
        began, subject = loop.time(), f"{self._name} by {way.gateway} to {way.name}"
        answered = False
        try:
            finding = await self._shake(way, roots)
            answered = isinstance(finding, Answered)
            if way in self._users:
                self._measure(finding, loop.time() - began)
                self._take_in(way, finding)
        except Exception as error:  # noqa: BLE001 - one way's fault must not stop the others
            self._faults(subject, error)
        else:
            self._faults(subject, None)
        finally:
            self._shaking -= 1
            self._schedule.found(way, loop.time(), answered=answered)
            self._wake.set()

    def _take_in(self, way: Way, finding: Finding) -> None:
        """Believe what answers at once, and what does not the second time."""
        if isinstance(finding, Broken):
            self._look_at_the_remote()
        if isinstance(finding, Broken) and not isinstance(self._findings.get(way), Broken):
            self._failures[way] = self._failures.get(way, 0) + 1
            if self._failures[way] < CONFIRMED:
                return
        self._failures.pop(way, None)
        self._findings[way] = finding
        for key in sorted(self._users[way], key=str):
            if isinstance(key, RemoteKey) and isinstance(finding, Answered):
                self._metrics.certificate_expiry.labels(remote=self._name).set(finding.expires)
            self._say(key)

    def _look_at_the_remote(self) -> None:
        """One of many imports does not answer: see at once whether anything of the remote does."""
        discovery, now = self._probes.get(RemoteKey(self._name)), asyncio.get_running_loop().time()
        for way in ways(discovery) if discovery is not None else ():
            if isinstance(self._findings.get(way), Answered) and way not in self._failures:
                self._schedule.soon(way, now)

    def _say(self, key: Proven) -> None:
        """Say what holds of ``key``, if that is news."""
        probe, now = self._probes[key], asyncio.get_running_loop().time()
        if self._bundle.roots is None and self._bundle.why_none:
            condition = unproven(self._bundle.why_none)
        elif not any(way in self._findings for way in ways(probe)):
            return  # what was seen before a restart stands until something is seen
        elif self._is_blocked_here():
            condition = unproven(BLOCKED.format(ports=_ports(probe)))
        else:
            condition = reachable(probe, self._findings)
        if condition.status != "False":
            self._false_since.pop(key, None)
        lasting = condition.status == "False" and now - self._false_since.setdefault(key, now) >= LASTING
        if self._said.get(key) != (condition, lasting):
            self._said[key] = (condition, lasting)
            self._told(key, condition, lasting)
            self._count()

    def _is_blocked_here(self) -> bool:
        """Whether discovery is connected by the very ways by which our own handshakes are closed: by our sidecar."""
        discovery = self._probes.get(RemoteKey(self._name))
        found = [self._findings.get(way) for way in ways(discovery)] if discovery is not None else []
        closed = bool(found) and all(isinstance(one, Broken) and one.link is Link.SNI for one in found)
        return closed and self._connected(self._name)

    def _count(self) -> None:
        if not self._probes:
            self._metrics.forget_probes(self._name)
            return
        broken = sum(isinstance(key, OfferKey) for key in self._false_since)
        self._metrics.unreachable_services.labels(remote=self._name).set(broken)

    def _measure(self, finding: Finding, seconds: float) -> None:
        outcome = "answered" if isinstance(finding, Answered) else str(finding.link)
        self._metrics.probes.labels(remote=self._name, outcome=outcome).inc()
        if isinstance(finding, Answered):
            self._metrics.probe_seconds.labels(remote=self._name).observe(seconds)
            self._metrics.probe_last_answered.labels(remote=self._name).set_to_current_time()


def _ports(probe: Probe) -> str:
    ports = sorted({address.port for address in probe.addresses})
    return f"{'port' if len(ports) == 1 else 'ports'} {', '.join(map(str, ports))}"
