"""One mesh whose Pods run: what becomes of mistakes, and of Pods that a user meddles with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.builders import crd
from tests.sandbox.dataplane.world import World
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

VIRTUAL_SERVICES = crd("VirtualService", "virtualservices", "networking.istio.io")
DETAILS = "http://details:9080/details/0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World.up("east", directory=tmp_path_factory.mktemp("world"), crds=[VIRTUAL_SERVICES]) as world:
        await world.east.bookinfo("productpage", "details")
        await world.settled()
        yield world


async def test_what_cannot_be_translated_is_said_on_the_object_and_changes_nothing(world: World) -> None:
    world.expected("DestinationRule bookinfo/details")
    rule = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "details", "namespace": "bookinfo"},
        "spec": {"host": "details", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 1}}}},
    }
    await world.east.apply(rule)

    async def event() -> str:
        events = await world.east.list("Event", "bookinfo")
        found = [one for one in events if one["involvedObject"]["name"] == "details" and one["type"] == "Warning"]
        return found[0]["reason"] + ": " + found[0]["message"] if found else ""

    said = await eventually(event)
    assert said.startswith("Untranslatable: all proxies: DestinationRule bookinfo/details")
    assert "connectionPool" in said
    assert (await world.east.request(DETAILS)).status == 200
    await world.east.delete("DestinationRule", "details")
    await world.settled()


async def test_a_kind_that_is_not_translated_is_said_and_no_pod_starts_under_it(world: World) -> None:
    world.expected("VirtualService bookinfo/details")
    spec = {"hosts": ["details"], "http": [{"fault": {"abort": {"httpStatus": 555, "percentage": {"value": 100}}}}]}
    meta = {"name": "details", "namespace": "bookinfo"}
    await world.east.apply(
        {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}
    )
    words = "VirtualService bookinfo/details: this kind is not translated; delete it"

    async def event() -> bool:
        events = await world.east.list("Event", "bookinfo")
        return any(
            one["involvedObject"]["kind"] == "VirtualService" and one["message"] == f"all proxies: {words}"
            for one in events
        )

    await eventually(event)
    assert words in {problem.message for problem in world.problems}
    await world.east.delete("VirtualService", "details")
    await world.settled()
    assert (await world.east.request(DETAILS)).status == 200


async def test_an_image_that_nobody_knows_leaves_the_pod_waiting_with_a_word(world: World) -> None:
    await world.east.run("mystery", image="example.com/mystery:1", port=9080)

    async def waiting() -> dict[str, str]:
        pods = [pod for pod in await world.east.list("Pod", "bookinfo") if "mystery" in pod["metadata"]["name"]]
        statuses = pods[0].get("status", {}).get("containerStatuses", []) if pods else []
        found = [one["state"].get("waiting", {}) for one in statuses if one["name"] == "mystery"]
        return found[0] if found and "message" in found[0] else {}

    state = await eventually(waiting)
    assert state["reason"] == "ImagePullBackOff"
    assert "mystery:1" in state["message"]
    assert "httpbin" in state["message"]
    await asyncio.sleep(2)  # the kubelet tries again meanwhile, and what never ran is not restarted
    (line,) = [
        line
        for line in (await world.east.kubectl("get", "pods", "-n", "bookinfo", "--no-headers")).splitlines()
        if "mystery" in line
    ]
    assert line.split()[1:4] == ["1/2", "ImagePullBackOff", "0"]
    await world.east.delete("Deployment", "mystery-v1")
    await world.east.delete("Service", "mystery")
    await world.settled()


async def test_curl_is_run_in_a_pod_and_logs_are_read_by_the_real_kubectl(world: World) -> None:
    await world.east.run("caller", image="curl", port=8080)
    await world.settled()

    async def run(*command: str, pod: str = "deploy/caller-v1") -> tuple[str, str, int]:
        return await world.east.tried("exec", "-n", "bookinfo", pod, "--", *command)

    out, _, code = await run("curl", "-s", "-w", " %{http_code}", DETAILS)
    assert (out.endswith(" 200"), '"caller":"spiffe://cluster.local/ns/bookinfo/sa/' in out, code) == (True, True, 0)
    assert (await run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://details:9080/x"))[0] == "404"
    out, err, code = await run("curl", "-sS", "http://nowhere:9080/")
    assert (out, code) == ("", 6)
    assert "curl: (6) Could not resolve host: nowhere" in err
    assert (await run("curl", "-sf", "http://details:9080/x"))[2] == 22
    out, err, code = await run("curl", "--http3", DETAILS)
    assert (out, code) == ("", 2)
    assert "unrecognized arguments: --http3; the sandbox's curl takes a URL and -s" in err
    for words, pod in ((("ls",), "deploy/caller-v1"), (("curl", DETAILS), "deploy/details-v1")):
        _, err, code = await run(*words, pod=pod)
        assert code == 1
        assert f"exec: '{words[0]}' is not in container " in err

    async def logged() -> bool:
        said = await world.east.kubectl("logs", "-n", "bookinfo", "deploy/caller-v1", "-c", "istio-proxy", "--tail=1")
        return '"authority":"details:9080"' in said

    await eventually(logged)
    _, err, code = await world.east.tried("logs", "-n", "bookinfo", "deploy/caller-v1", "-c", "istio-proxy", "-p")
    assert (code, "previous: the sandbox's logs are known by" in err) == (1, True)
    controller = await world.east.kubectl("logs", "-n", "istio-system", "deploy/federation-controller")
    assert "INFO" in controller
    await world.east.delete("Deployment", "caller-v1")
    await world.settled()


@pytest.mark.parametrize(("words", "ends", "pods"), [(["version"], "Complete", 1), (["no-such-thing"], "Failed", 2)])
async def test_a_job_runs_until_it_succeeds_or_has_failed_too_often(
    world: World, words: list[str], ends: str, pods: int
) -> None:
    container = {"name": "task", "image": "meshfed:latest", "args": words}
    template = {
        "metadata": {"labels": {"sidecar.istio.io/inject": "false"}},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "task", "namespace": "bookinfo"}}
    await world.east.apply({**job, "spec": {"backoffLimit": 1, "template": template}})
    await world.east.kubectl("wait", "-n", "bookinfo", "job/task", f"--for=condition={ends}", "--timeout=60s")
    listed = await world.east.kubectl("get", "pods", "-n", "bookinfo", "-l", "job-name=task", "--no-headers")
    shown = {"Complete": "Completed", "Failed": "Error"}[ends]
    assert [line.split()[1:4] for line in listed.splitlines()] == [["0/1", shown, "0"]] * pods
    said = await world.east.kubectl("logs", "-n", "bookinfo", "-l", "job-name=task")
    assert {"Complete": "meshfed ", "Failed": "no-such-thing"}[ends] in said
    assert await world.east.kubectl("logs", "-n", "bookinfo", "job/task") in said
    await world.east.kubectl("delete", "job", "task", "-n", "bookinfo")

    async def gone() -> bool:
        return not [one for one in await world.east.list("Pod", "bookinfo") if "task" in one["metadata"]["name"]]

    await eventually(gone, what="the Job's Pods go with it")


async def test_containers_do_not_follow_what_users_do_to_their_kubeconfig(world: World) -> None:
    await world.east.kubectl("config", "set-context", "west")
    await world.east.kubectl("config", "use-context", "west")
    try:
        await world.east.delete(
            "Pod", world.east.plane.pod("istio-system", "federation-controller").name, "istio-system"
        )
        await asyncio.sleep(0.5)
        await world.settled()
    finally:
        await world.east.kubectl("config", "use-context", "east")


async def test_a_pod_of_a_deployment_is_made_again_and_a_scaled_one_shares_the_work(world: World) -> None:
    first = await world.east.until(DETAILS)
    await world.east.delete("Pod", first.pod)
    await eventually(lambda: _other_than(world, first.pod), what="another Pod answers")

    await world.east.kubectl("scale", "deployment", "details-v1", "--replicas=2", "-n", "bookinfo")
    await world.settled()
    pods = {(await world.east.request(DETAILS)).pod for _ in range(20)}
    assert len(pods) == 2
    listed = await world.east.kubectl("get", "deployment", "details-v1", "-n", "bookinfo", "--no-headers")
    assert listed.split()[:4] == ["details-v1", "2/2", "2", "2"]


async def _other_than(world: World, pod: str) -> bool:
    answer = await world.east.request(DETAILS)
    return answer.status == 200 and answer.pod != pod


async def test_a_container_that_dies_is_started_again(world: World) -> None:
    pod = world.east.plane.pod("bookinfo", "details")
    pod.crash()

    async def restarts() -> int:
        found = await world.east.get("Pod", pod.name) or {}
        return sum(one["restartCount"] for one in found["status"]["containerStatuses"])

    assert await eventually(restarts) == 1
    await world.settled()
    assert (await world.east.until(DETAILS)).status == 200


async def test_strict_mtls_keeps_out_who_has_no_sidecar(world: World) -> None:
    await world.east.run("outsider", image="curlimages/curl", port=8080, labels={"sidecar.istio.io/inject": "false"})
    await world.settled()
    answer = await world.east.request(DETAILS, from_="outsider")
    assert answer.status == 0
    assert (await world.east.request(DETAILS)).status == 200
