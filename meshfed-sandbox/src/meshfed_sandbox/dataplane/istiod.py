"""The control plane of one mesh: it watches what istiod would, and tells each proxy what follows for it.

An update that cannot be worked out, or that a proxy refuses, changes nothing: the proxy keeps what it has, and the
problem is said aloud.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from meshfed.kube import Client, KubeError
from meshfed_sandbox.dataplane.controllers import now
from meshfed_sandbox.dataplane.discovery import DiscoveryServer
from meshfed_sandbox.dataplane.dns import Hosts, Resolver
from meshfed_sandbox.dataplane.proxy import Proxy, ProxyEnded, Rejected
from meshfed_sandbox.dataplane.translate import Mesh, bootstrap, configuration, names, read_mesh, warnings_of
from meshfed_sandbox.dataplane.trust import Trust
from meshfed_sandbox.dataplane.values import MeshSettings, ProxyConfig, Untranslatable
from meshfed_sandbox.dataplane.watch import EVENT, KINDS, SERVICE_ENTRY, Watch

JSONObject = dict[str, Any]

_log = logging.getLogger(__name__)
_PAUSE: Final = 0.03
"""Seconds for which changes are gathered, as istiod's debouncing does."""
_ROTATION_PERIOD: Final = 1.0
_SUBJECT: Final = re.compile(r"(?P<kind>[A-Z]\w+) (?:(?P<namespace>[a-z0-9-]+)/)?(?P<name>[a-z0-9.-]*[a-z0-9])")
_ALL: Final = "all proxies"
_IGNORED: Final = "istiod"
_QUIET: Final = frozenset({"Deployment", "Job", "Route"})
"""Kinds of which no proxy is told."""


class Problem(msgspec.Struct, frozen=True):
    """Something that a proxy could not be told, or that befell it.

    ``proxy`` is the Pod's ``namespace/name``, or says that it is all of them, or istiod, which leaves something out.
    """

    mesh: str
    proxy: str
    message: str

    def __str__(self) -> str:
        return f"{self.mesh}: {self.proxy}: {self.message}"


class ControlPlane:
    """Tells the proxies of one mesh what they have to know. ``problem`` is called once with each that arises.

    ``outside`` are the DNS names that sidecars pass on, since the mesh does not know them.
    """

    def __init__(
        self,
        settings: MeshSettings,
        *,
        client: Client,
        watch: Watch,
        trust: Trust,
        sockets: Path,
        outside: Hosts,
        problem: Callable[[Problem], None],
    ) -> None:
        self.settings = settings
        self._client = client
        self._watch = watch
        self._trust = trust
        self._sockets = sockets
        self._socket_count = 0
        self._discovery = DiscoveryServer(sockets / f"{settings.name}-xds")
        self._outside = outside
        self._problem = problem
        self._mesh: Mesh | None = None
        self._names: dict[str, Mapping[str, tuple[str, ...]]] = {}
        self._standing: set[tuple[str, str]] = set()
        self._proxies: dict[str, Proxy] = {}
        self._renew_at: dict[str, datetime] = {}
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        watch.subscribe(self._notice)

    @property
    def proxies(self) -> dict[str, Proxy]:
        """The proxies that run, by ``namespace/name`` of their Pods."""
        return dict(self._proxies)

    def admin_socket(self) -> Path:
        """A path for the admin socket of another proxy."""
        self._socket_count += 1
        return self._sockets / f"{self.settings.name}-{self._socket_count}"

    def _notice(self, kind: str) -> None:
        if kind not in _QUIET:
            self._idle.clear()
            self._changed.set()

    async def run(self) -> None:
        """Keep every proxy current until cancelled."""
        await self._watch.synced()
        self._changed.set()
        async with self._discovery.serving(), asyncio.TaskGroup() as group:
            group.create_task(self._keep_certificates())
            while True:
                await self._changed.wait()
                await asyncio.sleep(_PAUSE)
                self._changed.clear()
                await self._tell_all()
                if not self._changed.is_set():
                    self._idle.set()

    async def settled(self) -> None:
        """Wait until every proxy has taken what follows from all that was seen so far."""
        await self._idle.wait()

    async def _tell_all(self) -> None:
        mesh = self._read()
        if mesh is None:
            return
        work = []
        for proxy in self._proxies.values():
            config = self._translated(mesh, proxy)
            if config is not None:
                work.append(self._tell(proxy, config))
        await asyncio.gather(*work, self._show_addresses(mesh))

    async def _show_addresses(self, mesh: Mesh) -> None:
        """Write which addresses hosts got into the status of their ServiceEntries, as istiod's ``IPAllocator`` does."""
        given = {each.host: each.allocated for each in mesh.registry.services if each.allocated}
        for entry in self._watch.all("ServiceEntry"):
            hosts = entry["spec"].get("hosts") or ()
            addresses = [{"host": host, "value": given[host.lower()]} for host in hosts if host.lower() in given]
            if addresses and (entry.get("status") or {}).get("addresses") != addresses:
                name, namespace = entry["metadata"]["name"], entry["metadata"]["namespace"]
                with contextlib.suppress(KubeError):  # it is gone, or the next change repeats this
                    await self._client.patch_status(SERVICE_ENTRY, name, {"addresses": addresses}, namespace=namespace)

    def _read(self) -> Mesh | None:
        """The mesh as its objects describe it; ``None`` where one of them is beyond this control plane."""
        try:
            mesh = read_mesh(self.settings, self._watch.objects(KINDS - _QUIET))
            warned = warnings_of(mesh)
        except Untranslatable as error:
            self._complain(_ALL, str(error), "Untranslatable")
            return None
        self._mesh = mesh
        self._names.clear()
        self._settle(_ALL)
        self._standing = {(of, message) for of, message in self._standing if of != _IGNORED or message in warned}
        for warning in warned:
            self._complain(_IGNORED, warning, "Ignored")
        return mesh

    def _translated(self, mesh: Mesh, proxy: Proxy) -> ProxyConfig | None:
        try:
            return configuration(mesh, proxy.identity, proxy.files)
        except Untranslatable as error:
            self._complain(_name(proxy), str(error), "Untranslatable")
            return None

    async def _tell(self, proxy: Proxy, config: ProxyConfig) -> None:
        try:
            await proxy.update(config)
        except Rejected as error:
            self._complain(_name(proxy), str(error), "Rejected")
        except ProxyEnded as error:
            _log.info("%s", error)  # its Pod sees to it
        else:
            self._settle(_name(proxy))

    # --- proxies

    @asynccontextmanager
    async def serving(self, proxy: Proxy) -> AsyncIterator[None]:
        """Start a proxy, keep it current while the context lasts, and stop it.

        Raises:
            Rejected, ProxyEnded: as ``Proxy.start``, also where there is nothing to start it with.
        """
        await self._watch.synced()
        mesh = self._read()
        config = self._translated(mesh, proxy) if mesh is not None else None
        if config is None:
            raise Rejected("there is no configuration to start it with; see the event Untranslatable")
        self._issue(proxy)
        made = bootstrap(proxy.identity, directory=str(proxy.directory), admin=proxy.admin)
        name = _name(proxy)
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(self._discovery.feeding(made["node"]["id"], proxy.feed))
                if proxy.identity.dns_port:
                    resolver = Resolver(partial(self._hosts, proxy), cluster_domain=self.settings.cluster_domain)
                    await stack.enter_async_context(resolver.serving(proxy.identity.address, proxy.identity.dns_port))
                # It ends before its feed does: what it asks after that is answered as if it had refused something.
                stack.push_async_callback(proxy.stop)
                await proxy.start(self._discovery.bootstrap(made), config)
                self._proxies[name] = proxy
                self._notice("Pod")  # what changed while it started
                yield
        finally:
            self._proxies.pop(name, None)
            self._renew_at.pop(name, None)

    def _hosts(self, proxy: Proxy) -> Mapping[str, tuple[str, ...]]:
        """What the sidecar answers where its application asks for a name, as istio-agent does."""
        name = _name(proxy)
        if name not in self._names and self._mesh is not None:
            self._names[name] = names(self._mesh, proxy.identity)
        return {**self._outside(), **self._names.get(name, {})}

    # --- certificates

    def rotate(self) -> None:
        """Give every proxy a new key and certificate now."""
        for proxy in self._proxies.values():
            self._issue(proxy)

    def _issue(self, proxy: Proxy) -> None:
        identity = proxy.identity
        credential = self._trust.issue(self.settings.name, identity.namespace, identity.service_account)
        for response in (self._trust.secret(credential), self._trust.roots(self.settings.name)):
            proxy.tell_secret(response["resources"][0])
        self._renew_at[_name(proxy)] = credential.renew_at

    async def _keep_certificates(self) -> None:
        while True:
            await asyncio.sleep(_ROTATION_PERIOD)
            for name, proxy in self._proxies.items():
                if self._renew_at[name] <= datetime.now(UTC):
                    self._issue(proxy)

    # --- problems

    def complain(self, namespace: str, pod: str, message: str) -> None:
        """Say aloud what befell the proxy of a Pod."""
        self._problem(Problem(self.settings.name, f"{namespace}/{pod}", message))

    def _settle(self, name: str) -> None:
        """What was said of a proxy holds no more; should it come again, it is said again."""
        self._standing = {(of, message) for of, message in self._standing if of != name}

    def _complain(self, name: str, message: str, reason: str) -> None:
        if (name, message) in self._standing:
            return
        self._standing.add((name, message))
        self._problem(Problem(self.settings.name, name, message))
        task = asyncio.create_task(self._event(name, message, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _event(self, proxy: str, message: str, reason: str) -> None:
        """Write a Warning on the object that ``message`` names first, or on the Pod."""
        subject = _SUBJECT.match(message)
        kind, namespace, name = subject.group("kind", "namespace", "name") if subject else ("", "", "")
        obj = self._watch.get(kind, namespace or "", name) if self._watch.knows(kind) else None
        obj = obj or self._watch.get("Pod", *proxy.rpartition("/")[::2])
        if obj is None:
            return
        metadata = obj["metadata"]
        place, time = metadata.get("namespace") or "default", now()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": place},
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata["uid"],
            },
            "type": "Warning",
            "reason": reason,
            "message": f"{proxy}: {message}"[:1024],
            "source": {"component": "istiod"},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
        try:
            await self._client.create(EVENT, event)
        except KubeError as error:
            _log.warning("an event cannot be written: %s", error)


def _name(proxy: Proxy) -> str:
    return f"{proxy.identity.namespace}/{proxy.identity.pod}"
