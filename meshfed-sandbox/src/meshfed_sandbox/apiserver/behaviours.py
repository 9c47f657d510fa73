"""What particular kinds do beyond their schema: a Service gets an address, a Secret's stringData becomes data, ...

A kind's ``Behaviour`` prepares an object before it is validated and stored; kinds without one have none of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from meshfed_sandbox.apiserver import crds
from meshfed_sandbox.apiserver.causes import Cause, invalid, required
from meshfed_sandbox.apiserver.store import Event

JSONObject = dict[str, Any]
Prepare = Callable[[JSONObject, "JSONObject | None"], None]
Check = Callable[[JSONObject, "JSONObject | None"], list[Cause]]

SERVICE_RANGE: Final = "10.96.0.0/16"
NAMESPACES: Final = ("", "namespaces")
"""Where Namespaces are stored, which have a life unlike other objects'."""
IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})
"""Namespaces that cannot be deleted."""


def _nothing(new: JSONObject, old: JSONObject | None) -> None:
    del new, old


def _no_causes(new: JSONObject, old: JSONObject | None) -> list[Cause]:
    del new, old
    return []


class Behaviour(msgspec.Struct, frozen=True):
    """``prepare`` completes an object in place, ``check`` says what is wrong with it; the second argument is the
    object before an update, ``None`` on creation.
    """

    prepare: Prepare = _nothing
    check: Check = _no_causes


class Addresses:
    """Hands out Services' cluster IPs, each to one Service at a time; follows the Services through their events."""

    def __init__(self, network: str = SERVICE_RANGE) -> None:
        self._network = ipaddress.ip_network(network)
        self._used: dict[str, int] = {}
        self._next = 1

    def follow(self, event: Event) -> None:
        """Take note of which addresses a changed Service now has, or gave back."""
        for stored, step in ((event.after, 1), (event.before, -1)):
            address = stored.object.get("spec", {}).get("clusterIP", "") if stored else ""
            if address and address != "None":
                count = self._used.get(address, 0) + step
                if count:
                    self._used[address] = count
                else:
                    del self._used[address]

    def allocate(self) -> str:
        """An address nobody has."""
        for _ in range(self._network.num_addresses):
            self._next = self._next % (self._network.num_addresses - 2) + 1
            address = str(self._network[self._next])
            if address not in self._used:
                return address
        raise RuntimeError(f"every address of the Service range {self._network} is taken")

    def problem(self, address: str) -> str:
        """Why a Service may not ask for ``address``; empty where it may."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        if parsed not in self._network:
            return (
                f"failed to allocate IP {address}: the provided IP is not in the valid range. "
                f"The range of valid IPs is {self._network}"
            )
        if address in self._used:
            return f"failed to allocate IP {address}: provided IP is already allocated"
        return ""


class _Services:
    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def prepare(self, new: JSONObject, old: JSONObject | None) -> None:
        spec = new["spec"]
        if spec["type"] == "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
                spec.pop(field, None)
        else:
            self._address(spec, (old or {}).get("spec", {}))

    def _address(self, spec: JSONObject, old: JSONObject) -> None:
        wanted = spec.get("clusterIP") or (spec.get("clusterIPs") or [""])[0] or old.get("clusterIP")
        if not wanted:
            wanted = self._addresses.allocate()
        spec["clusterIP"] = wanted
        spec["clusterIPs"] = spec.get("clusterIPs") or [wanted]
        spec.setdefault("ipFamilies", old.get("ipFamilies") or ["IPv4"])
        spec.setdefault("ipFamilyPolicy", old.get("ipFamilyPolicy") or "SingleStack")

    def check(self, new: JSONObject, old: JSONObject | None) -> list[Cause]:
        spec = new["spec"]
        if spec["type"] == "ExternalName":
            return [] if spec.get("externalName") else [required("spec.externalName")]
        causes = _port_causes(spec)
        before, address = (old or {}).get("spec", {}).get("clusterIP"), spec.get("clusterIP")
        if before and address != before:
            causes.append(invalid("spec.clusterIPs[0]", spec["clusterIPs"], "may not change once set"))
        elif not before and address != "None" and (problem := self._addresses.problem(address)):
            causes.append(invalid("spec.clusterIPs", spec["clusterIPs"], problem))
        return causes


def _port_causes(spec: JSONObject) -> list[Cause]:
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None":
        return [required("spec.ports")]
    causes: list[Cause] = []
    names: set[str] = set()
    numbers: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        field, name, number = f"spec.ports[{index}]", port.get("name", ""), port.get("port", 0)
        if not isinstance(number, int) or not 0 < number < 65536:
            causes.append(invalid(f"{field}.port", number, "must be between 1 and 65535, inclusive"))
        if not name and len(ports) > 1:
            causes.append(required(f"{field}.name"))
        elif name and name in names:
            causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{field}.name"))
        if (number, port.get("protocol")) in numbers:
            shown = f'{{"port":{number},"protocol":"{port.get("protocol")}"}}'
            causes.append(Cause("FieldValueDuplicate", f"Duplicate value: {shown}", field))
        names.add(name)
        numbers.add((number, port.get("protocol")))
    return causes


def _prepare_namespace(new: JSONObject, old: JSONObject | None) -> None:
    new["spec"] = old["spec"] if old else {"finalizers": ["kubernetes"]}


def _check_secret(new: JSONObject, old: JSONObject | None) -> list[Cause]:
    if old is not None and new["type"] != old["type"]:
        return [invalid("type", new["type"], "field is immutable")]
    return _check_immutable_data(new, old)


def _check_immutable_data(new: JSONObject, old: JSONObject | None) -> list[Cause]:
    if not (old or {}).get("immutable"):
        return []
    causes = []
    if not new.get("immutable"):
        causes.append(
            Cause("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", "immutable")
        )
    causes += [
        Cause("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", field)
        for field in ("data", "binaryData")
        if new.get(field) != (old or {}).get(field)
    ]
    return causes


def _prepare_job(new: JSONObject, old: JSONObject | None) -> None:
    """Have a new Job select its own Pods and nobody else's: those that are labelled with its uid."""
    spec, meta = new["spec"], new["metadata"]
    if old is not None or spec.get("manualSelector"):
        return
    own = {"controller-uid": meta["uid"], "job-name": meta["name"]}
    own |= {f"batch.kubernetes.io/{name}": value for name, value in own.items()}
    template = spec["template"].setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **own}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": meta["uid"]}}


def behaviours(addresses: Addresses) -> Mapping[tuple[str, str], Behaviour]:
    """The behaviours by (group, kind)."""
    services = _Services(addresses)
    return {
        (crds.GROUP, "CustomResourceDefinition"): Behaviour(crds.prepare, crds.check),
        ("", "Namespace"): Behaviour(_prepare_namespace),
        ("", "Service"): Behaviour(services.prepare, services.check),
        ("", "Secret"): Behaviour(check=_check_secret),
        ("", "ConfigMap"): Behaviour(check=_check_immutable_data),
        ("batch", "Job"): Behaviour(_prepare_job),
    }
