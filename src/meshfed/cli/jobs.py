"""Requests from a Pod that exists for them alone: a short-lived Job of the controller's own image."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from meshfed.cli.clusters import as_object
from meshfed.cli.exits import NotHeld
from meshfed.cli.output import say
from meshfed.kube import APIError, Client, Forbidden, KubeError, NotFound, Resource
from meshfed.views.requests import RequestPlace, RequestView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from meshfed.views.snapshot import Document, Snapshot

NAME: Final = "meshfed-test"
CONTAINER: Final = "request"
_JOBS: Final = Resource("batch", "v1", "jobs", "Job")
_PODS: Final = Resource("", "v1", "pods", "Pod")
_EVENTS: Final = Resource("", "v1", "events", "Event")
_NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
_SIDECAR: Final = "istio-proxy"
_LOOK_SECONDS: Final = 0.5
_CLEAN_UP_SECONDS: Final = 10.0
_KEPT_SECONDS: Final = 60
"""For which a Job that nobody could delete stays after its end."""
_LINES: Final = 50
"""Of a Pod's log for each request, more than it is told in."""
_HOPELESS: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""What a container waits for in vain, as the kubelet says it."""


class JobRequest(NamedTuple):
    """What a Job is to do: in which namespace, as which ServiceAccount, ``times`` requests for ``url``.

    ``seconds`` is for each request, ``timeout`` for all, from the Job's creation.
    """

    namespace: str
    account: str
    url: str
    times: int
    seconds: float
    timeout: float


def job(asked: JobRequest, name: str, controller: Document) -> Document:
    """Return the Job, with the image, and what it takes to pull it, of the ``controller``'s Deployment.

    It meets the Pod security standard `restricted`, has no token, says what it needs (a quota may ask), and ends by
    itself even if nobody is left to delete it.
    """
    pod: Mapping[str, Any] = controller["spec"]["template"]["spec"]
    image = next(one for one in pod["containers"] if one["name"] != _SIDECAR)
    labels = {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/part-of": "meshfed",
        "app.kubernetes.io/managed-by": "meshfed",
    }
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image["image"],
        "imagePullPolicy": image.get("imagePullPolicy") or "IfNotPresent",
        "command": ["meshfed"],
        "args": [
            "test",
            asked.url,
            "--here",
            "--quit-sidecar",
            f"--times={asked.times}",
            f"--max-time={asked.seconds:g}s",
            "--output=json",
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": asked.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(asked.timeout) + 1,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {
                "metadata": {
                    "labels": labels,
                    # The request is not to be sent before the sidecar takes it.
                    "annotations": {"proxy.istio.io/config": '{"holdApplicationUntilProxyStarts": true}'},
                },
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": asked.account,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    "imagePullSecrets": pod.get("imagePullSecrets") or [],
                    "containers": [container],
                },
            },
        },
    }


async def run_job(client: Client, snapshot: Snapshot, asked: JobRequest) -> list[RequestView]:
    """Send requests from a Job, and delete it, whatever becomes of it; raises ``NotHeld`` where it sent none.

    ``snapshot`` has the controller's Deployment.
    """
    controller = next(snapshot.of_kind("Deployment"), None)
    if controller is None:
        why = snapshot.unread.get("Deployment") or f"there is no Deployment of a controller in {snapshot.namespace}"
        raise NotHeld(f"which image to run is not known: {why}; send from a pod that has curl: --from NAMESPACE/POD")
    await _would_be_injected(client, asked.namespace)
    name = f"{NAME}-{secrets.token_hex(4)}"
    made = job(asked, name, controller)
    image = made["spec"]["template"]["spec"]["containers"][0]["image"]
    say(f"running Job {asked.namespace}/{name} of {image}")
    try:
        with _until_told_to_stop():
            return await _sent(client, snapshot, asked, made)
    except Forbidden as error:
        raise NotHeld(f"--from {asked.namespace}: {error}; `docs/permissions.md` lists what this needs") from error
    except NotFound as error:
        raise NotHeld(f"--from {asked.namespace}: {error}") from error
    finally:
        await _cleaned_up(client, asked.namespace, name)


async def _would_be_injected(client: Client, namespace: str) -> None:
    """Raise ``NotHeld`` where Pods of a namespace get no sidecar, as far as its labels say."""
    try:
        found = as_object(await client.get(_NAMESPACES, namespace), _NAMESPACES, namespace)
    except NotFound as error:
        raise NotHeld(f"--from {namespace}: there is no such namespace") from error
    except Forbidden:
        return  # what the Pod got is seen at the Pod
    labels = found["metadata"].get("labels") or {}
    if labels.get("istio-injection") == "enabled" or (labels.get("istio.io/rev") and "istio-injection" not in labels):
        return
    raise NotHeld(
        f"--from {namespace}: pods of this namespace get no sidecar (it has neither the label istio-injection=enabled "
        "nor istio.io/rev), so the request would leave in plaintext, and would show nothing of the mesh; nothing was "
        "sent. Label it, or name a pod that has a sidecar: --from NAMESPACE/POD"
    )


async def _sent(client: Client, snapshot: Snapshot, asked: JobRequest, made: Document) -> list[RequestView]:
    name, namespace = made["metadata"]["name"], asked.namespace
    try:
        await client.create(_JOBS, made)
    except Forbidden:
        raise
    except APIError as error:
        raise NotHeld(f"Job {namespace}/{name} is refused: {error}") from error
    until, told = time.monotonic() + asked.timeout, ""
    while True:
        pod = await _pod(client, namespace, name)
        if pod is not None and (code := _ended(pod)) is not None:
            return await _answers(client, snapshot, asked, pod, code)
        why, hopeless = _waits(pod) if pod is not None else await _refused(client, namespace, name)
        if hopeless or time.monotonic() > until:
            raise NotHeld(f"Job {namespace}/{name} sent nothing{'' if hopeless else f' in {asked.timeout:g} s'}: {why}")
        if why != told:
            say(f"waiting: {why}")
            told = why
        await asyncio.sleep(_LOOK_SECONDS)


async def _pod(client: Client, namespace: str, name: str) -> Document | None:
    found = await client.list(_PODS, namespace=namespace, label_selector=f"app.kubernetes.io/instance={name}")
    return as_object(found[0], _PODS) if found else None


def _statuses(pod: Document) -> Iterator[Document]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _ended(pod: Document) -> int | None:
    """Return the exit code of the container that sends; ``None`` while it goes on."""
    for one in _statuses(pod):
        if one.get("name") == CONTAINER and (ended := (one.get("state") or {}).get("terminated")):
            return int(ended.get("exitCode") or 0)
    return None


def _waits(pod: Document) -> tuple[str, bool]:
    """Return in words what a Pod waits for, and whether it does in vain."""
    name = pod["metadata"]["name"]
    for one in _statuses(pod):
        state = one.get("state") or {}
        if waiting := state.get("waiting"):
            reason, message = waiting.get("reason") or "waiting", waiting.get("message") or ""
            words = f"container {one.get('name')} of Pod {name}: {reason}{f': {message}' if message else ''}"
            hopeless = reason in _HOPELESS
            if hopeless and "Pull" in reason:
                words += "; the namespace's ServiceAccount may need the controller's image pull secret"
            return words, hopeless
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"Pod {name} is not scheduled: {condition.get('message') or condition.get('reason') or ''}", False
    return f"Pod {name} runs", False


async def _refused(client: Client, namespace: str, name: str) -> tuple[str, bool]:
    """Return in words why a Job has no Pod, and whether it will get none, as Events say."""
    try:
        events = await client.list(_EVENTS, namespace=namespace, field_selector=f"involvedObject.name={name}")
    except Forbidden:
        return f"it has no Pod, and you may not list events in namespace {namespace}, which would say why", False
    for event in events:
        if event.get("type") == "Warning" and event.get("reason") == "FailedCreate":
            return f"its Pod is refused: {event.get('message')}", True
    return "it has no Pod yet", False


async def _answers(
    client: Client, snapshot: Snapshot, asked: JobRequest, pod: Document, code: int
) -> list[RequestView]:
    """Return what the Pod says came of its requests."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    lines = str(_LINES * (asked.times + 1))
    answer = await client.fetch(
        _PODS.path(namespace, name, "log"), accept="*/*", params={"container": CONTAINER, "tailLines": lines}
    )
    log = answer.body
    views = _read(log)
    if not views:
        last = next((line for line in reversed(log.decode(errors="replace").splitlines()) if line.strip()), "")
        raise NotHeld(
            f"Pod {namespace}/{name} ended with exit code {code} and did not say what came of its request ({last}): "
            "the controller's image may be of a version that sends none; send from a pod that has curl: --from "
            "NAMESPACE/POD"
        )
    spec = pod.get("spec") or {}
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    meshed = any(one.get("name") == _SIDECAR for one in containers)
    told = [_told(one, snapshot.mesh, f"{namespace}/{name}", meshed=meshed) for one in views]
    return [_with_account(one, asked) for one in told]


def _read(log: bytes) -> Sequence[RequestView]:
    """Return the requests in the document that the Pod printed; none where it printed no such."""

    class Requests(msgspec.Struct):
        items: tuple[RequestView, ...]

    try:
        return msgspec.json.decode(log[log.find(b"{") :], type=Requests).items
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()


def _told(view: RequestView, mesh: str, client: str, *, meshed: bool) -> RequestView:
    view = msgspec.structs.replace(view, mesh=mesh, client=client)
    if meshed:
        return view
    plain = "the pod got no sidecar, so this request left in plaintext and shows nothing of the mesh"
    return msgspec.structs.replace(view, allowed=False, message=f"{plain}; {view.message}")


def _with_account(view: RequestView, asked: JobRequest) -> RequestView:
    """Return a request; of one that a policy refused, with who it was sent as."""
    if view.allowed or view.ended_at != RequestPlace.WORKLOAD or not view.reached:
        return view
    account = f"it was sent as ServiceAccount {asked.namespace}/{asked.account}, which --service-account chooses"
    return msgspec.structs.replace(view, message=f"{view.message}; {account}")


@contextlib.contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end what goes on as Ctrl-C does, so that it is cleaned up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    handled: list[signal.Signals] = []
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # outside of the main thread
        for one in (signal.SIGTERM, signal.SIGHUP):
            if task is not None:
                loop.add_signal_handler(one, task.cancel)
                handled.append(one)
    try:
        yield
    finally:
        for one in handled:
            loop.remove_signal_handler(one)


async def _cleaned_up(client: Client, namespace: str, name: str) -> None:
    """Delete the Job with its Pod, if it came to be."""
    try:
        async with asyncio.timeout(_CLEAN_UP_SECONDS):
            await client.delete(_JOBS, name, namespace=namespace, propagation="Background")
    except NotFound:
        return
    except (KubeError, TimeoutError) as error:
        say(
            f"Job {namespace}/{name} could not be deleted ({str(error) or 'no answer'}); it ends by itself, and is "
            f"deleted {_KEPT_SECONDS} s after that; or: kubectl delete job -n {namespace} {name}"
        )
