"""Proves the ways into remote meshes, again and again, and says what came of it.

Each remote has a pace of its own (`meshfed.probe.Schedule`), so one whose gateway swallows packets delays no other. One
packet that is lost is no news: a way counts as broken when it failed twice in a row. What is said of that, and when, is
damped (`meshfed.controller.remotes.damping`). What was said before a restart stands until it was looked at anew.
Nothing is ever removed for what is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from typing import Final

from meshfed.controller.remotes.damping import REWORDED, Said, damped
from meshfed.controller.remotes.trust_bundle import TrustBundle
from meshfed.federation.reachability import answers, reachable, unproven
from meshfed.model.probes import Answered, Broken, Finding, Link, Probe, Way, ways
from meshfed.model.reasons import Condition, Reason
from meshfed.plan import OfferKey, RemoteKey
from meshfed.probe import PACE, Line, Names, Roots, Schedule, Shake, attempt, handshake
from meshfed.telemetry.metrics import Metrics

Proven = OfferKey | RemoteKey
"""What is proven: an import, by its FederatedService, or the way to a remote's discovery service."""
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
CONFIRMED: Final = 2
"""Failures in a row that make a way broken."""
_LONGEST_REQUEST: Final = 64
"""The most characters of a request that count; a person wrote it, and a status repeats it."""


class Prober:
    """Proves what is wanted of it, by the roots of ``bundle``; ``told`` hears what holds."""

    def __init__(
        self,
        bundle: TrustBundle,
        told: Told,
        *,
        metrics: Metrics,
        faults: Callable[[Hashable, Exception | None], None],
        connected: Callable[[str], bool | None],
        handled: Callable[[str, str], None],
        shake: Shake = handshake,
    ) -> None:
        """``connected``: whether the discovery service of a remote is, by way of our sidecar; ``None``: not known.

        ``handled`` hears upon which request all ways to a remote were tried; the empty one: there is none any more.
        """
        self._connected = connected
        self._names = Names()
        self._bundle = bundle
        self._told = told
        self._handled = handled
        self._metrics = metrics
        self._faults = faults
        self._shake = shake
        self._requests: dict[str, str] = {}
        """By remote, what was asked for last."""
        self._remotes: dict[str, _RemoteProber] = {}
        self._remote_of: dict[Proven, str] = {}
        self._recalled: dict[Proven, Said] = {}
        """What was said before a restart, until it is known what is to be proven."""
        self._more = asyncio.Event()

    def recall(self, key: Proven, said: Said) -> None:
        """Go on from what was said before a restart; given before anything is wanted."""
        self._recalled[key] = said

    def want(self, key: Proven, probe: Probe | None) -> None:
        """Prove this for ``key`` from now on, in the place of what was; ``None``: nothing any more."""
        before, recalled = self._remote_of.pop(key, None), self._recalled.pop(key, None)
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
                handled=self._handled,
                names=self._names,
                shake=self._shake,
            )
            self._remotes[probe.remote].ask(self._requests.get(probe.remote, ""))
            self._more.set()
        if recalled is not None:
            self._remotes[probe.remote].recall(key, recalled)
        self._remotes[probe.remote].want(key, probe)

    def ask(self, remote: str, request: str) -> None:
        """Try all ways to a remote now, if this is another request than before; the empty one is none."""
        request = request[:_LONGEST_REQUEST]
        if self._requests.get(remote, "") == request:
            return
        if request:
            self._requests[remote] = request
        else:
            del self._requests[remote]
            self._handled(remote, "")
        if remote in self._remotes:
            self._remotes[remote].ask(request)

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
        connected: Callable[[str], bool | None],
        handled: Callable[[str, str], None],
        names: Names,
        shake: Shake,
    ) -> None:
        self._name = name
        self._bundle = bundle
        self._told = told
        self._metrics = metrics
        self._faults = faults
        self._connected = connected
        self._handled = handled
        self._names = names
        self._shake = shake
        self._request = ""
        """Upon which ways are being tried; empty where that is done."""
        self._requested_at = 0.0
        self._untried: set[Way] = set()
        """Of these it has not been found out since then whether they answer."""
        self._discovery = RemoteKey(name)
        self._schedule = Schedule()
        self._probes: dict[Proven, Probe] = {}
        self._users: dict[Way, set[Proven]] = {}
        self._findings: dict[Way, Finding] = {}
        """What is believed of each way."""
        self._failures: dict[Way, int] = {}
        """How often in a row a way failed of which that is not believed yet."""
        self._said: dict[Proven, Said] = {}
        self._false: set[OfferKey] = set()
        """The imports that are said not to be reachable."""
        self._unsaid: set[Proven] = set()
        """Of these something else is to be said, once its time has come."""
        self._looked_at = -PACE.rest
        self._ever_answered = False
        self._shaking = 0
        self._wake = asyncio.Event()

    def recall(self, key: Proven, said: Said) -> None:
        """Go on from what was said of ``key``, which is False, before a restart."""
        self._said[key] = said

    def want(self, key: Proven, probe: Probe | None) -> None:
        """Prove this for ``key`` from now on; ``None``: nothing any more."""
        before, now = self._probes.get(key), asyncio.get_running_loop().time()
        if before == probe:
            return
        old, new = (ways(one) if one is not None else () for one in (before, probe))
        for way in set(old) - set(new):
            self._users[way].discard(key)
            if not self._users[way]:
                del self._users[way]
                self._forget(way)
        for way in new:
            self._users.setdefault(way, set()).add(key)
            self._schedule.soon(way, now)
        if self._request:
            self._untried.update(new)
        if probe is None:
            del self._probes[key]
            self._said.pop(key, None)
            self._unsaid.discard(key)
            self._count(key, false=False)
            if key == self._discovery:
                self._metrics.certificate_expiry.remove_by_labels({"remote": self._name})
        else:
            self._probes[key] = probe
            if (said := self._said.get(key)) is not None:
                said.at = now - REWORDED  # of something else it is news whatever it is
                said.recalled = said.recalled and (before is None or old == new)
                self._count(key, false=said.condition.status == "False")
            self._say(key)
        self._wake.set()

    def ask(self, request: str) -> None:
        """Try all ways now, those that come meanwhile too, and tell once that is done."""
        self._request, self._requested_at = request, asyncio.get_running_loop().time()
        self._untried = set(self._users) if request else set()
        for way in self._untried:
            self._schedule.soon(way, self._requested_at)
        self._wake.set()

    def _tried(self, way: Way, began: float) -> None:
        """Take note that a way was tried; what began before the request does not count."""
        if self._request and began >= self._requested_at:
            self._untried.discard(way)
            if not self._untried:
                request, self._request = self._request, ""
                self._handled(self._name, request)

    def _forget(self, way: Way) -> None:
        self._untried.discard(way)
        self._schedule.drop(way)
        self._findings.pop(way, None)
        self._failures.pop(way, None)
        self._faults(self._subject(way), None)

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

    def _subject(self, way: Way) -> str:
        return f"{self._name} by {way.gateway} to {way.name}"

    async def _prove(self, way: Way, roots: Roots) -> None:
        loop = asyncio.get_running_loop()
        began, line = loop.time(), Line.BROKEN
        try:
            finding = await attempt(way, roots, self._names, self._shake)
            if way in self._users:
                self._measure(finding, loop.time() - began)
                line = self._take_in(way, finding)
                self._faults(self._subject(way), None)
                if line is not Line.DOUBTED:
                    self._tried(way, began)
        except Exception as error:  # noqa: BLE001 - one way's fault must not stop the others
            self._faults(self._subject(way), error)
        finally:
            self._shaking -= 1
            self._schedule.found(way, loop.time(), line)
            self._wake.set()

    def _take_in(self, way: Way, finding: Finding) -> Line:
        """Believe what answers at once, and what does not the second time; returns where the way waits next."""
        users = sorted(self._users[way], key=str)
        good = all(answers(self._probes[key], finding) for key in users)
        before = self._findings.get(way)
        if isinstance(finding, Answered):
            if self._discovery in users:
                self._metrics.certificate_expiry.labels(remote=self._name).set(finding.expires)
            if not self._ever_answered:
                self._ever_answered = True
                for key in list(self._said):  # nothing is closed here, whatever was said before
                    self._say(key)
        if not good:
            if self._discovery not in users:
                self._look_at_the_remote()
            if before is None or all(answers(self._probes[key], before) for key in users):
                self._failures[way] = self._failures.get(way, 0) + 1
                if self._failures[way] < CONFIRMED:
                    return Line.DOUBTED
        self._failures.pop(way, None)
        self._findings[way] = finding
        same = before == finding or (
            isinstance(before, Answered) and isinstance(finding, Answered) and before.identity == finding.identity
        )
        for key in users:
            if not same or key in self._unsaid:
                self._say(key)
        return Line.ANSWERING if good else Line.BROKEN

    def _look_at_the_remote(self) -> None:
        """Something does not answer: see soon whether anything of the remote does."""
        discovery, now = self._probes.get(self._discovery), asyncio.get_running_loop().time()
        if discovery is not None and now - self._looked_at >= PACE.rest:
            self._looked_at = now
            for way in ways(discovery):
                self._schedule.doubt(way, now)

    def _say(self, key: Proven) -> None:
        """Say what holds of ``key``, if that is news and its time has come."""
        now, said = asyncio.get_running_loop().time(), self._said.get(key)
        condition = self._holds(key, said)
        self._unsaid.discard(key)
        news, waits = damped(said, condition, now) if condition is not None else (None, True)
        if waits:
            self._unsaid.add(key)
        if news is not None:
            self._said[key] = news
            self._told(key, news.condition, news.lasting)
            self._count(key, false=news.condition.status == "False")

    def _holds(self, key: Proven, said: Said | None) -> Condition | None:
        """Return what holds of ``key``; ``None`` where nothing is to be said yet."""
        probe = self._probes[key]
        if self._bundle.roots is None:
            return unproven(self._bundle.why_none) if self._bundle.why_none else None
        blocked = self._is_blocked_here()
        if blocked:
            return unproven(BLOCKED.format(ports=_ports(probe)))
        condition = reachable(probe, self._findings)
        if condition is not None:
            # Who closed the handshake, the remote or our own sidecar, may not be known yet.
            return None if blocked is None and condition.reason is Reason.NOT_PASSED_ON else condition
        # What was seen before, by whoever it was, stands until all was seen anew; not what was seen of other ways.
        others = said is not None and not said.recalled and not any(way in self._findings for way in ways(probe))
        return unproven("not every way there was tried yet") if others else None

    def _is_blocked_here(self) -> bool | None:
        """Whether our own sidecar closes all handshakes: discovery is connected by the very ways by which they go.

        ``None`` where that is not known yet.
        """
        discovery = self._probes.get(self._discovery)
        if self._ever_answered or discovery is None or not discovery.names:
            return False
        found = [self._findings.get(way) for way in ways(discovery)]
        if any(isinstance(one, Broken) and one.link is not Link.SNI for one in found):
            return False
        return self._connected(self._name) if None not in found else None

    def _count(self, key: Proven, *, false: bool) -> None:
        if isinstance(key, OfferKey):
            (self._false.add if false else self._false.discard)(key)
        if self._probes:
            self._metrics.unreachable_services.labels(remote=self._name).set(len(self._false))
        else:
            self._metrics.forget_probes(self._name)

    def _measure(self, finding: Finding, seconds: float) -> None:
        outcome = "answered" if isinstance(finding, Answered) else str(finding.link)
        self._metrics.probes.labels(remote=self._name, outcome=outcome).inc()
        if isinstance(finding, Answered):
            self._metrics.probe_seconds.labels(remote=self._name).observe(seconds)
            self._metrics.probe_last_answered.labels(remote=self._name).set_to_current_time()


def _ports(probe: Probe) -> str:
    """Return the ports of a remote's gateways in words: ``port 443``, ``ports 443, 15443``."""
    found = sorted({address.port for address in probe.addresses})
    return f"port{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}"
