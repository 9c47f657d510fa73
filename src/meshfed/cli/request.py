"""``meshfed test``: a request through the data plane, and where it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from meshfed.cli.clusters import LEASES, OURS, InClusters, as_object, clusters, look_at
from meshfed.cli.exits import BadInput, Exit, NotHeld, OutOfReach
from meshfed.cli.output import Format, How, Listing, TableColumn, show

if TYPE_CHECKING:
    from meshfed.kube import ClusterConfig
    from meshfed.views.documents import Unreached
    from meshfed.views.requests import RequestView
    from meshfed.views.snapshot import Snapshot


def request(
    host: str,
    /,
    *,
    from_: Annotated[str, Parameter(name="--from")],
    container: Annotated[str, Parameter(name=["--container", "-c"], show_default=False)] = "",
    max_time: str = "10s",
    times: int = 1,
    output: Annotated[Format, Parameter(name=["--output", "-o"])] = "table",
    where: InClusters = InClusters(),  # noqa: B008 - immutable
) -> int:
    """Send requests to a host from a pod of the mesh, and say at which place they ended.

    It runs curl in a container of that pod, as `kubectl exec` does, and leaves nothing behind. The four places are: the
    client's own mesh, where the host has an address; its sidecar, which has an endpoint to try; the way by the remote's
    gateway; the workload, whose sidecar applies the policies.

    Exit codes: 0 every request was answered by the application, be it by an error, 1 one was not, 2 bad usage, 3 the
    cluster cannot be reached.

    Parameters
    ----------
    host
        HOST, HOST:PORT or HOST:PORT/PATH. Of an imported host, its first labels will do (`ratings` or
        `ratings.bookinfo`), and without a port, the first HTTP port that is offered for it is asked.
    from_
        The pod to send from, NAMESPACE/POD.
    container
        A container of it that has curl; without it, the pod's first.
    max_time
        How long a request may take.
    times
        How many to send, one after the other.
    output
        A table; a document; or the addresses that were asked alone.
    """
    import asyncio

    from meshfed.cli.arguments import duration

    namespace, slash, pod = from_.partition("/")
    if not slash or not namespace or not pod or "/" in pod:
        raise BadInput(f"--from {from_}: write it as NAMESPACE/POD")
    if times < 1:
        raise BadInput(f"--times {times}: send at least one")
    if len(where.context) > 1:
        raise BadInput("a request is sent from one cluster: give at most one --context")
    seconds = duration("--max-time", max_time)
    found = clusters(where)
    snapshots, unreached = asyncio.run(look_at(found, where, (*OURS, LEASES)))
    if unreached:
        raise OutOfReach(_why(unreached))
    (snapshot,) = snapshots
    url = _url(snapshot, host)
    words = ["curl", "-sS", "-i", "-m", f"{seconds:g}", url]
    views = asyncio.run(_send(found[0][1], snapshot, (namespace, pod, container), words, times))
    columns = [
        TableColumn[Any]("FROM", lambda one: one.client),
        TableColumn[Any]("CODE", lambda one: str(one.code or "-")),
        TableColumn[Any]("REACHED", lambda one: str(one.reached)),
        TableColumn[Any]("ENDED AT", lambda one: one.ended_at or "-"),
        TableColumn[Any]("MESSAGE", lambda one: one.message),
    ]
    show(Listing("RequestList", columns, views, lambda one: one.url), How(output))
    return Exit.OK if all(one.reached and one.allowed for one in views) else Exit.NOT_HELD


def _why(unreached: tuple[Unreached, ...]) -> str:
    return "; ".join(f"{one.source}: not reached: {one.why}" for one in unreached)


async def _send(
    config: ClusterConfig, snapshot: Snapshot, place: tuple[str, str, str], words: list[str], times: int
) -> list[RequestView]:
    from meshfed.kube import Client, Forbidden, KubeError, NotFound, execute
    from meshfed.views.requests import RequestView, verdict

    namespace, pod, container = place
    views = []
    async with Client(config, timeout=120.0) as client:
        for _ in range(times):
            try:
                container = container or await _first_container(client, namespace, pod)
                ran = await execute(client, namespace, pod, container, words)
            except NotFound as error:
                raise NotHeld(f"--from {namespace}/{pod}: there is no such pod") from error
            except Forbidden as error:
                raise NotHeld(
                    f"you may not run anything in pod {namespace}/{pod}: it takes get and create on pods/exec"
                ) from error
            except KubeError as error:
                raise NotHeld(f"--from {namespace}/{pod}: {error}; name a container that has curl with -c") from error
            code, reached, allowed, ended_at, message = verdict(ran.code, ran.out, ran.err)
            views.append(
                RequestView(snapshot.mesh, f"{namespace}/{pod}", words[-1], code, reached, allowed, ended_at, message)
            )
    return views


async def _first_container(client: Any, namespace: str, pod: str) -> str:
    from meshfed.kube import Resource

    resource = Resource("", "v1", "pods", "Pod")
    found = as_object(await client.get(resource, pod, namespace=namespace), resource)
    default = (found["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    containers = (found.get("spec") or {}).get("containers") or ()
    names = [str(one.get("name")) for one in containers if one.get("name") != "istio-proxy"]
    return str(default or (names[0] if names else ""))


def _url(snapshot: Snapshot, host: str) -> str:
    """Return what to ask for; raises ``BadInput`` where no port can be chosen."""
    from meshfed.views.explain.asked import is_named

    name, _, path = host.partition("/")
    name, colon, port = name.partition(":")
    scheme, asked = "http", name
    offers = [one for one in snapshot.records if name in {one.spec.host, one.status.imported_as}]
    if not offers:
        hosts = {one.status.imported_as for one in snapshot.records if is_named(name, one.status.imported_as)}
        if len(hosts) > 1:
            raise BadInput(f"{host}: it may be {' or '.join(sorted(hosts))}: write the whole host")
        name = next(iter(hosts), name)
        offers = [one for one in snapshot.records if name == one.status.imported_as]
    ports = {one.number: one.protocol for offer in offers for one in offer.spec.ports}
    if colon:
        if not port.isdecimal():
            raise BadInput(f"{host}: {port!r} is no port; write HOST:PORT/PATH")
        scheme = "https" if ports.get(int(port)) in {"HTTPS", "TLS"} else "http"
    else:
        usable = sorted(number for number, protocol in ports.items() if protocol in {"HTTP", "HTTP2", "GRPC"})
        if not usable:
            what = (
                f"it has the ports {', '.join(f'{n}/{p}' for n, p in ports.items())}" if ports else "nobody offers it"
            )
            raise BadInput(f"{host}: {what}: say which port, as {asked}:PORT")
        port = str(usable[0])
    return f"{scheme}://{name}:{port}/{path}"
