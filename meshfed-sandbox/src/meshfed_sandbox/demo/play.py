"""The play, act by act. What is shown is checked: an act that does not hold ends the demo with its reason."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Callable, Coroutine
from typing import Final

from meshfed_sandbox.demo.cast import APP_NAMESPACE, EXPORT_LABEL, bookinfo, federation, host
from meshfed_sandbox.demo.controllers import StepFailed
from meshfed_sandbox.demo.observer import Observer
from meshfed_sandbox.demo.screen import Screen
from meshfed_sandbox.demo.stage import Stage

QUIET: Final = 3.0
"""Seconds in which a steady state must write nothing."""
WINDOWS: Final = 10
"""In how many it has to be quiet once: a way that is proven anew after a restart, say, is written down first."""

DETAILS, RATINGS, REVIEWS, PRODUCTPAGE = map(host, ("details", "ratings", "reviews", "productpage"))


class Play:
    """The demo's acts, in order; each method is one."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._east, self._west = stage.actors["east"], stage.actors["west"]

    @property
    def acts(self) -> list[tuple[str, Callable[[], Coroutine[None, None, None]]]]:
        """The acts, with their titles."""
        return [
            ("Two meshes, each with its own Kubernetes API and its part of bookinfo", self.services),
            ("Each owner federates with the other: a MeshFederation and a RemoteMesh", self.federate),
            ("Export by label: nothing was shared before, now three Services are", self.export),
            ("A port is added where the Service lives, and follows where it is imported", self.change_port),
            ("Unexport: the label goes, and with it the import", self.unexport),
            ("Fail static: a controller is killed and restarts while its remote is away", self.outage),
            ("Steady state: nothing to do, nothing written", self.quiet),
        ]

    async def perform(self) -> None:
        """Play it all.

        Raises:
            StepFailed: something that was shown does not hold.
        """
        for number, (title, act) in enumerate(self.acts, start=1):
            self._screen.act(number, title)
            await act()

    # --- acts

    async def services(self) -> None:
        """Apply bookinfo's Services to both meshes."""
        for actor in (self._east, self._west):
            await self._apply(actor.name, "bookinfo.yaml", bookinfo(actor.name))
            names = [
                seen.metadata.name for seen in actor.see.all("Service") if seen.metadata.namespace == APP_NAMESPACE
            ]
            self._screen.line(
                f"{actor.name} has the Services {', '.join(name for name in names if name != 'kubernetes')}"
            )

    async def federate(self) -> None:
        """Apply the API objects, start both controllers, wait until they are connected."""
        for own, remote in ((self._east, self._west), (self._west, self._east)):
            await self._apply(own.name, "federation.yaml", federation(own.place, remote.place))
            await own.controller.start()
        for actor in (self._east, self._west):
            await actor.controller.ready()
            self._screen.line(f"controller of {actor.name} is ready: meshfed {' '.join(actor.controller.command)}")
        await self._connected()
        for own, remote in ((self._east, self._west), (self._west, self._east)):
            self._screen.held(f"{own.name} is connected with {remote.name}")
        for actor in (self._east, self._west):
            shares = actor.see.exported() | actor.see.imported_hosts()
            self._check(f"{actor.name} shares nothing yet", not shares, seen=", ".join(sorted(shares)))

    async def export(self) -> None:
        """Label Services on both sides; see the gateways, the ServiceEntries and the WorkloadEntries."""
        await self._change(
            ("east", "reviews"),
            ("label", "service", "details", "reviews", f"{EXPORT_LABEL}=true"),
            {
                "gateway of east opens details and reviews": self._gateway_has("east", DETAILS, REVIEWS),
                "west has a ServiceEntry for details, which it lacks itself": self._imported("west", DETAILS),
                "west has a WorkloadEntry for reviews, beside its own pods": self._merged("west", "reviews", 1),
            },
        )
        await self._change(
            ("west", "reviews"),
            ("label", "service", "ratings", "reviews", f"{EXPORT_LABEL}=true"),
            {
                "gateway of west opens ratings and reviews": self._gateway_has("west", RATINGS, REVIEWS),
                "east has a ServiceEntry for ratings, which it lacks itself": self._imported("east", RATINGS),
                "east has a WorkloadEntry for reviews, beside its own pods": self._merged("east", "reviews", 1),
            },
        )
        for actor, remote, imported in ((self._east, self._west, RATINGS), (self._west, self._east, DETAILS)):
            self._check(
                f"no ServiceEntry in {actor.name} for what it has itself",
                actor.see.imported_hosts() == {imported},
                seen=", ".join(actor.see.imported_hosts()),
            )
            entry = actor.see.service_entry(imported)
            endpoints = [] if entry is None else entry.spec.get("endpoints", [])
            addresses = [endpoint.get("address") for endpoint in endpoints]
            self._check(
                f"{imported} in {actor.name} leads to the gateway of {remote.name}, {remote.place.gateway_address}",
                addresses == [remote.place.gateway_address],
                seen=f"it leads to {', '.join(map(str, addresses)) or 'nowhere'}",
            )
        self._check("productpage was labelled nowhere and is shared nowhere", not self._anywhere(PRODUCTPAGE))
        await self.exported()

    async def change_port(self) -> None:
        """Add a port in west; the ServiceEntry in east follows."""
        patch = (
            '[{"op": "add", "path": "/spec/ports/-", "value": {"name": "http-new", "port": 9081, "targetPort": 9080}}]'
        )
        await self._change(
            ("west", "ratings"),
            ("patch", "service", "ratings", "--type=json", "--patch", patch),
            {"the ServiceEntry in east has ports 9080 and 9081": lambda: self._ports("east", RATINGS) == [9080, 9081]},
        )

    async def unexport(self) -> None:
        """Take the label off reviews in west."""
        await self._change(
            ("west", "reviews"),
            ("label", "service", "reviews", f"{EXPORT_LABEL}-"),
            {
                "gateway of west closes reviews": self._gateway_has("west", RATINGS),
                "the WorkloadEntry for reviews is gone from east": self._merged("east", "reviews", 0),
            },
        )
        self._check("the other direction still stands", self._merged("west", "reviews", 1)())

    async def outage(self) -> None:
        """Stop west, kill east with -9, start east while west is away, then start west."""
        east, west = self._east, self._west
        before = self._imports_of(east.see)
        began = len(east.see.history)
        since = asyncio.get_running_loop().time()
        await west.controller.stop()
        self._screen.line("west's controller is stopped")
        noticed = await self._stage.until(
            "east says that west is away", lambda: east.see.condition("RemoteMesh", "west", "Connected") == "False"
        )
        self._screen.held("east says that west is away, and keeps its imports", noticed - since)
        await east.controller.stop(signal.SIGKILL)
        self._screen.line("east's controller is killed (-9)")
        await east.controller.start()
        await east.controller.ready()
        self._check(
            "east's controller is back without west, and every import stands", self._imports_of(east.see) == before
        )
        await west.controller.start()
        await west.controller.ready()
        await self._connected()
        lost = [
            one for one in east.see.history[began:] if one.deleted and one.kind in {"ServiceEntry", "WorkloadEntry"}
        ]
        self._check(
            "the meshes are connected again, and no import was ever gone in between",
            not lost and self._imports_of(east.see) == before,
        )

    async def quiet(self) -> None:
        """Count writes and pushes over a few seconds of nothing, once what came before has come to rest."""
        counters = ("meshfed_kube_writes_total", "meshfed_fds_pushes_total")
        controllers = [actor.controller for actor in (self._east, self._west)]
        quiet = False
        for _ in range(WINDOWS):
            before = [await controller.metric(name) for controller in controllers for name in counters]
            await asyncio.sleep(QUIET)
            after = [await controller.metric(name) for controller in controllers for name in counters]
            quiet = before == after
            if quiet:
                break
        self._check(f"no API write and no push in {QUIET:.0f} s, by the controllers' own counters", quiet)

    # --- what the acts are made of

    async def _apply(self, mesh: str, name: str, text: str) -> None:
        path = self._stage.directory / f"{mesh}-{name}"
        path.write_text(text)
        self._screen.command(mesh, f"kubectl apply -f {path}")
        await self._stage.kubectl(mesh, "apply", "-f", str(path))
        await asyncio.sleep(0.1)

    async def _connected(self) -> None:
        """Wait until both controllers hear from each other, and are up to date."""
        for own, remote in ((self._east, self._west), (self._west, self._east)):
            await self._stage.until(
                f"{own.name} is connected with {remote.name}",
                lambda own=own, remote=remote: (  # type: ignore[misc] # bound now, not at the loop's end
                    own.see.condition("RemoteMesh", remote.name, "Connected") == "True"
                    and own.see.condition("RemoteMesh", remote.name, "Synced") == "True"
                ),
            )

    async def _change(
        self, cause: tuple[str, str], command: tuple[str, ...], effects: dict[str, Callable[[], bool]]
    ) -> float:
        """Run kubectl against a Service and show each effect, with the time from the Service's change to it.

        Returns when the Service changed (the loop's time).
        """
        mesh, service = cause
        self._screen.command(mesh, "kubectl " + " ".join(map(shlex.quote, command)))
        waits = {what: asyncio.create_task(self._stage.until(what, holds)) for what, holds in effects.items()}
        try:
            await self._stage.kubectl(mesh, *command)
            caused = self._stage.actors[mesh].see.last_change("Service", service)
            for what, wait in waits.items():
                self._screen.held(what, max(await wait - caused, 0.0))
        finally:
            for wait in waits.values():
                wait.cancel()
            await asyncio.gather(*waits.values(), return_exceptions=True)
        return caused

    def _check(self, what: str, holds: bool, *, seen: object = "") -> None:
        """Show that something holds, or fail with what was ``seen`` instead; unless said, that is how things stand."""
        if not holds:
            raise StepFailed(f"{what}: it does not hold; {seen or self._stage.summary()}")
        self._screen.held(what)

    def _gateway_has(self, mesh: str, *hosts: str) -> Callable[[], bool]:
        return lambda: self._stage.actors[mesh].see.exported() == set(hosts)

    def _imported(self, mesh: str, imported: str) -> Callable[[], bool]:
        return lambda: imported in self._stage.actors[mesh].see.imported_hosts()

    def _merged(self, mesh: str, app: str, count: int) -> Callable[[], bool]:
        return lambda: len(self._stage.actors[mesh].see.workload_entries(app=app)) == count

    def _ports(self, mesh: str, imported: str) -> list[int]:
        entry = self._stage.actors[mesh].see.service_entry(imported)
        return [] if entry is None else [port["number"] for port in entry.spec.get("ports", [])]

    def _anywhere(self, shared: str) -> bool:
        actors = self._stage.actors.values()
        return any(shared in actor.see.exported() | actor.see.imported_hosts() for actor in actors)

    def _imports_of(self, see: Observer) -> set[tuple[str, str]]:
        kinds = ("ServiceEntry", "WorkloadEntry", "FederatedService")
        return {(kind, seen.metadata.uid) for kind in kinds for seen in see.all(kind)}

    async def exported(self) -> None:
        """Show what the export led to: the objects in each mesh."""
        for actor in (self._east, self._west):
            self._screen.mesh(
                actor.name,
                exported=sorted(actor.see.exported()),
                service_entries={
                    imported: [endpoint["address"] for endpoint in entry.spec.get("endpoints", [])]
                    for imported in sorted(actor.see.imported_hosts())
                    if (entry := actor.see.service_entry(imported)) is not None
                },
                workload_entries={
                    f"{seen.metadata.namespace}/{seen.metadata.name}": [str(seen.spec.get("address"))]
                    for seen in actor.see.all("WorkloadEntry")
                },
            )
