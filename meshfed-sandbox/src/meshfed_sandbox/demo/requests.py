"""The play with requests: the same acts, with what they mean for those who use the meshes, and what nobody exports."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from meshfed_sandbox.demo.cast import (
    APP_NAMESPACE,
    EXPORT_LABEL,
    GATEWAY_PORT,
    PORT,
    SERVICES,
    SYSTEM_NAMESPACE,
    policy,
    sni,
    workloads,
)
from meshfed_sandbox.demo.controllers import StepFailed
from meshfed_sandbox.demo.play import Play
from meshfed_sandbox.demo.screen import Screen
from meshfed_sandbox.demo.stage import Stage
from meshfed_sandbox.demo.traffic import Answer, Leg, Page, Traffic
from meshfed_sandbox.picture import Flow, Mesh, Picture, Stop

_PAGES: Final = 20
_STARTING: Final = 120.0
"""Seconds in which a dozen Envoys start, also on a machine that is busy."""
_GATEWAY: Final = "federation-ingress-gateway"
_RATINGS: Final = f"http://ratings:{PORT}/ratings/0"
_POLICY: Final = "ratings-policy.yaml"


class PlayWithRequests(Play):
    """The acts in two meshes that carry requests; ``picture`` then shows those that were made."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        super().__init__(stage, screen)
        if stage.plane is None:
            raise ValueError("requests need a data plane")
        self._plane = stage.plane
        self.traffic = Traffic(stage.plane)
        self._flows: list[Flow] = []

    @property
    def acts(self) -> list[tuple[str, Callable[[], Coroutine[None, None, None]]]]:
        """The acts, with their titles."""
        plain = super().acts
        return [
            ("Two meshes, each with its own Kubernetes API, gateway, controller and part of bookinfo", self.services),
            *plain[1:3],
            ("Who may call is for the callee to say, by the caller's own identity", self.authorize),
            ("A gateway is away: what one mesh alone has is missed, what both have is not", self.lose_gateway),
            ("Failover: a Service that both meshes have loses its Pods in one", self.fail_over),
            *plain[3:],
        ]

    @property
    def picture(self) -> Picture:
        """The meshes, and the requests whose way was looked up, in the order in which they were made."""
        meshes = tuple(Mesh(name=name, services=services) for name, services in SERVICES.items())
        return Picture(meshes, tuple(self._flows))

    @property
    def policy_file(self) -> str:
        """Where the AuthorizationPolicy in west is, for kubectl."""
        return str(self._stage.directory / f"west-{_POLICY}")

    # --- acts

    async def services(self) -> None:
        """Install both meshes, apply bookinfo, wait until it runs, and look at the page before anything is shared."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._stage.install()
        for name, actor in self._stage.actors.items():
            address = f"{actor.place.gateway_address}:{GATEWAY_PORT}"
            self.traffic.gateways[address] = name
            self._screen.line(f"{name} has a controller, and a gateway at {address}")
        await super().services()
        for mesh in SERVICES:
            await self._apply(mesh, "workloads.yaml", workloads(mesh))
        try:
            async with asyncio.timeout(_STARTING):
                await self._plane.settled()
        except TimeoutError:
            waiting = [line for mesh in self._plane.meshes.values() for line in mesh.unsettled()]
            raise StepFailed(f"the Pods are not ready within {_STARTING:.0f} s: {'; '.join(waiting)}") from None
        pods = sum(len(mesh.node.pods) for mesh in self._plane.meshes.values())
        self._screen.held(f"{pods} Pods are ready, each with an Envoy of its own", loop.time() - began)
        self._screen.command("east", f"curl {self.traffic.door.url}/productpage")
        await self._page("the page has no ratings, which east lacks", lambda page: set(page.missing) == {"ratings"})

    async def exported(self) -> None:
        """Show the page again, and the way of each request behind it."""
        self._screen.command(
            "east", f"curl {self.traffic.door.url}/productpage   # until reviews came from both meshes"
        )
        ways: list[Leg] = []
        for mesh in ("east", "west"):
            page = await self._page(
                f"the page is whole, with reviews from {mesh}",
                lambda page, mesh=mesh: page.whole and page.meshes["reviews"] == mesh,  # type: ignore[misc] # bound now
            )
            wanted = (
                ("east/ingress", "east/productpage"),
                ("east/productpage", "east/details"),
                ("east/productpage", f"{mesh}/reviews"),
                (f"{mesh}/reviews", "west/ratings"),
            )
            ways += [leg for leg in await self.traffic.legs(page.request, wanted) if str(leg.caller) != "east/ingress"]
        shown = {leg.path: leg for leg in ways}
        for leg in shown.values():
            self._way(leg, status=200)

    async def authorize(self) -> None:
        """Let only one identity of east call ratings in west; see one request pass, and one that does not."""
        await self._ask("productpage", lambda answer: answer.status == 200, "productpage may ask ratings so far")
        admitted = self._east.place.principal("reviews")
        await self._apply("west", _POLICY, policy("ratings", admitted))
        self._screen.line(f"it is an AuthorizationPolicy that admits {admitted} and nobody else")
        denied = await self._ask(
            "productpage", lambda answer: answer.status == 403, "productpage of east may not ask ratings any more"
        )
        (leg,) = await self.traffic.legs(denied.request, [("east/productpage", "west/ratings")])
        self._way(leg, status=403, note=str(denied.body).strip())
        passes = await self._ask("reviews", lambda answer: answer.status == 200, "reviews of east still may")
        (leg,) = await self.traffic.legs(passes.request, [("east/reviews", "west/ratings")])
        self._way(leg, status=200, draw=False)
        await self._page("and so the page is whole as before", lambda page: page.whole)

    async def lose_gateway(self) -> None:
        """Take west's gateway away, see what is missed and what is not, and have it back."""
        await self._scale("west", SYSTEM_NAMESPACE, _GATEWAY, 0)
        page = await self._page(
            "the page misses ratings, which west alone has",
            lambda page: set(page.missing) == {"ratings"} and "answered 503" in page.missing["ratings"],
        )
        self._screen.line(f"it says: {page.missing['ratings']}")
        seen = [await self.traffic.page() for _ in range(_PAGES)]
        self._check(
            f"{_PAGES} pages of {_PAGES} have reviews, all from east: what was sent to west's gateway was tried again",
            all(page.meshes.get("reviews") == "east" for page in seen),
            seen=next((page for page in seen if page.meshes.get("reviews") != "east"), ""),
        )
        lost = Stop("east", "reviews"), Stop("west", "gateway")
        self._flows.append(Flow(path=lost, status="503 while that gateway is away", denied=True))
        await self._scale("west", SYSTEM_NAMESPACE, _GATEWAY, 1)
        await self._page("with the gateway, ratings are back", lambda page: page.whole)
        await self._connected()
        self._screen.held("and the controllers hear from each other again")

    async def fail_over(self) -> None:
        """Take the Pods of reviews away in east, under load, and give them back."""
        async with self.traffic.load() as load:
            await self._scale("east", APP_NAMESPACE, "reviews", 0)
            await self._all_from("west")
            self._screen.held(f"{_PAGES} pages in a row have reviews from west, which takes over by itself")
            await self._scale("east", APP_NAMESPACE, "reviews", 1)
            await self._page("with a Pod, east answers again", lambda page: page.meshes.get("reviews") == "east")
        counts = Counter(page.meshes.get("reviews", "nobody") for page in load.pages)
        found = ", ".join(f"{count} with reviews from {mesh}" for mesh, count in sorted(counts.items()))
        self._screen.line(f"of {len(load.pages)} other pages meanwhile, {len(load.broken)} lacked something: {found}")

    async def change_port(self) -> None:
        """Add a port, and call it."""
        await super().change_port()
        added = PORT + 1
        what = f"reviews of east is answered by ratings on {added}"
        await self._ask(
            "reviews", lambda answer: answer.status == 200, what, url=_RATINGS.replace(str(PORT), str(added))
        )

    async def unexport(self) -> None:
        """Take the label off reviews in west, see west's reviews go from the page, and put it back."""
        await super().unexport()
        await self._all_from("east")
        self._screen.held(f"{_PAGES} pages in a row have reviews from east")
        caused = await self._change(
            ("west", "reviews"),
            ("label", "service", "reviews", f"{EXPORT_LABEL}=true"),
            {"the WorkloadEntry is back in east": self._merged("east", "reviews", 1)},
        )
        await self._page(
            "and so are reviews from west", lambda page: page.meshes.get("reviews") == "west", since=caused
        )

    async def outage(self) -> None:
        """Have pages asked for while controllers are stopped, killed and started."""
        async with self.traffic.load() as load:
            await super().outage()
        self._check(
            f"{len(load.pages)} pages were asked for meanwhile, and every one was whole",
            bool(load.pages) and not load.broken,
            seen=f"{len(load.broken)} of {len(load.pages)} were not: {load.broken[:1]}",
        )

    async def quiet(self) -> None:
        """Count writes and pushes, and what befell proxies in all this time."""
        await super().quiet()
        problems = self._plane.problems
        self._check("no proxy refused what it was told, at any time", not problems, seen="; ".join(map(str, problems)))

    # --- what the acts are made of

    async def _page(self, what: str, holds: Callable[[Page], bool], *, since: float | None = None) -> Page:
        """Ask for the page until it is as it should be, and show that with the time it took."""
        began = asyncio.get_running_loop().time() if since is None else since
        page, at = await self._stage.attempt(what, self.traffic.page, holds)
        self._screen.held(what, max(at - began, 0.0))
        return page

    async def _ask(self, workload: str, holds: Callable[[Answer], bool], what: str, *, url: str = _RATINGS) -> Answer:
        """Have a workload of east ask, until the answer is as it should be."""

        def ask() -> Awaitable[Answer]:
            return self.traffic.ask("east", workload, url)

        began = asyncio.get_running_loop().time()
        answer, at = await self._stage.attempt(what, ask, holds)
        self._screen.held(what, at - began)
        return answer

    async def _all_from(self, mesh: str) -> None:
        """Wait until as many pages as we count in a row have reviews from one mesh."""

        async def pages() -> Counter[str]:
            found: Counter[str] = Counter()
            for _ in range(_PAGES):
                page = await self.traffic.page()
                found[page.meshes.get("reviews", "nobody")] += 1
                if found.keys() != {mesh}:
                    break
            return found

        await self._stage.attempt(
            f"reviews come from {mesh} alone", pages, lambda found: found == Counter({mesh: _PAGES})
        )

    async def _scale(self, mesh: str, namespace: str, deployment: str, replicas: int) -> None:
        patch = json.dumps({"spec": {"replicas": replicas}})
        shown = f"kubectl patch deployment {deployment} -n {namespace} --patch '{patch}'"
        self._screen.command(mesh, shown)
        await self._stage.kubectl(mesh, "patch", "deployment", deployment, "-n", namespace, "--patch", patch)

    def _way(self, leg: Leg, *, status: int, note: str = "", draw: bool = True) -> None:
        """Show the way of a request, once it is checked that it is the way that it should have taken."""
        caller, server = leg.caller, leg.server
        crosses = caller.mesh != server.mesh
        gateway = server.mesh if crosses else ""
        found = (leg.gateway, leg.sni, leg.identity, leg.status)
        wanted = (
            gateway,
            sni(server.name) if crosses else "",
            self._stage.actors[caller.mesh].place.identity(caller.name),
            status,
        )
        if found != wanted:
            raise StepFailed(f"{caller} → {server} went by (gateway, SNI, identity, status) {found}, not {wanted}")
        by = f", by the gateway of {gateway}" if crosses else ""
        self._screen.held(f"{caller} → {server}: {status}{f' {note}' if note else ''}")
        self._screen.detail(f"to {leg.address}{by}")
        if crosses:
            self._screen.detail(f"SNI {leg.sni}")
        self._screen.detail(f"seen there as {leg.identity}")
        if draw:
            self._flows.append(
                Flow(
                    path=leg.path,
                    status=f"{status} {note}".strip(),
                    identity=leg.identity if crosses else "",
                    sni=leg.sni,
                    denied=status == 403,
                )
            )
