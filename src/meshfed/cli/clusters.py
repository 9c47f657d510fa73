"""Where commands look: which clusters, or files, and what they hold."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec
from cyclopts import Parameter

from meshfed.cli.exits import BadInput, OutOfReach
from meshfed.model.installation import API_GROUP, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from meshfed.cli.kinds import Wanted
    from meshfed.kube import Client, ClusterConfig, Resource, ServedAPIs
    from meshfed.views.snapshot import Document, Server, Snapshot, Unreached

T = TypeVar("T")


@Parameter(name="*")
@dataclass(frozen=True)
class InClusters:
    """Which clusters to look at."""

    kubeconfig: str | None = None
    """The kubeconfig file. Without it: $KUBECONFIG, then the pod's service account, then ~/.kube/config."""
    context: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = ()
    """The kubeconfig's context to use; may be given several times, to see several meshes side by side."""
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None
    """The controller's namespace, where the MeshFederation and RemoteMeshes are. Without it, the one that has a
    MeshFederation.
    """
    request_timeout: str = "20s"
    """How long a cluster has to answer, such as 5s or 1m."""


@Parameter(name="*")
@dataclass(frozen=True)
class One:
    """Which cluster to look at, for commands that are of one mesh."""

    kubeconfig: str | None = None
    """The kubeconfig file. Without it: $KUBECONFIG, then the pod's service account, then ~/.kube/config."""
    context: str | None = None
    """The kubeconfig's context to use."""
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None
    """The controller's namespace, where the MeshFederation and RemoteMeshes are. Without it, the one that has a
    MeshFederation.
    """
    request_timeout: str = "20s"
    """How long the cluster has to answer, such as 5s or 1m."""

    @property
    def where(self) -> Where:
        """The same, for who looks at any number of clusters."""
        contexts = (self.context,) if self.context is not None else ()
        return Where(self.kubeconfig, contexts, self.namespace, request_timeout=self.request_timeout)


@Parameter(name="*")
@dataclass(frozen=True)
class Where(InClusters):
    """Which clusters, or reports of what they held, to look at."""

    file: Annotated[tuple[str, ...], Parameter(name=["--file", "-f"], negative="", show_default=False)] = ()
    """A report of `meshfed report` to look at, in place of a cluster; may be given several times."""


Seen = tuple[tuple["Snapshot", ...], tuple["Unreached", ...]]
"""What was read, and what could not be reached."""


def look(
    where: InClusters, wanted: Sequence[Wanted], *, mesh_config_map: str | None = None, trust_bundle: str | None = None
) -> Seen:
    """Read ``wanted`` from every cluster, at the same time; one that does not answer blocks no other.

    Where they are named, the ConfigMaps with Istio's configuration and with the roots that a mesh trusts are read too.
    Raises ``BadInput`` where a kubeconfig cannot be used.
    """
    import asyncio

    if isinstance(where, Where) and where.file:
        return reported(where), ()
    return asyncio.run(
        look_at(clusters(where), where, wanted, mesh_config_map=mesh_config_map, trust_bundle=trust_bundle)
    )


def look_at_one(
    one: One, wanted: Sequence[Wanted], *, mesh_config_map: str | None = None, trust_bundle: str | None = None
) -> Snapshot:
    """Read ``wanted`` from one cluster, and say what may not be seen.

    Raises ``OutOfReach`` where it does not answer.
    """
    from meshfed.cli.output import say

    seen, unreached = look(one.where, wanted, mesh_config_map=mesh_config_map, trust_bundle=trust_bundle)
    if unreached:
        raise OutOfReach(f"{unreached[0].source}: not reached: {unreached[0].why}")
    for why in (*seen[0].unread.values(), *seen[0].not_understood()):
        say(f"not seen: {why}")
    return seen[0]


def settled(one: One, seen: Snapshot) -> One:
    """Return the cluster that was ``seen`` by its name, so that what is written goes there and nowhere else.

    The current context of a kubeconfig may change meanwhile.
    """
    from meshfed.kube import ConfigError, contexts

    try:
        known = contexts(one.kubeconfig, os.environ)
    except ConfigError:
        return one
    return replace(one, context=seen.source) if seen.source in known else one


def reported(where: Where) -> tuple[Snapshot, ...]:
    """Return what reports tell; raises ``BadInput``."""
    if where.context or where.kubeconfig:
        raise BadInput("--file looks at reports, and --context and --kubeconfig at clusters: give either")
    return tuple(snapshot for name in where.file for snapshot in read_report(name))


def read_report(name: str) -> tuple[Snapshot, ...]:
    """Return what the clusters held that a report tells of; raises ``BadInput``."""
    from pathlib import Path

    from meshfed.api.errors import InvalidInput
    from meshfed.views.bundles import MOST_BYTES, unpacked

    try:
        with Path(name).open("rb") as file:
            archive = file.read(MOST_BYTES + 1)
        if len(archive) > MOST_BYTES:
            raise BadInput(f"-f {name}: it has more than {MOST_BYTES} bytes, which no report has")
        return unpacked(archive, name)
    except OSError as error:
        raise BadInput(f"-f {name}: {error.strerror}") from error
    except InvalidInput as error:
        raise BadInput(f"-f {error}") from error


def clusters(where: InClusters) -> tuple[tuple[str, ClusterConfig], ...]:
    """Return each cluster under the name that a person knows it by; raises ``BadInput``."""
    from meshfed.kube import ConfigError, detect

    repeated = next((one for one in where.context if where.context.count(one) > 1), None)
    if repeated is not None:
        raise BadInput(f"--context {repeated} is given twice")
    try:
        found = [(one, detect(environ=os.environ, path=where.kubeconfig, context=one)) for one in where.context]
        if found:
            return tuple(found)
        config = detect(environ=os.environ, path=where.kubeconfig)
    except ConfigError as error:
        raise BadInput(str(error)) from error
    return ((config.context or config.server, config),)


async def look_at(
    found: Sequence[tuple[str, ClusterConfig]],
    where: InClusters,
    wanted: Sequence[Wanted],
    *,
    mesh_config_map: str | None = None,
    trust_bundle: str | None = None,
) -> Seen:
    """Read ``wanted`` from the clusters that were ``found``."""
    import asyncio

    from meshfed.cli.arguments import duration

    seconds = duration("--request-timeout", where.request_timeout, some=True)
    answers = await asyncio.gather(
        *(
            ask(
                source,
                config,
                seconds,
                lambda client, source=source: read(  # type: ignore[misc] # bound now
                    client,
                    source,
                    where.namespace,
                    wanted,
                    mesh_config_map=mesh_config_map,
                    trust_bundle=trust_bundle,
                ),
            )
            for source, config in found
        )
    )
    from meshfed.views.snapshot import Unreached  # once the clusters were asked, as all that shows what they hold

    return (
        tuple(one for one in answers if not isinstance(one, Unreached)),
        tuple(one for one in answers if isinstance(one, Unreached)),
    )


async def ask(
    source: str, config: ClusterConfig, seconds: float, read_from: Callable[[Client], Awaitable[T]]
) -> T | Unreached:
    """Return what ``read_from`` makes of a cluster, or why that did not answer within ``seconds``."""
    import asyncio

    from meshfed.kube import Client, KubeError, Unauthorized

    try:
        async with Client(config) as client, asyncio.timeout(seconds):
            return await read_from(client)
    except TimeoutError:
        why = f"{config.server} did not answer in {seconds:g} s"
    except Unauthorized as error:
        remedy = "the credentials of this context are not accepted: log in again, or renew its token"
        why = f"{config.server}: {error}: {remedy}"
    except KubeError as error:
        why = str(error)
    from meshfed.views.snapshot import Unreached

    return Unreached(source, why)


async def read(
    client: Client,
    source: str,
    namespace: str | None,
    wanted: Sequence[Wanted],
    *,
    mesh_config_map: str | None = None,
    trust_bundle: str | None = None,
) -> Snapshot:
    """Read ``wanted`` from one cluster. What may not be read is named in the snapshot; raises ``KubeError``."""
    import asyncio

    from meshfed.kube import discover

    served, server = await asyncio.gather(discover(client), _server(client))
    place = namespace or await installed_in(client, served)
    found = await asyncio.gather(*(_list(client, served, one, place) for one in wanted))
    objects = [document for documents, _ in found for document in documents]
    unread = {one.kind: why for one, (_, why) in zip(wanted, found, strict=True) if why}
    places = {(control_plane, mesh_config_map) for control_plane in control_planes(objects)}
    for at, name in sorted((*(places if mesh_config_map else ()), *([(place, trust_bundle)] if trust_bundle else ()))):
        objects += await config_map(client, at, name, unread)
    from meshfed.views.snapshot import Snapshot

    return Snapshot(source, place, now(server), tuple(objects), unread, server)


def now(server: Server) -> datetime:
    """The time by the clock of that API server, or by the one here where that is all there is."""
    return datetime.now(UTC) + timedelta(seconds=server.clock.ahead if server.clock is not None else 0.0)


async def _server(client: Client) -> Server:
    """What the API server says of itself, as far as it does."""
    from meshfed.kube import APIError

    asked = datetime.now(UTC)
    try:
        answer = await client.fetch("/version")
    except APIError:
        answer = None
    answered = datetime.now(UTC)
    from meshfed.views.snapshot import Clock, Server

    if answer is None:
        return Server()
    clock = Clock.read(answer.date, asked, answered)
    try:
        return Server(str(msgspec.json.decode(answer.body, type=dict[str, object]).get("gitVersion", "")), clock)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Server("", clock)


async def installed_in(client: Client, served: ServedAPIs) -> str:
    """Return the namespace that has a MeshFederation; raises ``BadInput`` where several have."""
    from meshfed.kube import Forbidden

    resource = served.find(API_GROUP, "MeshFederation")
    if resource is None:
        return NAMESPACE
    try:
        found = sorted({one["metadata"]["namespace"] for one in await client.list(resource)})
    except Forbidden:
        return NAMESPACE
    if len(found) > 1:
        raise BadInput(f"there are MeshFederations in the namespaces {', '.join(found)}: choose one with --namespace")
    return found[0] if found else NAMESPACE


async def _list(
    client: Client, served: ServedAPIs, wanted: Wanted, namespace: str
) -> tuple[Sequence[Document], Literal[""] | str]:
    """Return the objects of a kind; where they cannot be had, none, and why in words."""
    from meshfed.kube import Forbidden, NotFound

    resource = served.find(wanted.group, wanted.kind)
    if resource is None:
        group = f".{wanted.group}" if wanted.group else ""
        return (), "" if wanted.optional else f"the cluster does not serve {wanted.kind}{group}"
    place = None if wanted.everywhere else namespace
    try:
        found = await client.list(resource, namespace=place, label_selector=wanted.selector)
        return [as_object(one, resource) for one in found], ""
    except Forbidden:
        return (), forbidden(resource, place)
    except NotFound:
        return (), f"the cluster does not serve {resource} any more"


def as_object(found: Document, resource: Resource, name: str = "") -> Document:
    """Return an answer of an API server as the object that it is; raises ``MalformedAnswer`` where it is none.

    It is the one of that ``name``, where one was asked for.
    """
    from meshfed.kube import MalformedAnswer

    metadata = found.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise MalformedAnswer(f"the server's answer is not what the API promises: one of {resource} has no name")
    if name and metadata["name"] != name:
        raise MalformedAnswer(f"the server answers with {metadata['name']!r} of {resource} where {name} was asked for")
    return {"apiVersion": resource.api_version, "kind": resource.kind} | found


def forbidden(resource: Resource, namespace: str | None) -> str:
    """Return in words that a kind may not be listed."""
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    return f"you may not list {resource} {where}"


def control_planes(objects: Sequence[Document]) -> set[str]:
    """Return the control plane namespaces of the MeshFederations among ``objects``."""
    return {
        str((one.get("spec") or {}).get("controlPlaneNamespace") or NAMESPACE)
        for one in objects
        if one.get("kind") == "MeshFederation"
    }


async def config_map(client: Client, namespace: str, name: str, unread: dict[str, str]) -> list[Document]:
    """Return a ConfigMap, if there is one."""
    from meshfed.kube import Forbidden, NotFound, Resource

    try:
        resource = Resource("", "v1", "configmaps", "ConfigMap")
        return [as_object(await client.get(resource, name, namespace=namespace), resource)]
    except NotFound:
        return []
    except Forbidden:
        unread[f"ConfigMap {namespace}/{name}"] = f"you may not get configmap {namespace}/{name}"
        return []
