"""HTTP: from a request to the read, write or watch it asks for, and from what comes of it to an answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from meshfed_sandbox.apiserver import (
    discovery,
    errors,
    openapi,
    podstreams,
    reads,
    rendering,
    requests,
    reviews,
    scales,
)
from meshfed_sandbox.apiserver.access import Access
from meshfed_sandbox.apiserver.causes import Cause, forbidden, not_supported, required
from meshfed_sandbox.apiserver.deletes import DeleteOptions, Deleter
from meshfed_sandbox.apiserver.errors import StatusError
from meshfed_sandbox.apiserver.faults import Fault
from meshfed_sandbox.apiserver.identities import User
from meshfed_sandbox.apiserver.rbac import Attributes
from meshfed_sandbox.apiserver.rendering import JSON, Form
from meshfed_sandbox.apiserver.requests import Target
from meshfed_sandbox.apiserver.resources import Registry
from meshfed_sandbox.apiserver.store import Key, Store, Stored
from meshfed_sandbox.apiserver.watching import Watcher
from meshfed_sandbox.apiserver.writes import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, WriteOptions, Writer

JSONObject = dict[str, Any]

_encode: Final = msgspec.json.Encoder().encode
BODY_LIMIT: Final = 3 * 1024 * 1024
"""How many bytes a request's body may have."""
_NO_QUERY: Final[Mapping[str, str]] = {}
_HEALTH: Final = frozenset({"/healthz", "/livez", "/readyz"})
_PROPAGATIONS: Final = ("", "Background", "Foreground", "Orphan")


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteBody(msgspec.Struct, rename="camel"):
    """DeleteOptions as clients send them; the grace period means nothing where nothing runs."""

    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: _Preconditions | None = None
    dry_run: list[str] | None = None


def _json(body: bytes, code: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=code, content_type=JSON, headers=headers)


class Handler:
    """Answers requests about ``store``; ``watchers`` are the watches now open, ``faults`` what tests injected."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        writer: Writer,
        deleter: Deleter,
        access: Access,
        bookmark_every: float,
    ) -> None:
        self.store = store
        self.registry = registry
        self.writer = writer
        self.deleter = deleter
        self.watchers: set[Watcher] = set()
        self.faults: list[Fault] = []
        self.requests: Counter[tuple[str, str]] = Counter()
        self.access = access
        self.kubelet: podstreams.Kubelet | None = None
        self._bookmark_every = bookmark_every
        self._openapi = openapi.Documents(registry)
        self._verbs: dict[
            str, Callable[[web.BaseRequest, Target, Mapping[str, str]], Awaitable[web.StreamResponse]]
        ] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        query = request.query if request.query_string else _NO_QUERY
        try:
            user = self.access.admit(request.method, request.path, query, request.headers)
            return await self._routed(request, query, user)
        except StatusError as error:
            return _refusal(error)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request entity too large: limit is {BODY_LIMIT}"
            return _refusal(StatusError(413, "RequestEntityTooLarge", message))

    async def _routed(self, request: web.BaseRequest, query: Mapping[str, str], user: User) -> web.StreamResponse:
        where = requests.target(self.registry, request.path, user)
        if where is None:
            return self._static(request, query)
        verb = requests.verb(request.method, where, watch=reads.flag(query, "watch"))
        name = where.resource.qualified + (f"/{where.subresource}" if where.subresource else "")
        self.requests[verb, name] += 1
        fault = next((fault for fault in self.faults if fault.strikes(verb, name, where.name)), None)
        if fault is not None:
            await self._suffer(fault, request)
        if verb == "watch":
            return await self._watch(request, where, query, half_line=fault is not None)
        return await self._verbs[verb](request, where, query)

    async def _suffer(self, fault: Fault, request: web.BaseRequest) -> None:
        if fault.action == "refuse":
            raise fault.error()
        if fault.action == "hang":
            await asyncio.get_running_loop().create_future()
        if fault.action == "drop" and request.transport is not None:
            request.transport.abort()
            raise asyncio.CancelledError

    def _static(self, request: web.BaseRequest, query: Mapping[str, str]) -> web.StreamResponse:
        """What is not about a resource: health, version, discovery, OpenAPI."""
        path, accept = request.path.rstrip("/"), request.headers.get("Accept", "")
        if path in _HEALTH:
            return web.Response(text="ok")
        if path == "/version":
            return _json(_encode(discovery.VERSION))
        if path.startswith("/openapi/"):
            return self._openapi.answer(path, query)
        if path in {"/api", "/apis"} and "as=APIGroupDiscoveryList" in accept and "v=v2" in accept:
            body = _encode(discovery.aggregated(self.registry, core=path == "/api"))
            return web.Response(body=body, headers={"Content-Type": discovery.AGGREGATED, "Vary": "Accept"})
        found = self._discovered(path, request.host)
        if found is not None:
            return _json(_encode(found))
        if self.registry.is_builtin_group(path):
            raise errors.no_such_resource()
        return web.Response(text="404 page not found\n", status=404)

    def _discovered(self, path: str, address: str) -> JSONObject | None:
        match path.split("/")[1:]:
            case ["api"]:
                return discovery.core_versions(address)
            case ["apis"]:
                return discovery.group_list(self.registry)
            case ["apis", group]:
                return discovery.group(self.registry, group)
            case ["api", version]:
                return discovery.resource_list(self.registry, "", version)
            case ["apis", group, version]:
                return discovery.resource_list(self.registry, group, version)
        return None

    async def _get(self, request: web.BaseRequest, where: Target, query: Mapping[str, str]) -> web.StreamResponse:
        form = _form(request, query)
        if where.subresource == podstreams.PROXY:
            pod, _, port = where.name.partition(":")
            found = self._find(where._replace(name=pod))
            return await podstreams.proxied(self.kubelet, found.object, port, where.rest, request)
        stored = self._find(where)
        if where.subresource == requests.SCALE:
            return _json(_encode(scales.scale(where.resource, stored)))
        if where.subresource in {podstreams.EXEC, podstreams.LOG}:
            return await podstreams.answer(self.kubelet, stored.object, where.subresource, request, query)
        wanted = query.get("resourceVersion", "")
        if wanted.isdigit() and int(wanted) > self.store.version:
            raise errors.too_large_version(int(wanted), self.store.version)
        return _json(form.one(where.resource, stored))

    def _find(self, where: Target) -> Stored:
        resource = where.resource
        stored = self.store.collection(*resource.storage).get(Key(where.namespace, where.name))
        if stored is None:
            raise errors.not_found(resource.group, resource.plural, where.name)
        return stored

    async def _list(self, request: web.BaseRequest, where: Target, query: Mapping[str, str]) -> web.StreamResponse:
        form, options = _form(request, query), reads.list_options(where.resource, query)
        page = reads.page(self.store.collection(*where.resource.storage), where.namespace, options)
        return _json(form.many(where.resource, page.items, page.meta))

    async def _watch(
        self, request: web.BaseRequest, where: Target, query: Mapping[str, str], *, half_line: bool = False
    ) -> web.StreamResponse:
        form = _form(request, query)
        options = reads.list_options(where.resource, query, where.name)
        collection = self.store.collection(*where.resource.storage)
        watcher = Watcher(where.resource, form, namespace=where.namespace, selects=options.selects, half_line=half_line)
        watcher.begin(collection, options)
        collection.listeners.add(watcher.offer)
        self.watchers.add(watcher)
        try:
            return await watcher.run(
                request,
                collection,
                lifetime=options.timeout or random.uniform(1800, 3600),  # noqa: S311  # spreads reconnects
                bookmark_every=self._bookmark_every if options.bookmarks else 0,
            )
        except ConnectionError:
            # The client left, or was cut off; there is nobody to answer.
            raise asyncio.CancelledError from None
        finally:
            collection.listeners.discard(watcher.offer)
            self.watchers.discard(watcher)

    async def _create(self, request: web.BaseRequest, where: Target, query: Mapping[str, str]) -> web.StreamResponse:
        form, options = _form(request, query), _write_options(request, query)
        obj = await _body(request, where)
        if where.subresource == requests.TOKEN:
            return _json(_encode(self.access.tokens.request(where.namespace, where.name, obj)), 201)
        review = reviews.answer(self.access, where.user, where.resource, obj)
        if review is not None:
            return _json(_encode(review), 201)
        self._require_custom_host(where, obj)
        outcome = self.writer.create(where.resource, where.namespace, obj, options)
        return _written(form, where, outcome.stored, 201, outcome.warnings)

    async def _update(self, request: web.BaseRequest, where: Target, query: Mapping[str, str]) -> web.StreamResponse:
        form, options = _form(request, query), _write_options(request, query)
        obj = await _body(request, where)
        key = Key(where.namespace, where.name)
        if where.subresource == requests.SCALE:
            return self._scaled(where, obj, options)
        if where.resource.create_on_update:
            self._require_create(where)
        self._require_custom_host(where, obj)
        outcome = self.writer.replace(where.resource, key, obj, options, subresource=where.subresource)
        return _written(form, where, outcome.stored, 201 if outcome.created else 200, outcome.warnings)

    def _require_create(self, where: Target) -> None:
        """A write that brings about what is not there needs the permission to create it besides its own."""
        resource, key = where.resource, Key(where.namespace, where.name)
        if not where.subresource and self.store.collection(*resource.storage).get(key) is None:
            asked = Attributes(
                verb="create",
                group=resource.group,
                resource=resource.plural,
                namespace=where.namespace,
                name=where.name,
            )
            self.access.require(where.user, asked)

    def _require_custom_host(self, where: Target, obj: JSONObject) -> None:
        """Stating a Route's host, rather than have OpenShift make one up, needs a permission of its own."""
        resource = where.resource
        if (resource.group, resource.plural, where.subresource) != ("route.openshift.io", "routes", ""):
            return
        name = where.name or str((obj.get("metadata") or {}).get("name", ""))
        live = self.store.collection(*resource.storage).get(Key(where.namespace, name))
        hosts = [(one.get("spec") or {}).get("host") for one in (obj, live.object if live is not None else {})]
        if hosts[0] and hosts[0] != hosts[1]:
            asked = Attributes(
                verb="create" if live is None else "update",
                group=resource.group,
                resource=resource.plural,
                subresource="custom-host",
                namespace=where.namespace,
                name=name,
            )
            self.access.require(where.user, asked)

    async def _patch(self, request: web.BaseRequest, where: Target, query: Mapping[str, str]) -> web.StreamResponse:
        form, options, media = _form(request, query), _write_options(request, query), _media(request)
        patch = requests.decoded_patch(await request.read(), media, where.resource)
        key = Key(where.namespace, where.name)
        if where.subresource == requests.SCALE:
            if media == APPLY_PATCH:
                raise errors.unsupported_media_type((JSON_PATCH, MERGE_PATCH))
            live = scales.scale(where.resource, self._find(where))
            return self._scaled(where, scales.patched(live, patch), options)
        if media == APPLY_PATCH:
            if not query.get("fieldManager"):
                raise _invalid_options(required("fieldManager", "is required for apply patch"))
            self._require_create(where)
            outcome = self.writer.apply(where.resource, key, patch, options, subresource=where.subresource)
        elif "force" in query:
            raise _invalid_options(forbidden("force", "may not be specified for non-apply patch"))
        else:
            outcome = self.writer.patch(where.resource, key, media, patch, options, subresource=where.subresource)
        return _written(form, where, outcome.stored, 201 if outcome.created else 200, outcome.warnings)

    def _scaled(self, where: Target, wanted: JSONObject, options: WriteOptions) -> web.StreamResponse:
        key, patch = Key(where.namespace, where.name), scales.as_patch(where.name, wanted)
        outcome = self.writer.patch(where.resource, key, MERGE_PATCH, patch, options)
        return _json(_encode(scales.scale(where.resource, outcome.stored)))

    async def _delete(self, request: web.BaseRequest, where: Target, query: Mapping[str, str]) -> web.StreamResponse:
        resource, options = where.resource, _delete_options(await _optional_body(request), query)
        form = _form(request, query)
        deletion = self.deleter.delete(resource, Key(where.namespace, where.name), options)
        if not deletion.gone or resource.returns_deleted:
            return _json(form.one(resource, deletion.stored))
        details: JSONObject = {"name": where.name, "group": resource.group, "kind": resource.plural}
        details["uid"] = deletion.stored.uid
        if not resource.group:
            del details["group"]
        return _json(
            _encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
        )

    async def _delete_collection(
        self, request: web.BaseRequest, where: Target, query: Mapping[str, str]
    ) -> web.StreamResponse:
        resource, options = where.resource, _delete_options(await _optional_body(request), query)
        form = _form(request, query)
        page = reads.page(
            self.store.collection(*resource.storage), where.namespace, reads.list_options(resource, query)
        )
        deleted = [self.deleter.delete(resource, stored.key, options).stored for stored in page.items]
        return _json(form.many(resource, deleted, {"resourceVersion": str(self.store.version)}))


def _form(request: web.BaseRequest, query: Mapping[str, str]) -> Form:
    return rendering.negotiated(request.headers.get("Accept", "*/*"), query.get("includeObject", ""))


def _write_options(request: web.BaseRequest, query: Mapping[str, str]) -> WriteOptions:
    dry_run = query.get("dryRun", "")
    if dry_run not in {"", "All"}:
        raise _invalid_options(not_supported("dryRun", dry_run, ["All"]))
    return WriteOptions(
        manager=requests.manager(query, request.headers.get("User-Agent", "")),
        dry_run=bool(dry_run),
        validation=query.get("fieldValidation") or "Warn",
        force=reads.flag(query, "force"),
    )


def _invalid_options(cause: Cause) -> StatusError:
    return errors.InvalidError("meta.k8s.io", "PatchOptions", "", [cause])


def _delete_options(body: Any, query: Mapping[str, str]) -> DeleteOptions:
    try:
        given = msgspec.convert(body, _DeleteBody)
    except msgspec.ValidationError as error:
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type DeleteOptions): {error}"
        ) from error
    propagation = query.get("propagationPolicy") or given.propagation_policy or ""
    if query.get("orphanDependents") == "true" or given.orphan_dependents:
        propagation = "Orphan"
    preconditions = given.preconditions or _Preconditions()
    if propagation not in _PROPAGATIONS:
        cause = not_supported("propagationPolicy", propagation, ["Foreground", "Background", "Orphan", "nil"])
        raise errors.InvalidError("meta.k8s.io", "DeleteOptions", "", [cause])
    return DeleteOptions(
        propagation=propagation,
        uid=preconditions.uid or "",
        version=preconditions.resource_version or "",
        dry_run=bool(query.get("dryRun") or given.dry_run),
    )


def _media(request: web.BaseRequest) -> str:
    """The body's media type; empty where nobody says, for which aiohttp would have a guess of its own."""
    return request.content_type if "Content-Type" in request.headers else ""


async def _body(request: web.BaseRequest, where: Target) -> Any:
    return requests.decoded(await request.read(), _media(request), where.resource.kind)


async def _optional_body(request: web.BaseRequest) -> Any:
    body = await request.read()
    return requests.decoded(body, _media(request), "DeleteOptions") if body else {}


def _written(form: Form, where: Target, stored: Stored, code: int, warnings: tuple[str, ...]) -> web.Response:
    response = _json(form.one(where.resource, stored), code)
    for warning in warnings:
        text = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{text}"')
    return response


def _refusal(error: StatusError) -> web.Response:
    headers = {}
    if error.details and "retryAfterSeconds" in error.details:
        headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return _json(_encode(error.status()), error.code, headers)
