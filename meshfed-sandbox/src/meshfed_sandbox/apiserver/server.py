"""The embedded Kubernetes API server as its users hold it: started, addressed, disturbed on purpose, stopped."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
from aiohttp import web

from meshfed_sandbox.apiserver import behaviours, objects, roles
from meshfed_sandbox.apiserver import crds as definitions
from meshfed_sandbox.apiserver.access import Access, Use
from meshfed_sandbox.apiserver.app import BODY_LIMIT, Handler
from meshfed_sandbox.apiserver.collector import Collector
from meshfed_sandbox.apiserver.deletes import Deleter
from meshfed_sandbox.apiserver.faults import Action, Fault
from meshfed_sandbox.apiserver.podstreams import Kubelet
from meshfed_sandbox.apiserver.rbac import GROUP
from meshfed_sandbox.apiserver.resources import Registry
from meshfed_sandbox.apiserver.store import Event, Store
from meshfed_sandbox.apiserver.writes import WriteOptions, Writer
from meshfed_sandbox.ports import Ports

if TYPE_CHECKING:
    from meshfed_sandbox.apiserver.certificates import ServerCertificate

JSONObject = dict[str, Any]

Authorization = Literal["AlwaysAllow", "RBAC"]

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_OWN = WriteOptions(manager="kube-apiserver")


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT)


def _self_signed(host: str) -> ServerCertificate:
    from meshfed_sandbox.apiserver.certificates import self_signed  # noqa: PLC0415  # plain HTTP needs no cryptography

    return self_signed(host)


def _now() -> datetime:
    return datetime.now(UTC)


class Counters(msgspec.Struct, frozen=True):
    """What the server has done so far.

    ``requests`` counts by (verb, resource), such as ``("patch", "serviceentries.networking.istio.io")`` or
    ``("update", "services/status")``; ``writes`` counts changes of the store, each of which watchers saw.
    """

    requests: Counter[tuple[str, str]]
    writes: int
    watches: int


class APIServer:
    """A Kubernetes API server in this process; an async context manager.

    ``port`` 0 picks one, which it keeps over ``stop`` and ``start``. ``crds`` are installed before it answers.
    With a ``token`` every request has to carry it. With the ``authorization`` RBAC it speaks HTTPS, since clients
    send no token without it; service accounts' tokens are accepted besides ``token``, which is the administrator's (one
    is made where none is given); roles and bindings decide, and ``audit`` is kept. ``bookmark_every`` is in seconds.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        crds: Iterable[JSONObject] = (),
        token: str = "",
        authorization: Authorization = "AlwaysAllow",
        bookmark_every: float = 60.0,
    ) -> None:
        self._host = host
        self._port = port
        rbac = authorization == "RBAC"
        self._certificate = _self_signed(host) if rbac else None
        self._token = token or (secrets.token_urlsafe() if rbac else "")
        self._store = Store()
        self._registry = Registry()
        addresses = behaviours.Addresses()
        self._writer = Writer(self._store, {**behaviours.behaviours(addresses), **roles.BEHAVIOURS}, _now)
        deleter = Deleter(self._store, _now)
        self._collector = Collector(self._store, self._registry, deleter)
        self._handler = Handler(
            self._store,
            self._registry,
            writer=self._writer,
            deleter=deleter,
            access=Access(self._store, token=self._token, rbac=rbac, now=_now),
            bookmark_every=bookmark_every,
        )
        self._store.listeners.append(self._collector.follow)
        self._store.collection("", "services").listeners.add(addresses.follow)
        self._store.collection(definitions.GROUP, definitions.PLURAL).listeners.add(self._follow_crd)
        self._runner: web.ServerRunner | None = None
        self._exit = AsyncExitStack()
        self._populate()
        if rbac:
            self._govern()
        for crd in crds:
            self.install_crd(crd)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if not self._port:
                self._port = stack.enter_context(Ports()).take(self._host)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            collecting = tasks.create_task(self._collector.run(), name="collector")
            stack.callback(collecting.cancel)
            await self.start()
            stack.push_async_callback(self.stop)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._exit.__aexit__(None, None, None)

    @property
    def url(self) -> str:
        """``http://host:port``, or ``https://host:port`` with RBAC."""
        return f"{'https' if self._certificate else 'http'}://{self._host}:{self._port}"

    @property
    def ca(self) -> bytes:
        """The certificate, PEM, that it is known by; empty where it speaks plain HTTP."""
        return self._certificate.certificate if self._certificate else b""

    @property
    def token(self) -> str:
        """The administrator's token; empty where none is asked for."""
        return self._token

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token of a service account, good for an hour; ``StatusError`` 404 where there is no such account."""
        token: str = self._handler.access.tokens.request(namespace, name, {})["status"]["token"]
        return token

    @property
    def audit(self) -> Counter[Use]:
        """What was asked for and by whom, and how often, since the start; kept with RBAC only."""
        return Counter(self._handler.access.audit)

    def run_by(self, kubelet: Kubelet) -> None:
        """Ask ``kubelet``, who runs the Pods, for their logs, and have it run commands in them."""
        self._handler.kubelet = kubelet

    @property
    def counters(self) -> Counters:
        """What the server has done so far."""
        return Counters(Counter(self._handler.requests), self._store.writes, len(self._handler.watchers))

    def kubeconfig(self, name: str = "sandbox") -> JSONObject:
        """A kubeconfig with this server as cluster, user and context ``name``."""
        cluster = {"server": self.url}
        if self.ca:
            cluster["certificate-authority-data"] = base64.b64encode(self.ca).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": self._token} if self._token else {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }

    async def start(self) -> None:
        """Listen, on the same port as before."""
        server = web.Server(self._handler.handle, request_factory=_request, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        context = self._certificate.context() if self._certificate else None
        site = web.TCPSite(self._runner, self._host, self._port, reuse_address=True, ssl_context=context)
        await site.start()

    async def stop(self) -> None:
        """Stop listening and close every connection; what is stored stays."""
        self.drop_watches()
        if self._runner is not None:
            server = self._runner.server
            transports = [one.transport for one in server.connections] if server is not None else []
            await self._runner.cleanup()
            self._runner = None
            for transport in transports:
                if transport is not None:
                    transport.abort()  # else it stays until its client has read all that waits for it

    def install_crd(self, crd: JSONObject) -> None:
        """Create a CustomResourceDefinition; ``StatusError`` where it is refused."""
        resource = self._registry.find(definitions.GROUP, "v1", definitions.PLURAL)
        assert resource is not None  # noqa: S101  # built in
        copy: JSONObject = msgspec.json.decode(msgspec.json.encode(crd))
        self._writer.create(resource, "", copy, _OWN)

    def compact(self) -> None:
        """Forget past events, so that whoever resumes from before now is told 410."""
        self._store.compact()

    def drop_watches(self) -> None:
        """Cut the connection of every watch hard."""
        for watcher in tuple(self._handler.watchers):
            watcher.cut()

    def fail(
        self,
        action: Action = "refuse",
        *,
        verb: str = "",
        resource: str = "",
        name: str = "",
        status: int = 500,
        message: str = "",
        retry_after: int = 0,
        times: int = 1,
    ) -> Fault:
        """Make the next ``times`` matching requests fail; see ``Fault``. Setting its ``times`` to 0 ends it."""
        fault = Fault(
            action,
            verb=verb,
            resource=resource,
            name=name,
            status=status,
            message=message,
            retry_after=retry_after,
            times=times,
        )
        self._handler.faults = [*(old for old in self._handler.faults if old.times > 0), fault]
        return fault

    @contextmanager
    def told(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call ``listener`` in the moment in which a change is stored, of each, while the context lasts."""

        def hears(_storage: tuple[str, str], _event: Event) -> None:
            listener()

        self._store.listeners.append(hears)
        try:
            yield
        finally:
            self._store.listeners.remove(hears)

    def snapshot(self, *plurals: str) -> list[JSONObject]:
        """Every object, or those of ``plurals`` (``serviceentries`` or ``serviceentries.networking.istio.io``)."""
        found = []
        for storage, resource in sorted(self._registry.stored().items()):
            if not plurals or resource.plural in plurals or resource.qualified in plurals:
                stored = self._store.collection(*storage).items()
                found += [objects.from_stored(resource, item.copy()) for item in stored]
        return found

    def _populate(self) -> None:
        namespaces = self._registry.find("", "v1", "namespaces")
        assert namespaces is not None  # noqa: S101  # built in
        for name in _NAMESPACES:
            self._writer.create(namespaces, "", {"metadata": {"name": name}}, _OWN)

    def _govern(self) -> None:
        """Make the roles that every cluster has, and keep those made of others up to date."""
        for plural, obj in roles.bootstrap():
            resource = self._registry.find(GROUP, "v1", plural)
            assert resource is not None  # noqa: S101  # built in
            self._writer.create(resource, "", obj, _OWN)
        cluster_roles = self._registry.find(GROUP, "v1", "clusterroles")
        assert cluster_roles is not None  # noqa: S101  # built in
        aggregator = roles.Aggregator(self._store, self._writer, cluster_roles)
        self._store.collection(GROUP, "clusterroles").listeners.add(aggregator.follow)

    def _follow_crd(self, event: Event) -> None:
        before, after = (stored.object["spec"] if stored else None for stored in (event.before, event.after))
        if before == after:
            return
        if before is not None:
            self._registry.remove(before["group"], before["names"]["plural"])
        if event.after is not None:
            self._registry.add(definitions.resources(event.after.object))
