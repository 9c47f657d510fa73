"""``meshfed test``: whether meshes reach each other: by proofs of their controllers, or by a request of a pod."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from meshfed.cli.clusters import InClusters, as_object, ask, clusters, look_at
from meshfed.cli.exits import BadInput, Exit, NotHeld, OutOfReach
from meshfed.cli.kinds import CONTROLLERS, LEASES, OURS, Wanted
from meshfed.cli.output import Format, How, Listing, TableColumn, folded, say, show
from meshfed.cli.proofs import proofs
from meshfed.cli.urls import asked_for, imported_host, url_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from meshfed.cli.jobs import JobRequest
    from meshfed.kube import ClusterConfig, Ran
    from meshfed.views.checks import Proof
    from meshfed.views.paths import PathView
    from meshfed.views.requests import RequestView
    from meshfed.views.snapshot import Snapshot, Unreached

_SEEN: Final = (*OURS, LEASES, Wanted("", "Pod"))


@Parameter(name="*")
@dataclass(frozen=True)
class SendHow:
    """How requests are sent."""

    container: Annotated[str, Parameter(name=["--container", "-c"], show_default=False)] = ""
    """With `--from NAMESPACE/POD`, a container of it that has curl; without it, the pod's first."""
    service_account: Annotated[str, Parameter(show_default=False)] = ""
    """With `--from NAMESPACE`, the ServiceAccount to send as, which policies may ask for; without it, `default`."""
    max_time: str = "10s"
    """How long a request may take."""
    times: int = 1
    """How many to send, one after the other."""
    here: Annotated[bool, Parameter(show_default=False)] = False
    """Send them from where this runs, and look at no cluster: it is what a Job runs."""
    quit_sidecar: Annotated[bool, Parameter(show_default=False)] = False
    """With `--here`, end the sidecar of this pod afterwards, without which a Job would not end."""


def request(
    host: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    from_: Annotated[str, Parameter(name="--from", show_default=False)] = "",
    remote: Annotated[str, Parameter(show_default=False)] = "",
    timeout: str = "60s",
    sending: SendHow = SendHow(),
    output: Annotated[Format, Parameter(name=["--output", "-o"])] = "table",
    where: InClusters = InClusters(),  # noqa: B008 - immutable
) -> int:
    """Try whether meshes reach each other, by their controllers or by requests, and say where it ends.

    Without HOST, each controller is asked to prove its ways to its remotes now, and both directions are told: with two
    `--context`, each by who calls. With HOST alone, it proves the ways to that import. Both are TLS handshakes through
    the remote's gateway; discovery is a request besides. With `--from`, real requests are sent: from a pod, as `kubectl
    exec` does, or from a Job in a namespace, which is deleted whatever comes of it.

    The four places are: the client's own mesh, where the host has an address; its sidecar, which has an endpoint to
    try; the way by the remote's gateway; the workload, whose sidecar applies the policies.

    Exit codes: 0 all holds, and every request was answered by the application, be it by an error, 1 one did not, or
    could not be proven, 2 bad usage, 3 a cluster cannot be reached.

    Parameters
    ----------
    host
        HOST, HOST:PORT, HOST:PORT/PATH or a URL; IPv6 in brackets. Of an imported host, its first labels will do
        (`ratings` or `ratings.bookinfo`), and without a port, the first HTTP port that is offered for it is asked.
    from_
        Where to send from: the pod NAMESPACE/POD, or a short-lived Job of the controller's image in NAMESPACE, which
        has a sidecar if the pods of that namespace have.
    remote
        Without HOST, only the paths from and to this mesh.
    timeout
        How long to wait for a Job, or for proofs.
    output
        A table; a document; or the addresses that were asked alone.
    """
    from meshfed.cli.arguments import duration
    from meshfed.cli.jobs import JobRequest

    if sending.times < 1:
        raise BadInput(f"--times {sending.times}: send at least one")
    place, slash, pod = from_.partition("/")
    _check(host, from_, remote, sending)
    seconds, patience = duration("--max-time", sending.max_time, some=True), duration("--timeout", timeout)
    if sending.here:
        return _requests(asyncio.run(_from_here(host, seconds, sending)), output)
    if not from_:
        return _proven(host, remote, patience, output, where)
    if len(where.context) > 1:
        raise BadInput("a request is sent from one cluster: give at most one --context")
    found = clusters(where)
    wanted = (OURS[0], OURS[2], *(() if slash else (CONTROLLERS,)))
    snapshots, unreached = asyncio.run(look_at(found, where, wanted))
    if unreached:
        raise OutOfReach(_why(unreached))
    (snapshot,) = snapshots
    _say_unseen(snapshots)
    url = url_of(host, snapshot.records)
    if slash:
        words = ["curl", "-sS", "-i", "-m", f"{seconds:g}", "-g", url]
        views = asyncio.run(_send(found[0][1], snapshot, (place, pod, sending.container), words, sending.times))
        return _requests(_with_trouble(views, snapshot, host), output)
    try:
        asked = JobRequest(
            namespace=place,
            account=sending.service_account or "default",
            url=url,
            times=sending.times,
            seconds=seconds,
            timeout=patience + seconds * sending.times,
        )
        views = asyncio.run(_from_job(found[0][1], snapshot, asked))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None  # told to stop, in whichever way
    return _requests(_with_trouble(views, snapshot, host), output)


def _check(host: str, from_: str, remote: str, sending: SendHow) -> None:
    """Raise ``BadInput`` where flags do not go together."""
    from meshfed.model.names import is_dns_label, is_dns_name

    place, slash, pod = from_.partition("/")
    if from_ and (not is_dns_label(place) or (slash and not is_dns_name(pod))):
        raise BadInput(f"--from {from_}: write it as NAMESPACE/POD, or as NAMESPACE for a Job there")
    if host:
        asked_for(host)
    if host and remote:
        raise BadInput(f"--remote {remote} is for paths between controllers: leave HOST or --remote out")
    if from_ and not host:
        raise BadInput(f"--from {from_}: name the HOST to ask")
    if sending.container and not slash:
        raise BadInput(f"--container {sending.container} is for --from NAMESPACE/POD")
    if sending.service_account and (slash or not from_):
        raise BadInput(f"--service-account {sending.service_account} is for --from NAMESPACE")
    if sending.service_account and not is_dns_name(sending.service_account):
        raise BadInput(f"--service-account: {sending.service_account!r} is no name of a service account")
    if sending.here and (from_ or remote or not host):
        raise BadInput("--here takes HOST:PORT, and neither --from nor --remote")
    if sending.quit_sidecar and not sending.here:
        raise BadInput("--quit-sidecar is for --here")


# --- by proofs


def _proven(host: str, remote: str, seconds: float, output: Format, where: InClusters) -> int:
    found = clusters(where)
    before, unreached = asyncio.run(look_at(found, where, _SEEN))
    if not before:
        raise OutOfReach(_why(unreached))

    from meshfed.views.checks import Evidence, Facts
    from meshfed.views.paths import directions, of_host

    hosts = {one.source: imported_host(host, one.records) if host else "" for one in before}
    asked = {one.source: _remotes_of(one, hosts[one.source], remote) for one in before}
    unseen = _say_unseen(before)
    if not any(asked.values()) and not unreached:
        raise NotHeld("nothing is tried: what there is cannot be seen" if unseen else _nothing(host, remote))
    for one in before:
        if asked[one.source]:
            say(f"asking the controller of {one.mesh} to prove the ways to {', '.join(sorted(asked[one.source]))}")
    configs = {source: config for source, config in found if asked.get(source)}
    handled = asyncio.run(_ask(configs, where, asked, seconds, imports=bool(host)))
    after, unreached = asyncio.run(look_at(found, where, _SEEN))
    facts = [Facts(snapshot=one, proofs=handled.get(one.source, {})) for one in after]
    if host:
        paths = [path for one in facts for path in of_host(one, hosts.get(one.snapshot.source, host))]
    else:
        paths = list(directions(facts, remote))
    columns = [
        TableColumn[Any]("FROM", lambda one: one.client),
        TableColumn[Any]("TO", lambda one: one.server),
        TableColumn[Any]("OUTCOME", lambda one: str(one.outcome)),
        TableColumn[Any]("ENDED AT", lambda one: one.ended_at or "-"),
        TableColumn[Any]("MESSAGE", lambda one: one.message, wide=True),
    ]
    beside = {"unreached": unreached} if unreached else {}
    told = [(f"{one.client} to {one.server}", one.message) for one in paths]
    show(Listing("PathList", columns, paths, _path_name, beside, below=_below(told, output)), How(output))
    for away in unreached:
        say(f"{away.source}: not reached: {away.why}")
    if any(one.host and one.evidence == Evidence.HANDSHAKE for one in paths):
        say(
            "that is a TLS handshake by the controller, and no request: what policies say to one, "
            f"`meshfed test {host} --from NAMESPACE` shows"
        )
    if unreached:
        return Exit.OUT_OF_REACH
    return Exit.OK if all(one.outcome in {"ok", "skipped"} for one in paths) else Exit.NOT_HELD


def _below(told: Iterable[tuple[str, str]], output: Format) -> list[str]:
    """Return messages below a table, in lines that fit, each once; a wide one has them in a column."""
    if output != "table":
        return []
    return [line for name, message in dict.fromkeys(told) for line in folded(f"{name}: {message}", rest="  ")]


def _path_name(path: PathView) -> str:
    return f"{path.client}/{path.server}{f'/{path.host}' if path.host else ''}"


def _nothing(host: str, remote: str) -> str:
    if host:
        return f"{host}: nothing of that name is offered to this mesh; `meshfed imports` lists what is"
    if remote:
        return f"{remote}: there is no RemoteMesh of that name here; `meshfed remotes` lists those there are"
    return "there are no RemoteMeshes, so there is no other mesh to reach; `meshfed link` makes one"


def _remotes_of(snapshot: Snapshot, host: str, remote: str) -> set[str]:
    """Return the remotes that a mesh's controller is asked about."""
    from meshfed.views.imports import called

    if host:
        return {one.spec.remote for one in snapshot.records if called(one) == host}
    return {one.metadata.name for one in snapshot.remotes if remote in {"", one.metadata.name, snapshot.mesh}}


def _say_unseen(snapshots: Sequence[Snapshot]) -> bool:
    """Say what may not be seen, or cannot be understood; return whether there is anything."""
    whys = [f"{one.source}: {why}" for one in snapshots for why in (*one.unread.values(), *one.not_understood())]
    for why in whys:
        say(why)
    return bool(whys)


async def _ask(
    configs: Mapping[str, ClusterConfig],
    where: InClusters,
    asked: Mapping[str, set[str]],
    seconds: float,
    *,
    imports: bool,
) -> dict[str, Mapping[str, Proof]]:
    """Ask each cluster's controller for proofs, and return what became of them."""
    from meshfed.cli.arguments import duration
    from meshfed.views.snapshot import Unreached

    longest = seconds + duration("--request-timeout", where.request_timeout, some=True)
    answers = await asyncio.gather(
        *(
            ask(
                source,
                config,
                longest,
                lambda client, source=source: proofs(  # type: ignore[misc] # bound now
                    client, source, where.namespace, asked[source], imports=imports, seconds=seconds
                ),
            )
            for source, config in configs.items()
        )
    )
    return {
        source: answer
        for source, answer in zip(configs, answers, strict=True)
        if not isinstance(answer, Unreached)  # which the next look says
    }


# --- by requests


def _requests(views: Sequence[RequestView], output: Format) -> int:
    columns = [
        TableColumn[Any]("FROM", lambda one: one.client),
        TableColumn[Any]("CODE", lambda one: str(one.code or "-")),
        TableColumn[Any]("REACHED", lambda one: str(one.reached)),
        TableColumn[Any]("ENDED AT", lambda one: one.ended_at or "-"),
        TableColumn[Any]("MESSAGE", lambda one: one.message, wide=True),
    ]
    told = [(one.client, one.message) for one in views]
    show(Listing("RequestList", columns, views, lambda one: one.url, below=_below(told, output)), How(output))
    return Exit.OK if all(one.reached and one.allowed for one in views) else Exit.NOT_HELD


def _with_trouble(views: Sequence[RequestView], snapshot: Snapshot, host: str) -> Sequence[RequestView]:
    """Return requests; of what reached nobody, with what this mesh itself says is wrong with the host."""
    import msgspec

    from meshfed.views.imports import trouble

    wrong = trouble(snapshot, imported_host(host, snapshot.records))
    return [
        one if one.reached or not wrong else msgspec.structs.replace(one, message=f"{one.message}; {wrong}")
        for one in views
    ]


def _why(unreached: tuple[Unreached, ...]) -> str:
    return "; ".join(f"{one.source}: not reached: {one.why}" for one in unreached)


def _view(mesh: str, client: str, url: str, ran: Ran) -> RequestView:
    from meshfed.views.requests import RequestView, verdict

    found = verdict(ran.code, ran.out, ran.err)
    place = found.ended_at or ""
    return RequestView(mesh, client, url, found.code, found.reached, found.allowed, place, found.message)


async def _from_here(host: str, seconds: float, sending: SendHow) -> list[RequestView]:
    from meshfed.cli.here import STARTING_SECONDS, quit_sidecar, send

    url = url_of(host)
    starting = STARTING_SECONDS if sending.quit_sidecar else 0.0
    views = []
    try:
        for number in range(sending.times):
            ran = await send(url, seconds, starting=0.0 if number else starting)
            views.append(_view("", socket.gethostname(), url, ran))
    finally:
        if sending.quit_sidecar:
            await quit_sidecar()
    return views


async def _from_job(config: ClusterConfig, snapshot: Snapshot, asked: JobRequest) -> list[RequestView]:
    from meshfed.cli.jobs import run_job
    from meshfed.kube import Client, KubeError

    try:
        async with Client(config) as client:
            return await run_job(client, snapshot, asked)
    except KubeError as error:
        raise OutOfReach(f"{snapshot.source}: {error}") from error


async def _send(
    config: ClusterConfig, snapshot: Snapshot, place: tuple[str, str, str], words: list[str], times: int
) -> list[RequestView]:
    from meshfed.kube import Client, Forbidden, KubeError, NotFound, execute

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
            views.append(_view(snapshot.mesh, f"{namespace}/{pod}", words[-1], ran))
    return views


async def _first_container(client: Any, namespace: str, pod: str) -> str:
    from meshfed.kube import Resource

    resource = Resource("", "v1", "pods", "Pod")
    found = as_object(await client.get(resource, pod, namespace=namespace), resource)
    default = (found["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    containers = (found.get("spec") or {}).get("containers") or ()
    names = [str(one.get("name")) for one in containers if one.get("name") != "istio-proxy"]
    return str(default or (names[0] if names else ""))
