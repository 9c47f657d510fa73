"""Requests from a Job: what is made, what is said of one that cannot run, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from meshfed.cli import here, jobs
from meshfed.cli.exits import NotHeld
from meshfed.cli.jobs import JobRequest, job, run_job
from meshfed.kube import Client, ClusterConfig, NotFound, Ran, Resource, ServerFailure
from meshfed.views.requests import RequestView
from meshfed.views.snapshot import Snapshot
from meshfed_sandbox.apiserver import APIServer
from meshfed_sandbox.apps.curl import Ran as Said
from tests.builders import RESOURCES, mesh_federation, namespace
from tests.cli.fakes import snapshot
from tests.cli.test_link import DEPLOYMENT
from tests.waiting import eventually, meanwhile

URL = "http://ratings.default.svc.cluster.local:9080/"
ASKED = JobRequest("shop", "default", URL, times=2, seconds=10.0, timeout=20.0)
JOBS, PODS, EVENTS = RESOURCES["Job"], RESOURCES["Pod"], Resource("", "v1", "events", "Event")
EAST = snapshot(mesh_federation("east"), DEPLOYMENT)
ANSWERED = (
    '{"apiVersion": "cli", "kind": "RequestList", "items": [{"mesh": "", "client": "x", "url": "u", "code": 200, '
    '"reached": true, "allowed": true, "endedAt": "", "message": "the application answered 200", "new": 1}]}'
)


def test_the_job_is_small_restricted_and_ends_by_itself() -> None:
    assert job(ASKED, "meshfed-test-1", DEPLOYMENT) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "meshfed-test-1", "namespace": "shop", "labels": LABELS},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 21,
            "ttlSecondsAfterFinished": 60,
            "template": {
                "metadata": {
                    "labels": LABELS,
                    "annotations": {"proxy.istio.io/config": '{"holdApplicationUntilProxyStarts": true}'},
                },
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "default",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    "imagePullSecrets": [],
                    "containers": [
                        {
                            "name": "request",
                            "image": "meshfed",
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["meshfed"],
                            "args": [
                                "test",
                                URL,
                                "--here",
                                "--quit-sidecar",
                                "--times=2",
                                "--max-time=10s",
                                "--output=json",
                            ],
                            "resources": {
                                "requests": {"cpu": "50m", "memory": "64Mi"},
                                "limits": {"cpu": "500m", "memory": "128Mi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "readOnlyRootFilesystem": True,
                            },
                        }
                    ],
                },
            },
        },
    }


LABELS = {
    "app.kubernetes.io/name": "meshfed-test",
    "app.kubernetes.io/instance": "meshfed-test-1",
    "app.kubernetes.io/part-of": "meshfed",
    "app.kubernetes.io/managed-by": "meshfed",
}


def test_the_image_is_the_controllers_and_so_is_what_pulls_it() -> None:
    containers = [
        {"name": "istio-proxy", "image": "auto"},
        {"name": "controller", "image": "example.com/meshfed:1", "imagePullPolicy": "Always"},
    ]
    pod = {"containers": containers, "imagePullSecrets": [{"name": "registry"}]}
    found = job(ASKED, "a", {"spec": {"template": {"spec": pod}}})["spec"]["template"]["spec"]
    assert found["imagePullSecrets"] == [{"name": "registry"}]
    assert (found["containers"][0]["image"], found["containers"][0]["imagePullPolicy"]) == (
        "example.com/meshfed:1",
        "Always",
    )


# --- run, by a cluster whose kubelet is this test


class Cluster:
    """A cluster in which Jobs get a Pod, of which it is said what a test wants."""

    def __init__(self, client: Client, log: Path, place: str = "shop") -> None:
        self.client = client
        self._log = log
        self._place = place

    def logs(self, *_: str) -> Sequence[Path]:
        return [self._log]

    async def execute(self, *_: Any) -> Said:
        return Said(out=b"HTTP/1.1 200 OK\r\n\r\n")

    async def fetch(self, *_: Any) -> tuple[int, str, bytes]:
        raise LookupError("nothing answers here")

    async def made(self) -> dict[str, Any]:
        """The Job, once it is there."""
        return dict((await eventually(lambda: self.client.list(JOBS, namespace=self._place)))[0])

    async def pod(self, status: Mapping[str, Any], *, sidecar: bool = True, says: str = ANSWERED) -> None:
        """Give the Job a Pod with this status."""
        made = await self.made()
        self._log.write_text(f"a line before\n{says}\n")
        template = made["spec"]["template"]
        proxy = [{"name": "istio-proxy", "image": "proxy", "restartPolicy": "Always"}] if sidecar else []
        metadata = {"name": "meshfed-test-pod", "namespace": self._place, "labels": template["metadata"]["labels"]}
        manifest = {"metadata": metadata, "spec": template["spec"] | {"initContainers": proxy}}
        await self.client.create(PODS, {"apiVersion": "v1", "kind": "Pod"} | manifest)
        await self.client.patch_status(PODS, "meshfed-test-pod", status, namespace=self._place)

    async def refuses(self, message: str) -> None:
        """Say in an Event that the Job gets no Pod."""
        name = (await self.made())["metadata"]["name"]
        event = {
            "metadata": {"name": "a", "namespace": self._place},
            "involvedObject": {"kind": "Job", "name": name, "namespace": self._place},
            "reason": "FailedCreate",
            "type": "Warning",
            "message": message,
        }
        await self.client.create(EVENTS, {"apiVersion": "v1", "kind": "Event"} | event)


def ended(code: int) -> dict[str, Any]:
    """The status of a Pod in which a classic sidecar goes on after the request."""
    done = {"name": "request", "state": {"terminated": {"exitCode": code}}}
    return {"phase": "Running", "containerStatuses": [{"name": "istio-proxy", "state": {"running": {}}}, done]}


def waits(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "request", "state": state}]}


@pytest_asyncio.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(jobs, "_LOOK_SECONDS", 0.01)
    async with APIServer(crds=[]) as server, Client(ClusterConfig(server=server.url)) as client:
        cluster = Cluster(client, tmp_path / "log")
        server.run_by(cluster)
        await client.create(RESOURCES["Namespace"], namespace("shop", **{"istio-injection": "enabled"}))
        yield cluster
        assert await client.list(JOBS, namespace="shop") == []


async def test_what_came_of_it_is_read_though_the_sidecar_goes_on(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    async with meanwhile(cluster.pod(ended(0))):
        found = await run_job(cluster.client, EAST, ASKED)
    message = "the application answered 200"
    assert found == [RequestView("east", "shop/meshfed-test-pod", "u", 200, True, True, "", message)]
    assert "running Job shop/meshfed-test-" in capsys.readouterr().err


async def test_who_is_refused_is_told_as_whom_it_was_sent(cluster: Cluster) -> None:
    refused = {"mesh": "", "client": "c", "url": "u", "code": 403, "reached": True, "allowed": False}
    said = json.dumps({"items": [refused | {"endedAt": "workload", "message": "it is refused"}]})
    async with meanwhile(cluster.pod(ended(1), says=said)):
        (found,) = await run_job(cluster.client, EAST, ASKED)
    assert found.message == (
        "it is refused; it was sent as ServiceAccount shop/default, which --service-account chooses"
    )


async def test_a_pod_without_a_sidecar_is_no_success(cluster: Cluster) -> None:
    async with meanwhile(cluster.pod(ended(0), sidecar=False)):
        (found,) = await run_job(cluster.client, EAST, ASKED)
    assert not found.allowed
    assert found.message == (
        "the pod got no sidecar, so this request left in plaintext and shows nothing of the mesh; the application "
        "answered 200"
    )


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        pytest.param(
            lambda cluster: cluster.refuses('pods "a" is forbidden: exceeded quota: small, requested: pods=1'),
            'sent nothing: its Pod is refused: pods "a" is forbidden: exceeded quota: small, requested: pods=1',
            id="a quota",
        ),
        pytest.param(
            lambda cluster: cluster.refuses('violates PodSecurity "restricted:latest": istio-init must not'),
            'its Pod is refused: violates PodSecurity "restricted:latest": istio-init must not',
            id="pod security",
        ),
        pytest.param(
            lambda cluster: cluster.pod(waits("ImagePullBackOff", "unauthorized")),
            "container request of Pod meshfed-test-pod: ImagePullBackOff: unauthorized; the namespace's ServiceAccount "
            "may need the controller's image pull secret",
            id="an image that cannot be pulled",
        ),
        pytest.param(
            lambda cluster: cluster.pod(waits("CreateContainerConfigError", "image will run as root")),
            "CreateContainerConfigError: image will run as root",
            id="an image that runs as root",
        ),
        pytest.param(
            lambda cluster: cluster.pod(ended(2), says="meshfed: Unknown option: --here."),
            "ended with exit code 2 and did not say what came of its request (meshfed: Unknown option: --here.): the "
            "controller's image may be of a version that sends none",
            id="an older image",
        ),
        pytest.param(
            lambda cluster: cluster.pod(ended(0), says="{" * 100_000),
            "did not say what came of its request",
            id="a log that is no document",
        ),
    ],
)
async def test_why_nothing_was_sent(happens: Callable[[Cluster], Awaitable[None]], said: str, cluster: Cluster) -> None:
    async with meanwhile(happens(cluster)):  # type: ignore[arg-type] # each is a coroutine
        with pytest.raises(NotHeld) as raised:
            await run_job(cluster.client, EAST, ASKED)
    assert said in str(raised.value)


async def test_a_pod_that_is_not_scheduled_in_time(cluster: Cluster) -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    async with meanwhile(cluster.pod({"phase": "Pending", "conditions": [unscheduled]})):
        with pytest.raises(NotHeld, match=r"sent nothing in 0\.5 s: Pod meshfed-test-pod is not scheduled: 0/3 nodes"):
            await run_job(cluster.client, EAST, ASKED._replace(timeout=0.5))


@pytest.mark.parametrize("labels", [{}, {"istio-injection": "disabled", "istio.io/rev": "a"}])
async def test_a_namespace_without_injection(labels: dict[str, str], cluster: Cluster) -> None:
    await cluster.client.create(RESOURCES["Namespace"], namespace("plain", **labels))
    with pytest.raises(NotHeld, match=r"--from plain: pods of this namespace get no sidecar .* nothing was sent"):
        await run_job(cluster.client, EAST, ASKED._replace(namespace="plain"))


async def test_a_namespace_or_a_controller_that_is_not_there(cluster: Cluster) -> None:
    with pytest.raises(NotHeld, match="--from nowhere: there is no such namespace"):
        await run_job(cluster.client, EAST, ASKED._replace(namespace="nowhere"))
    nobody: Snapshot = snapshot(mesh_federation("east"))
    with pytest.raises(NotHeld, match="there is no Deployment of a controller in istio-system"):
        await run_job(cluster.client, nobody, ASKED)


async def test_who_is_told_to_stop_leaves_nothing(cluster: Cluster) -> None:
    running = asyncio.create_task(run_job(cluster.client, EAST, ASKED))
    await cluster.made()
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_an_answer_that_was_lost_leaves_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    create = cluster.client.create

    async def lost(*arguments: Any) -> Any:
        await create(*arguments)
        raise ServerFailure(504, "Timeout", "timed out")

    monkeypatch.setattr(cluster.client, "create", lost)
    with pytest.raises(NotHeld, match="is refused: timed out"):
        await run_job(cluster.client, EAST, ASKED)


async def test_a_job_that_cannot_be_deleted_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(*_: Any, **__: Any) -> None:
        raise ServerFailure(500, "InternalError", "not now")

    with monkeypatch.context() as patch:
        patch.setattr(cluster.client, "delete", refused)
        async with meanwhile(cluster.pod(ended(0))):
            await run_job(cluster.client, EAST, ASKED)
    name = (await cluster.made())["metadata"]["name"]
    assert f"or: kubectl delete job -n shop {name}" in capsys.readouterr().err
    with contextlib.suppress(NotFound):
        await cluster.client.delete(JOBS, name, namespace="shop")


# --- what the Pod does


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Have connections handled, each until its end; the address."""
    handled: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handled.append(asyncio.create_task(serve(reader, writer)))

    async with await asyncio.start_server(begin, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*handled)


def answer(reply: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()

    return handle


async def test_a_request_is_told_as_curl_tells_it() -> None:
    reply = b"HTTP/1.1 403 Forbidden\r\nServer: envoy\r\nContent-Length: 4\r\n\r\nRBAC"
    async with serving(answer(reply)) as address:
        assert await here.send(f"http://{address}/a?b", 5.0) == (0, reply, b"")


@pytest.mark.parametrize("reply", [b"", b"\x15\x03\x01 hello\r\n\r\n"])
async def test_an_answer_that_is_none(reply: bytes) -> None:
    async with serving(answer(reply)) as address:
        assert (await here.send(f"http://{address}/", 5.0)).code == here.NO_ANSWER


async def test_nobody_is_there_and_a_name_that_nobody_has() -> None:
    assert (await here.send("http://127.0.0.1:1/", 5.0)).code == here.REFUSED
    assert (await here.send("http://nobody.invalid:80/", 20.0)).code == here.NO_NAME


async def test_a_server_that_says_nothing() -> None:
    async with serving(lambda reader, _: reader.read()) as address:
        assert await here.send(f"http://{address}/", 0.2) == (here.TOO_LATE, b"", b"no answer after 0.2 s")


async def test_a_sidecar_that_just_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [here.REFUSED, here.NO_NAME, 0]

    async def once(*_: Any) -> Ran:
        return Ran(codes.pop(0), b"", b"")

    monkeypatch.setattr(here, "_once", once)
    monkeypatch.setattr(here, "_PAUSE", 0.0)
    assert (await here.send("http://a:80/", 1.0)).code == here.REFUSED
    assert (await here.send("http://a:80/", 1.0, starting=60.0)).code == 0


async def test_a_pod_without_an_agent_is_left_as_it_is() -> None:
    await here.quit_sidecar()


async def test_the_agent_is_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n")).strip())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        await writer.drain()

    assert here._QUIT == "http://127.0.0.1:15020/quitquitquit"
    async with serving(handle) as address:
        monkeypatch.setattr(here, "_QUIT", f"http://{address}/quitquitquit")
        await here.quit_sidecar()
    assert asked == [b"POST /quitquitquit HTTP/1.1"]
