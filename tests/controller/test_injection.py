"""No exception takes anything away, wherever and whenever it comes: random walks in which functions raise.

A mesh lives through a walk (`tests.controller.walks`): owners and remotes do as they like, the controller is restarted,
remotes go away, another replica takes over. Meanwhile functions that `meshfed.derive` was given, and decoders, are made
to raise for some keys, up to two at a time (`tests.controller.traps`). After every step

- what cannot follow from a fault is as a plan of the same inputs says, without a fault;
- what may follow from one is so too, or as it was at some moment since the fault came: nothing is gone that was there
  then and should have been there ever since;
- a fault that is met with is named by ``/readyz`` and by the metric, and by a condition of what depends on it;
- where no fault is left, all is as if there had been none, and as a controller that begins then would have it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from random import Random
from typing import Any

import pytest

from meshfed.controller import controller, faults
from meshfed.fds.messages import version_of
from meshfed.federation.imports import record_name
from meshfed.kube import Manifest, reflector
from meshfed.plan import ExportKey, ImportKey, Key, MeshKey, OfferKey, RemoteKey, planner
from meshfed.plan.claims import Claim
from meshfed.plan.exports import Exports
from meshfed.plan.imports import Imports
from meshfed.plan.keys import origin
from meshfed.plan.remotes import Remotes
from tests.builders import RESOURCES, SYSTEM
from tests.controller.plans import Name
from tests.controller.replicas import SETTLED, SETTLED_ANEW, Federation, Item, Part, parts
from tests.controller.traps import DECODER, PARSER, Fault, Reach, Traps, text
from tests.controller.walks import REMOTES, Blink, Delete, Meddle, Put, Restart, Step, walk
from tests.virtual import virtual_loop

SEEDS = range(1, 13)
STEPS = 420
"""Of each walk: 5,040 in all."""
TOGETHER = 2
"""The most faults at a time."""
RECENT = 6.0
"""Seconds within which a fault that stands is met with again, by far."""

EVERYTHING = "everything"
SAID_OF = ("FederatedService", "RemoteMesh", "MeshFederation")
"""The kinds whose objects say that they cannot be understood."""


class Walk:
    """One walk, and what is known of it."""

    def __init__(self, seed: int, traps: Traps, mesh: Federation) -> None:
        self.mesh = mesh
        self._traps = traps
        self._rng = Random(-seed)
        self._steps = walk(seed, STEPS)
        self._taken: list[str] = []
        self._blind: dict[str, set[Name]] = {}
        """By the name of a decoder that fails, the objects that nobody could ever read since the leader began."""
        self._before: dict[str, dict[Name, Manifest | None]] = {}
        """By the same, those that had been read before, as they were then."""
        self._offers: dict[str, dict[str, Any]] = {}
        self._since: dict[Item, list[Any]] = {}
        """What each part was, and should have been at each moment since the first of the faults that stand."""
        self._reach: set[str] = set()
        """The keys that may have followed from those, as origins."""
        self._doubted: set[tuple[str, Any]] = set()
        """The groups of indexes in which there may have been others since."""
        self._instead: set[str] = set()
        """The keys of exports that may have been given the host of a Service that was unknown from a start on."""
        self._moved = True
        """Whether anything changed since it was planned last what there should be."""
        self._times = Counter[str]()
        """How often each function was made to raise."""
        self.met: set[str] = set()
        """The functions that raised."""

    @property
    def _armed(self) -> dict[str, Fault]:
        return self._traps.armed

    # --- what happens

    async def run(self) -> None:
        """Take every step, and look after each."""
        await self.mesh.settle(SETTLED_ANEW)
        for step in self._steps:
            try:
                await self._take(step)
                self._look()
                if not self._armed and self._over:
                    await self._as_anew()
            except AssertionError as error:
                standing = [f"stands: {fault}" for fault in self._armed.values()]
                raise AssertionError("\n".join([*self._taken[-25:], *standing, str(error)])) from None
        await self.mesh.end()
        assert len(self.met) > 10, f"only {sorted(self.met)} were met with at all"

    async def _take(self, step: Step) -> None:
        """Take a step of the walk, or have something else happen beside it."""
        self._over = False
        chance = self._rng.random()
        if self._armed and chance < 0.15:
            await self._disarm(self._rng.choice(sorted(self._armed)))
        elif len(self._armed) < TOGETHER and chance < 0.35:
            await self._arm()
        elif chance < 0.40 or isinstance(step, Restart):
            away = [name for name in REMOTES if self._rng.random() < 0.3]
            self._note(f"restart, {away} away")
            self._moved = True
            await self.mesh.restart(away)
            await self._anew()
        elif chance < 0.45 or isinstance(step, Blink):
            name = self._rng.choice(REMOTES)
            self._note(f"{name} goes or comes")
            self._moved = True
            self.mesh.go(name, away=not self.mesh.remotes[name].away)
            await self.mesh.settle(SETTLED_ANEW)
        elif chance < 0.49:
            if len(self.mesh.replicas) == 1:
                self._note("join")
                await self.mesh.join()
                await self.mesh.settle(SETTLED)
            else:
                self._note("hand over")
                self._moved = True
                await self.mesh.hand_over()
                await self._anew()
        elif not (self._armed and isinstance(step, Meddle)):
            self._note(str(step))
            self._moved = True
            if self._armed and isinstance(step, Put | Delete) and "MeshFederation" in str(step):
                self._reach.add(EVERYTHING)  # what stays as it was may be of a mesh that was another
            self.mesh.carry_out(step)
            await self.mesh.settle(SETTLED_ANEW if isinstance(step, Meddle) else SETTLED)

    def _note(self, what: str) -> None:
        self._taken.append(what)

    async def _anew(self) -> None:
        """Who leads now has read nothing before."""
        for function in self._before:
            self._before[function] = {}
            word = self._armed[function].word
            self._blind[function] = {name for name, _ in self._objects(self._kind(function)) if word in text(name[1:])}
        await self.mesh.settle(SETTLED_ANEW)

    async def _arm(self) -> None:
        """Have a function raise from now on, for a key that it was called for, or for all that are called so."""
        called = [name for name, keys_of in self._traps.called.items() if keys_of]
        least = min(self._times[name] for name in called)
        function = self._rng.choice(sorted(name for name in called if self._times[name] == least))
        self._times[function] += 1
        key = self._rng.choice(sorted(self._traps.called[function], key=text))
        words = [text(key)]
        if isinstance(key, tuple) and all(isinstance(part, str) for part in key):
            words.append(text(key[-1]))
        fault = Fault(function, self._rng.choice(words))
        if function in self._armed:
            return
        if function == f"{PARSER}MeshFederation":
            fault.word = "east"  # all there are: one that nobody could read since the start is not missed
        self._note(f"ARM {fault}")
        if not self._armed:
            self._since = {item: [part.content] for item, part in self._found().items()}
            self._reach, self._doubted, self._instead = set(), set(), set()
            self._offers = {name: dict(remote.offers) for name, remote in self.mesh.remotes.items()}
        self._armed[function] = fault
        if kind := self._kind(function):
            self._before[function] = {name: one for name, one in self._objects(kind) if fault.word in text(name[1:])}
        self._moved = True
        self._widen()
        await self.mesh.settle(SETTLED)

    async def _disarm(self, function: str) -> None:
        self._note(f"DISARM {self._armed[function]}")
        fault = self._armed.pop(function)
        self.met |= {function} if fault.hits else set()
        self._before.pop(function, None)
        self._blind.pop(function, None)
        if function.startswith(PARSER):
            # It is repaired: nobody looks again at what is as it was.
            for name, _ in self._objects(kind_read(function)):
                if fault.word in text(name[1:]):
                    self.mesh.cluster.edit(
                        RESOURCES[name[0]], name[1], name[2], lambda one: one["metadata"].update(repaired="yes")
                    )
        self._over = self._moved = True
        await self.mesh.settle(SETTLED_ANEW)

    def _kind(self, function: str) -> str:
        """The kind whose objects count as they did where a function raises: it reads them, or lists what they are."""
        name, _, _ = function.rpartition(": ")
        listing = [Remotes.PEERS, *(index.name for index in self._traps.parts[Remotes.PEERS]._indexes)]
        return "RemoteMesh" if name in listing else kind_read(function)

    def _objects(self, kind: str) -> list[tuple[Name, Manifest]]:
        return [((kind, *place), one) for (of, *place), one in self.mesh.cluster.objects.items() if of.kind == kind]  # type: ignore[misc]

    # --- what there should be

    def _widen(self) -> dict[Item, Part]:
        """Work out what there should be, and what may follow from the faults that stand; returns the former."""
        if self._moved:
            self._plan()
        reach = self._reached = Reach(self._known, self._doubted)
        for function, fault in self._armed.items():
            kind = kind_read(function)
            if not kind:
                reach.spoilt(fault, [*fault.would, *(key for _, key in fault.hits)])
                continue
            for name, _ in self._objects(kind):
                if fault.word in text(name[1:]):
                    self._unread(reach, name)
        unknown: list[Key] = [ExportKey(*place) for place in reach.keys(Exports.EXPORT)]
        unknown += [ImportKey(host) for host in reach.keys(Imports.MERGED)]
        unknown += [OfferKey(record) for record in reach.keys(Imports.FATE)]
        unknown += [*map(RemoteKey, reach.keys(Remotes.PEERS)), *(MeshKey() for _ in reach.keys(Remotes.CALLERS))]
        self._reach |= set(map(origin, unknown))
        self._instead |= self._next_in_turn(reach)
        for wanted in (self._truth, self._read):
            for item in {*self._since, *wanted}:
                since = self._since.setdefault(item, [None])
                content = wanted[item].content if item in wanted else None
                if content not in since:
                    since.append(content)
        return self._truth

    def _next_in_turn(self, reach: Reach) -> set[str]:
        """Whose host another Service has that may be unknown: from a start on, such a one keeps it from nobody."""
        lost, holders = reach.keys(Exports.CLAIM), self._known["who has host"].nodes
        claims = {place: node.value for place, node in self._known[Exports.CLAIM].nodes.items()}
        first = {place: holders[one.exported.offer.host].value for place, one in claims.items() if type(one) is Claim}
        return {origin(ExportKey(*p)) for p, one in first.items() if p != (one.namespace, one.name) in lost}

    def _plan(self) -> None:
        """Plan anew what there should be, and what there should be of what could be read."""
        self._moved = False
        for fault in self._armed.values():
            fault.would.clear()
        self._truth = self._read = self._planned()
        self._known = self._traps.parts
        if self._before:
            instead = {name: one for objects in self._before.values() for name, one in objects.items()}
            self._read = self._planned(instead, self._offers_read())

    def _planned(self, *instead: Any) -> dict[Item, Part]:
        found = parts(self.mesh.planned(*instead))
        for place, node in self._traps.parts[Exports.EXPORT].nodes.items():
            if isinstance(node.value, Claim):
                offer, audience = node.value.exported.offer, node.value.exported.audience
                found["told", *place] = Part(origin(ExportKey(*place)), (offer.host, version_of(offer), audience))
        return found

    def _found(self) -> dict[Item, Part]:
        """What is written, and what subscribers are told of each Service."""
        found = parts(self.mesh.written())
        publisher = self.mesh.leader.publisher
        for key, host in publisher._hosts.items():
            entry = publisher._exports.get(host)
            if entry is not None:
                found["told", key.namespace, key.name] = Part(origin(key), (host, entry.version, entry.audience))
        return found

    def _unread(self, reach: Reach, name: Name) -> None:
        kind, _, short = name
        if kind == "MeshFederation":
            self._reach.add(EVERYTHING)
        elif kind == "RemoteMesh":
            self._reach |= {origin(MeshKey()), origin(RemoteKey(short))}
            reach.unknown(self._known[kind], short)
            # In the plan one that is being deleted is none, and so its object leads to nothing.
            reach.unknown(self._known[Remotes.PEERS], short)
        elif kind in {"Pod", "WorkloadEntry"}:
            reach.unknown(self._known["Distinct"], name)
        else:
            reach.unknown(self._known[kind], short if kind in {"Namespace", "FederatedService"} else name[1:])

    def _offers_read(self) -> dict[str, dict[str, Any]]:
        """What remotes offer, and where its FederatedService cannot be read, what they did when it could."""
        fault = self._armed.get(f"{PARSER}FederatedService")
        return {
            remote: {
                host: self._offers[remote].get(host, offer)
                if fault is not None and fault.word in text((SYSTEM, record_name(host, remote)))
                else offer
                for host, offer in one.offers.items()
            }
            for remote, one in self.mesh.remotes.items()
        }

    # --- what there is

    def _look(self) -> None:
        truth = self._widen()
        found, tells = self._found(), self.mesh.leader.publisher._exports.ready
        wrong = [] if tells or self._armed else ["subscribers are told nothing"]
        for item in sorted({*truth, *found, *self._since}):
            wanted, there = truth.get(item), found.get(item)
            content = there.content if there is not None else None
            if content == (wanted.content if wanted is not None else None) or (item[0] == "told" and not tells):
                continue
            named = {part.origin for part in (wanted, there) if part is not None}
            if not self._armed or not (EVERYTHING in self._reach or named & self._reach):
                wrong.append(f"{item} does not follow from a fault, and is {there} instead of {wanted}")
            elif (
                item[-1] != "status"
                and not named & self._instead
                and content not in (since := self._since.get(item, [None]))
            ):
                wrong.append(f"{item} is {there}, and neither was nor should have been so, but {wanted} or {since}")
        wrong += self._unseen()
        assert not wrong, "\n".join(wrong)

    def _unseen(self) -> list[str]:
        """The faults that are met with, and are to be seen nowhere; or that are to be seen, and are no more."""
        leader, said = self.mesh.leader, self.mesh.said()
        trouble = leader.controller.trouble or ""
        unknown = [name for name, conditions in said.items() if any("NotUnderstood" in one for one in conditions)]
        wrong = []
        if not self._armed:
            wrong += [f"/readyz says {trouble}"] if trouble else []
            wrong += [f"the metric names {what}" for what in leader.faults]
            wrong += [f"{name} is said not to be understood" for name in unknown]
        for function, fault in self._armed.items():
            met = fault.recent(leader, RECENT)
            if not met or function.endswith("_perhaps"):
                continue  # what is asked where something is, is lost already
            if function.startswith(PARSER):
                wrong += [] if leader.undecodable else [f"{fault}: the metric names nothing undecodable"]
                continue
            wrong += [] if "Boom" in trouble else [f"{fault}: /readyz says {trouble!r}"]
            wrong += [] if leader.faults else [f"{fault}: the metric names nothing"]
            if not self._before and "_where" not in function:  # else what is read may be another than is planned with
                spoilt = self._reached.surely(Imports.FATE, fault, met)
                wrong += self._unsaid({("FederatedService", SYSTEM, record) for record in spoilt}, str(fault))
        for function, blind in self._blind.items():
            if function.startswith(PARSER):
                wrong += self._unsaid({name for name in blind if name[0] in SAID_OF}, function)
        return wrong

    def _unsaid(self, names: set[Name], why: str) -> list[str]:
        """The objects of ours, of those that are there, that do not say that nobody knows what becomes of them."""
        there = self.mesh.said()
        return [
            f"{why}: {kind} {name} says {there[f'{kind} {name}']}"
            for kind, _, name in sorted(names)
            if f"{kind} {name}" in there
            and not any(
                (status, reason) == ("Unknown", "NotUnderstood") for _, status, reason in there[f"{kind} {name}"]
            )
        ]

    async def _as_anew(self) -> None:
        """Compare all with what a controller would make of it that begins now."""
        copy = self.mesh.copied()
        try:
            await copy.settle(SETTLED)
            for what in (Federation.written, Federation.said, Federation.offered_as):
                anew: dict[Any, Any] = what(copy)
                found: dict[Any, Any] = what(self.mesh)
                wrong = [key for key in sorted({*anew, *found}) if anew.get(key) != found.get(key)]
                assert not wrong, "\n".join(f"{key}: {found.get(key)}, anew {anew.get(key)}" for key in wrong)
        finally:
            await copy.end()


def kind_read(function: str) -> str:
    """The kind whose objects a decoder reads; empty for anything else."""
    for prefix in (DECODER, PARSER):
        if function.startswith(prefix):
            return function.removeprefix(prefix)
    return ""


@pytest.mark.timeout(300)  # a walk takes half a minute, and several times that on a busy machine
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_goes_for_an_exception(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "LAST_RETRY", 2.0)
    monkeypatch.setattr(faults, "ASIDE_FIRST", 1.0)
    monkeypatch.setattr(faults, "ASIDE_LAST", 4.0)
    monkeypatch.setattr(controller, "TERM_PAUSE", (0.5, 4.0))
    monkeypatch.setattr(reflector, "_WATCH_SECONDS", 10_000)  # each that ends takes as long as a change
    monkeypatch.setattr(planner, "DERIVED", 4)
    monkeypatch.setattr(planner, "TURN", 1)  # it is written while most is still to be worked out
    logging.getLogger("meshfed").setLevel(logging.CRITICAL)
    random.seed(seed)
    traps = Traps(monkeypatch)

    async def run() -> None:
        await Walk(seed, traps, Federation.begin(monkeypatch)).run()

    try:
        with asyncio.Runner(loop_factory=virtual_loop) as runner:
            runner.run(run())
    finally:
        logging.getLogger("meshfed").setLevel(logging.NOTSET)
