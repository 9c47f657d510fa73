"""Requests in the demo, and the way that each took, put together from the access logs of the proxies on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp
import msgspec

from meshfed_sandbox.apps import call
from meshfed_sandbox.dataplane.network import Place, inside
from meshfed_sandbox.dataplane.plane import DataPlane
from meshfed_sandbox.demo.cast import APP_NAMESPACE, INGRESS, PORT
from meshfed_sandbox.demo.controllers import PATIENCE, StepFailed
from meshfed_sandbox.demo.door import Door
from meshfed_sandbox.picture import Stop

JSONObject = dict[str, Any]

PARTS: Final = ("productpage", "details", "reviews", "ratings")
_SECONDS: Final = 20.0
_LOAD_PAUSE: Final = 0.1


class Page(msgspec.Struct, frozen=True):
    """The product page as it came: which mesh answered for each part, and why for those that nobody answered."""

    request: str
    meshes: Mapping[str, str]
    missing: Mapping[str, str]

    @property
    def whole(self) -> bool:
        """Whether every part is on it."""
        return not self.missing

    def __str__(self) -> str:
        parts = [f"{part} from {mesh}" for part, mesh in self.meshes.items()]
        return ", ".join([*parts, *(f"no {part} ({why})" for part, why in self.missing.items())])


class Answer(msgspec.Struct, frozen=True):
    """What came of one request from a Pod: an HTTP status and a body, or status 0 and why there was none."""

    request: str
    status: int
    body: Any

    def __str__(self) -> str:
        return f"{self.status or 'no answer'}: {self.body}"


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A request from one workload to another, as the proxies on its way logged it.

    ``address`` is where the caller's sidecar sent it. Where that is the gateway of a mesh, ``gateway`` is that mesh,
    and ``sni`` the name that the gateway was asked for. ``identity`` is the caller's, as the server's sidecar saw it in
    the caller's certificate; ``status`` is what that sidecar answered.
    """

    caller: Stop
    server: Stop
    address: str
    gateway: str = ""
    sni: str = ""
    identity: str
    status: int

    @property
    def path(self) -> tuple[Stop, ...]:
        """Its stops, for a picture."""
        between = (Stop(self.gateway, "gateway"),) if self.gateway else ()
        return (self.caller, *between, self.server)


class Load(msgspec.Struct):
    """Pages that are asked for one after the other while something else happens."""

    pages: list[Page] = []

    @property
    def broken(self) -> list[Page]:
        """Those of which something was missing."""
        return [page for page in self.pages if not page.whole]


class Traffic:
    """Sends requests into the meshes of a data plane, and looks up what became of them."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self.gateways: dict[str, str] = {}
        """The meshes by the addresses of their gateways, ``ip:port``."""
        self.door = Door(lambda: self._place("east", INGRESS), f"productpage:{PORT}")

    def _place(self, mesh: str, workload: str) -> Place:
        place = self._plane.meshes[mesh].pod(APP_NAMESPACE, workload).place
        if place is None:
            raise LookupError(f"{workload} in {mesh} has no address yet")
        return place

    async def page(self) -> Page:
        """The product page, through the front door."""
        request = str(uuid4())
        headers = {"accept": "application/json", "x-request-id": request}
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.door.url}/productpage", headers=headers) as answer,
            ):
                text = await answer.text()
                if answer.status != 200:
                    return Page(request, {}, dict.fromkeys(PARTS, f"{answer.status}: {text.strip()}"))
        except (aiohttp.ClientError, TimeoutError) as error:
            return Page(request, {}, dict.fromkeys(PARTS, str(error) or "nothing came in time"))
        return _page(request, msgspec.json.decode(text))

    async def ask(self, mesh: str, workload: str, url: str) -> Answer:
        """One request from a Pod of a workload, as its application would send it: by its DNS and its sidecar."""
        request = str(uuid4())
        try:
            place = self._place(mesh, workload)
        except LookupError as error:
            return Answer(request, 0, str(error))
        with inside(place):
            came = await asyncio.create_task(call(url, {"x-request-id": request}, seconds=_SECONDS))
        return Answer(request, came.status or 0, came.error or came.answer)

    @asynccontextmanager
    async def load(self) -> AsyncIterator[Load]:
        """Ask for page after page while the context lasts."""
        load = Load()

        async def run() -> None:
            while True:
                load.pages.append(await self.page())
                await asyncio.sleep(_LOAD_PAUSE)

        task = asyncio.create_task(run())
        try:
            yield load
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # --- the way of a request

    async def legs(self, request: str, wanted: Collection[tuple[str, str]]) -> list[Leg]:
        """The legs of a request, in the order of ``wanted``: pairs of stops, ``mesh/workload``.

        Raises:
            StepFailed: the access logs do not show just these; the message says what they show.
        """
        deadline = asyncio.get_running_loop().time() + PATIENCE / 4
        while True:
            found = {(str(leg.caller), str(leg.server)): leg for leg in self._legs(request)}
            if found.keys() == set(wanted):
                return [found[pair] for pair in wanted]
            if asyncio.get_running_loop().time() > deadline:
                seen = ", ".join(f"{caller} → {server}" for caller, server in found) or "nothing"
                raise StepFailed(
                    f"a request's way is {', '.join(f'{a} → {b}' for a, b in wanted)}: the access logs show {seen}"
                )
            await asyncio.sleep(0.1)

    def _legs(self, request: str) -> Iterator[Leg]:
        lines = [(stop, line) for stop, log in self._logs() for line in _lines(log)]
        mine = [(stop, line) for stop, line in lines if line.get("request_id") == request]
        served = {line["downstream_remote_address"]: (stop, line) for stop, line in mine if _is(line, "inbound")}
        passed = {line["downstream_remote_address"]: line for _, line in lines if _is(line, "gateway")}
        for caller, line in mine:
            if not _is(line, "outbound"):
                continue
            # A connection is known at both of its ends by the address that it comes from.
            address, source, name = line["upstream_host"], line["upstream_local_address"], ""
            gateway = self.gateways.get(address, "")
            if gateway:
                if source not in passed:
                    continue
                source, name = (passed[source][key] for key in ("upstream_local_address", "requested_server_name"))
            if source in served:
                server, seen = served[source]
                yield Leg(
                    caller=caller,
                    server=server,
                    address=address,
                    gateway=gateway,
                    sni=name,
                    identity=seen["downstream_peer_uri_san"] or "nobody",
                    status=seen["response_code"],
                )

    def _logs(self) -> Iterator[tuple[Stop, Path]]:
        for name, mesh in self._plane.meshes.items():
            for pod in mesh.node.pods.values():
                if pod.proxy is not None and pod.proxy.access_log.exists():
                    workload = pod.manifest["metadata"].get("labels", {}).get("app", pod.name)
                    yield Stop(name, workload), pod.proxy.access_log


def _is(line: JSONObject, direction: str) -> bool:
    return bool(line["direction"] == direction)


def _lines(log: Path) -> Iterator[JSONObject]:
    """The lines of an access log, but for one that is only half written."""
    for line in log.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield msgspec.json.decode(line)


def _page(request: str, body: JSONObject) -> Page:
    answers = {"productpage": body, "details": body.get("details"), "reviews": body.get("reviews")}
    answers["ratings"] = (answers["reviews"] or {}).get("ratings") or {"error": "nobody asked"}
    meshes: dict[str, str] = {}
    missing: dict[str, str] = {}
    for part in PARTS:
        answer = answers[part] or {}
        if "mesh" in answer:
            meshes[part] = str(answer["mesh"])
        else:
            missing[part] = str(answer.get("error", "nothing on the page"))
    return Page(request, meshes, missing)
