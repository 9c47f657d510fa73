"""Whether what is said of what is offered and imported is what istiod makes of it."""

from __future__ import annotations

import re
from typing import Any

from meshfed.plan import ExportKey, ImportKey
from meshfed_sandbox.dataplane.values import ProxyIdentity
from tests.istiod.cluster import Cluster
from tests.istiod.facts import Facts, facts
from tests.istiod.scene import (
    GATE,
    HERE,
    REMOTE,
    SIDECARS,
    THERE,
    WHERE,
    written,
)
from tests.waiting import eventually
from tests.world import World

JSONObject = dict[str, Any]


async def agree(beside: Cluster, world: World, state: str, remote: JSONObject) -> None:
    """Fail where something else is said of what is offered or imported than istiod tells proxies.

    What is written is there also where it is said that it cannot be. Where a rule of ours is, which is for what is
    imported, the gateway goes by it too.
    """
    found: list[str] = []

    async def equal() -> bool:
        found[:] = await disagreements(beside, world, remote)
        return not found

    try:
        await eventually(equal, within=10.0)
    except AssertionError:
        raise AssertionError("\n".join([state, *found])) from None


async def disagreements(beside: Cluster, world: World, remote: JSONObject) -> list[str]:
    found = await _imported(beside, world, remote)
    if not any(one["kind"] == "DestinationRule" for one in written(world)):
        found += await _offered(beside, world)
    return found


async def _offered(beside: Cluster, world: World) -> list[str]:
    told, seen = await read(beside, GATE), await read(beside, SIDECARS["client.other"])
    found = []
    for name, ports in (("ratings", (80, 81, 82)), ("leader", (80, 81))):
        outputs = world.outputs[ExportKey("default", name)]
        offered = {one.number for one in outputs.export.offer.ports} if outputs.export is not None else set()
        decision = outputs.export_decision
        said = set() if decision is not None and "has nobody to send to" in decision.message else offered
        reached = {one for one in ports if told.get(f"endpoints outbound_.{one}_._.{name}.default.svc.cluster.local")}
        # Of a port that nobody serves at all nothing is said.
        said &= {one for one in ports if seen.get(f"endpoints outbound|{one}||{name}.default.svc.cluster.local")}
        if said != reached:
            found.append(f"{name}: offered {sorted(said)} ({decision}), reached {sorted(reached)}")
    return found


async def _imported(beside: Cluster, world: World, remote: JSONObject) -> list[str]:
    sni = "{name}-{port}.default.svc.cluster.local" if "ingressType" in remote else "outbound_.{port}_._.{host}"
    told = {where: [await read(beside, SIDECARS[f"client.{where}"])] for where in WHERE}
    told["web"].append(await read(beside, SIDECARS["other.web"]))
    objects = [one for key, outputs in world.outputs.items() if isinstance(key, ImportKey) for one in outputs.objects]
    found = []
    for host, ports in ((HERE, (80, 81, 82)), (THERE, (80, 81))):
        accepted = world.statuses[f"FederatedService {host}.west"].conditions[0]
        if accepted.reason == "LocalServiceUnusable":
            continue  # not for the sake of others
        name = host.partition(".")[0]
        written_for = {number for one in objects for number in _ports_of(one, host)}
        for where in WHERE:
            reached = {
                one
                for one in ports
                if all(_reaches(each, host, one, sni.format(port=one, host=host, name=name)) for each in told[where])
            }
            said = {one for one in ports if one in written_for and where not in _barred(accepted.message, one)}
            # Of a port that is not imported, nothing is said of those who have a rule of their own.
            if where != "other":
                reached &= written_for
            if said != reached:
                found.append(
                    f"{host} from {where}: imported {sorted(said)} ({accepted.reason}: {accepted.message}), "
                    f"reached {sorted(reached)}"
                )
            if "trafficPolicy" in remote and (where == "other" or "" not in _lost(accepted.message)):
                clusters = [each[f"cluster outbound|{one}||{host}"] for each in told[where] for one in said]
                without = any(not each["outliers"] for each in clusters)
                if without != (not _lost(accepted.message).isdisjoint({where, ""})):
                    found.append(f"{host} from {where}: {accepted.message}, outliers not detected: {without}")
    return found


def _lost(message: str) -> set[str]:
    """The namespaces of which a message says that clients there do not go by the ``trafficPolicy``; empty: all."""
    found = re.search(r"; (?:for clients in ([^;]+?) )?DestinationRule [^;:]+ takes the place of the one with", message)
    return set((found[1] or "").partition(" and ")[0].split(", ")) if found else set()


async def read(beside: Cluster, proxy: ProxyIdentity) -> Facts:
    told = await beside.told(proxy)
    return facts(told["clusters"], told["endpoints"], told["listeners"], told["routes"])


def _ports_of(one: JSONObject, host: str) -> list[int]:
    """The ports of a host for which an object has endpoints of the remote."""
    numbers = {"http": 80, "grpc": 81, "http-plain": 82}
    if one["kind"] == "WorkloadEntry" and host == HERE:
        return [numbers[name] for name in one["spec"]["ports"]]
    if one["kind"] == "ServiceEntry" and one["spec"]["hosts"] == [host]:
        return [each["number"] for each in one["spec"]["ports"]]
    return []


def _barred(message: str, port: int) -> set[str]:
    """The namespaces of which a message says that calls of a port from there do not get through."""
    found = re.findall(r"; (?:port ([\d, ]+) )?not for clients in ([^;]+?), whose", message)
    return {
        where
        for ports, clients in found
        if not ports or str(port) in ports.split(", ")
        for where in clients.partition(" and ")[0].split(", ")
    }


def _reaches(told: Facts, host: str, port: int, sni: str) -> bool:
    """Whether a proxy calls the remote's ingress by Istio's mTLS, and by its SNI."""
    cluster = f"outbound|{port}||{host}"
    for endpoint in told.get(f"endpoints {cluster}", ()):
        if endpoint.startswith(f"{REMOTE}:"):
            sockets: Facts = told[f"cluster {cluster}"]["sockets"]
            socket = sockets["all"] if "all" in sockets else sockets["istio"] if " mutual " in endpoint else "clear"
            return isinstance(socket, dict) and (socket["sni"], socket["certificate"]) == (sni, ["default"])
    return False
