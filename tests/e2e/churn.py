"""Meshes that change without pause while clients call each other across them: ``make churn``.

Three meshes, each with a real controller and real Envoys, federate each with each. All the time callers in every mesh
call what the others serve. Meanwhile Services are exported and withdrawn, and change their ports and labels, pods are
scaled, rolled and replaced, controllers are killed and rolled, and gateways move (``changes.py``). No change may cost a
request, nor make a condition say that something is wrong that is well. Now and then all is quiet: then everything has
to become as it should be, and controllers are to be no larger than they were. Chance decides by a seed, so that a run
can be had again, as far as processes are alike.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import cyclopts
from cyclopts import Parameter

from meshfed.kube import KubeError, Reflector, Store
from meshfed.model.reasons import Reason
from meshfed_sandbox.dataplane import installation
from meshfed_sandbox.dataplane.network import PodLoop
from meshfed_sandbox.dataplane.plane import Options
from tests.bench.processes import open_files, resident_bytes
from tests.builders import host
from tests.e2e.changes import CHANGES, MESHES, SETTLING, SYSTEM, Changes, tcp_port
from tests.e2e.probes import answered_by
from tests.sandbox.dataplane.world import NAMESPACE, JSONObject, MeshWorld, World
from tests.waiting import meanwhile

_SPEAKING: Final = ("MeshFederation", "RemoteMesh", "FederatedService")
"""The kinds with conditions."""
_CALL_PAUSE: Final = 0.5
_CHANGE_PAUSES: Final = (0.2, 5.0)
_ROUND: Final = 45.0
"""Seconds of change between two times of quiet."""
_TICK, _OF_LATE, _LATE = 0.2, 15.0, 1.0
"""Seconds: how often it is seen whether this process has its turn, for how long that is remembered, what is late."""
_GROWN_BYTES, _GROWN_FILES = 16 << 20, 20
_WARNED: Final = re.compile(r"^\S+ (WARNING|ERROR|CRITICAL) +(.*)")
_VARIES: Final = re.compile(r"\d+(\.\d+)*|\b[0-9a-f]{8,}\b|'[^']*'")


class Size(NamedTuple):
    """What a process has."""

    resident: int
    files: int


class Churn:
    """A run, and what did not hold in it."""

    def __init__(self, world: World, changes: Changes, patience: float) -> None:
        self._world = world
        self._changes = changes
        self._patience = patience
        self._began = time.monotonic()
        self.found: list[str] = []
        """What did not hold."""
        self.calls = 0
        self.made = Counter[str]()
        """How often each change was made."""
        self._sizes: dict[str, list[Size]] = {}
        """By mesh and process, from quiet to quiet."""
        self._late = deque[tuple[float, float]](maxlen=int(_OF_LATE / _TICK))
        """When this process was to have its turn, and by how many seconds it was late."""
        self._stores: dict[tuple[str, str], Store[JSONObject]] = {}
        """By mesh and kind."""

    def say(self, what: str) -> None:
        """Print what happens, and when."""
        print(f"{time.monotonic() - self._began:7.1f} {what}", flush=True)

    def note(self, what: str) -> None:
        """Something did not hold; where this process was late of late, on a machine that is too busy, that is said."""
        late = max((late for when, late in self._late if when > time.monotonic() - _OF_LATE), default=0.0)
        what += f" (this process was late by {late:.1f} s)" if late > _LATE else ""
        self.found.append(f"{time.monotonic() - self._began:7.1f} {what}")
        self.say(f"WRONG {what}")

    async def _see_lateness(self) -> None:
        while True:
            due = time.monotonic() + _TICK
            await asyncio.sleep(_TICK)
            self._late.append((due, time.monotonic() - due))

    async def run(self, seconds: float) -> None:
        """Change and be quiet in turns, for so long."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(meanwhile(self._see_lateness()))
            for mesh in self._world.meshes.values():
                for kind in _SPEAKING:
                    store = self._stores[mesh.name, kind] = Store[JSONObject]()
                    store.subscribe(self._listener(mesh.name, kind))
                    reflector = Reflector(mesh.client, mesh.resource(kind), dict[str, Any], store)
                    await stack.enter_async_context(meanwhile(reflector.run()))
                    await store.wait_synced()
            await self._quiet()
            await self._world.settled()  # objects are in place before proxies know of them
            for mesh in self._world.meshes.values():
                for url, who in _called_from(mesh.name):
                    await stack.enter_async_context(meanwhile(self._call(mesh, url, who)))
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                await self._change_for(min(ends - time.monotonic(), _ROUND))
                await self._quiet()
        self._compare()

    async def _change_for(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            name, mesh = self._changes.next()
            self.say(f"{mesh.name}: {name}")
            self.made[name] += 1
            try:
                await CHANGES[name].make(self._changes, mesh)
            except (AssertionError, KubeError) as error:
                self.note(f"{mesh.name}: {name}: {error}")
            await asyncio.sleep(self._changes.rng.uniform(*_CHANGE_PAUSES))

    async def _call(self, mesh: MeshWorld, url: str, who: set[str]) -> None:
        while True:
            answer = await mesh.request(url, from_="caller", seconds=self._patience)
            self.calls += 1
            if answer.error or answered_by(answer) not in who:
                became = f"{answer.status} {answer.error or answer.body}"
                self.note(f"{mesh.name}: {url} failed: {became} (request {answer.request_id})")
            await asyncio.sleep(_CALL_PAUSE)

    # --- false alarms

    def _listener(self, mesh: str, kind: str) -> Callable[[Any, JSONObject | None, JSONObject | None], None]:
        def hear(key: Any, old: JSONObject | None, new: JSONObject | None) -> None:
            before = _conditions(old)
            for type_, one in _conditions(new).items():
                turned = one["status"] == "False" and before.get(type_, {}).get("status") == "True"
                # What is pending is under way; how long that may take is seen in times of quiet.
                if turned and one["reason"] != Reason.PENDING and not self._may_speak(mesh, kind, key.name):
                    said = f"{one['reason']}: {one.get('message', '')}"
                    self.note(f"{mesh}: {kind} {key.name} is no longer {type_}: {said}")

        return hear

    def _may_speak(self, mesh: str, kind: str, name: str) -> bool:
        """Whether a condition may say that something is not as it was, since that was just changed."""
        now = asyncio.get_running_loop().time()
        if kind == "RemoteMesh":
            return now < max(self._changes.away[mesh], self._changes.away[name]) + SETTLING
        changed = {one.name: one.changed for one in self._changes.extras}
        changed |= {f"only-{other}": when for other, when in self._changes.ports_changed.items()}
        return any(name.startswith(f"{one}.") for one, when in changed.items() if now < when + SETTLING)

    # --- quiet

    async def _quiet(self) -> None:
        """Wait until all is as it should be, and see how large the controllers are."""
        began, wrong = time.monotonic(), ["nothing was looked at"]
        while wrong and time.monotonic() < began + self._patience:
            try:
                wrong = [line for mesh in self._world.meshes.values() for line in await self._wrong(mesh)]
            except KubeError as error:
                wrong = [str(error)]
            await asyncio.sleep(0.5 if wrong else 0)
        for line in wrong:
            self.note(f"{self._patience:.0f} s after the last change: {line}")
        self.say(f"quiet after {time.monotonic() - began:.1f} s; {self.calls} calls, {len(self.found)} wrong")
        for mesh in self._world.meshes.values():
            for container, pid in mesh.plane.pod(SYSTEM, installation.CONTROLLER).pids.items():
                size = Size(resident_bytes(pid), open_files(pid))
                self._sizes.setdefault(f"{mesh.name}'s {container} (process {pid})", []).append(size)

    async def _wrong(self, mesh: MeshWorld) -> list[str]:
        """What of a mesh is not as it should be, now that nothing changes."""
        found = [
            f"{mesh.name}: {kind} {key.name}: {type_} is {one['status']} {one['reason']}: {one.get('message', '')}"
            for kind in _SPEAKING
            for key, document in self._stores[mesh.name, kind].items()
            for type_, one in _conditions(document).items()
            if one["status"] != "True"
        ]
        offered = [one for one in self._changes.extras if one.exported and one.mesh != mesh.name]
        others = [other for other in MESHES if other != mesh.name]
        imported = [(one.name, one.mesh) for one in offered] + [(f"only-{other}", other) for other in others]
        joining = [("shared", other) for other in others]
        records = {f"{host(f'{name}.{NAMESPACE}')}.{other}" for name, other in imported + joining}
        found += _differing(
            mesh, "FederatedService", records, {key.name for key in self._stores[mesh.name, "FederatedService"]}
        )
        entries = {one["metadata"]["name"] for one in await mesh.list("ServiceEntry")}
        imports = {f"import.{host(f'{name}.{NAMESPACE}')}" for name, _ in imported}
        found += _differing(mesh, "ServiceEntry", imports, {name for name in entries if name.startswith("import.")})
        joined = len(await mesh.list("WorkloadEntry"))
        if joined != len(joining):
            found.append(f"{mesh.name}: there are {joined} WorkloadEntries instead of {len(joining)}")
        answers = await asyncio.gather(*(mesh.request(one.url, from_="caller") for one in offered))
        return found + [
            f"{mesh.name}: {one.url} failed: {answer.status} {answer.error or answer.body}"
            for one, answer in zip(offered, answers, strict=True)
            if answered_by(answer) != one.mesh
        ]

    def _compare(self) -> None:
        """Compare the sizes after a quarter of the time with those at the end."""
        for whose, sizes in self._sizes.items():
            quarter = len(sizes) // 4
            first, last = sizes[quarter], sizes[-1]
            memory = f"{first.resident / (1 << 20):.1f} to {last.resident / (1 << 20):.1f} MiB"
            files = f"{first.files} to {last.files} open files"
            self.say(f"{whose}: {memory}, {files}, from quiet {quarter + 1} to {len(sizes)}")
            grown = last.resident - first.resident > _GROWN_BYTES or last.files - first.files > _GROWN_FILES
            if quarter and grown:
                self.note(f"{whose} has grown: {memory}, {files}")


def _called_from(mesh: str) -> Iterator[tuple[str, set[str]]]:
    """Yield what is called from a mesh without pause, and which meshes may answer."""
    yield f"http://shared.{NAMESPACE}:8080/", set(MESHES)
    for other in MESHES:
        if other != mesh:
            yield f"http://only-{other}.{NAMESPACE}:8080/", {other}
            yield f"tcp://only-{other}.{NAMESPACE}:{tcp_port(other)}/hello", {other}


def _conditions(document: JSONObject | None) -> dict[str, JSONObject]:
    found = ((document or {}).get("status") or {}).get("conditions") or ()
    return {one["type"]: one for one in found}


def _differing(mesh: MeshWorld, kind: str, wanted: set[str], there: set[str]) -> Iterator[str]:
    for name in sorted(wanted ^ there):
        yield f"{mesh.name}: {kind} {name} is {'not there' if name in wanted else 'there still'}"


def warned(directory: Path) -> Counter[str]:
    """What controllers warned of, by what it says but for what varies."""
    found: Counter[str] = Counter()
    for log in directory.glob(f"*/{SYSTEM}_{installation.CONTROLLER}-*/controller.log"):
        for line in log.read_text(errors="replace").splitlines():
            said = _WARNED.match(line)
            if said is not None or line.startswith("Traceback"):
                found[_VARIES.sub("*", " ".join(said.groups()) if said is not None else line)] += 1
    return found


async def churn(directory: Path, minutes: float, seed: int, patience: float) -> list[str]:
    """Run it, print what happens, and return what did not hold."""
    # A connection through gateways does not end with an endpoint, but with its Pod: that has the time it has in Istio.
    options = Options(drain=timedelta(seconds=5))
    async with World.up(*MESHES, directory=directory, options=options) as world:
        changes = Changes(world, seed, patience)
        made = Churn(world, changes, patience)
        await changes.bring()
        await made.run(60 * minutes)
        for problem in world.problems:
            made.note(f"the data plane: {problem}")
        world.expected("")  # all are told
    for words, count in sorted(warned(directory).items()):
        (made.say if words.startswith("WARNING") else made.note)(f"logged {count} times: {words}")
    what = ", ".join(f"{name} {count}" for name, count in made.made.most_common())
    made.say(f"{made.calls} calls, {made.made.total()} changes ({what}), seed {seed}")
    return made.found


def main(*, minutes: float = 60.0, seed: int = 1, patience: float = 60.0, directory: Path | None = None) -> None:
    """Change three meshes without pause while clients call across them; exit code 1 where something did not hold.

    Parameters
    ----------
    minutes
        For how long.
    seed
        By which chance decides what is changed.
    patience
        Seconds within which all has to be well once nothing changes any more.
    directory
        An empty folder for what proxies and controllers write; without, that is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="churn-") as temporary, asyncio.Runner(loop_factory=PodLoop) as runner:
        found = runner.run(churn(directory or Path(temporary), minutes, seed, patience))
    print(*(found or ["all held"]), sep="\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    application = cyclopts.App(name="make churn", default_parameter=Parameter(negative=""))
    application.default(main)
    application()
