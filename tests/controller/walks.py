"""Random walks: what owners and remotes may do to a federated mesh, as plain values, so that a walk can be replayed.

A walk is made from its seed alone, before anything runs. Pools are small, so that things meet: hosts that several
remotes offer and a local Service has too, selectors that select each other's pods, rules that match by half.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec

from meshfed.kube import Manifest
from meshfed.model.offers import Offer, Port
from tests.builders import EXPORTED, SYSTEM, endpoint_slice, manifest, namespace, pod, service

DNS = {"gw.west.example": ("192.0.2.7", "2001:db8::7"), "gw.north.example": ("192.0.2.8",)}
NAMESPACES = {
    "default": {"env": "prod"},
    "shop": {"env": "test", "team": "shop"},
    "kube-public": {},
    "mesh-system": {},
    SYSTEM: {},
}
REMOTES = ("west", "north", "south")
_LONG = "a-service-whose-name-leaves-little-room-for-anything-after-it"
_NAMES = ("a", "b", "c", "pay", "a", "b", "pay", _LONG)
_PORTS = (
    [{"name": "http", "port": 9080, "targetPort": 8080}],
    [{"name": "http", "port": 9080, "targetPort": "web"}],
    [{"port": 9080}],
    [{"name": "http", "port": 9080, "targetPort": "web"}, {"name": "grpc", "port": 7000, "targetPort": "rpc"}],
    [{"name": "db", "port": 5432, "appProtocol": "tcp"}, {"name": "http", "port": 9080}],
    [{"name": "dns", "port": 53, "protocol": "UDP"}],
)
_MTLS = "PeerAuthentication"
_PODS = ("p1", "p2", "p3")


class Put(msgspec.Struct, frozen=True):
    """Create an object, or replace it."""

    manifest: Manifest


class Delete(msgspec.Struct, frozen=True):
    """Delete an object, if it is there."""

    kind: str
    namespace: str
    name: str


class Announce(msgspec.Struct, frozen=True):
    """A remote offers something, or offers it otherwise."""

    remote: str
    offer: Offer


class Withdraw(msgspec.Struct, frozen=True):
    """A remote offers a host no more, if it did."""

    remote: str
    host: str


class Blink(msgspec.Struct, frozen=True):
    """A remote's discovery service goes away and comes back."""

    remote: str


class Meddle(msgspec.Struct, frozen=True):
    """Somebody deletes an object that the controller wrote, or changes it: the ``number``-th, counted around."""

    number: int
    delete: bool


class Restart(msgspec.Struct, frozen=True):
    """The controller is killed and started."""


Step = Put | Delete | Announce | Withdraw | Blink | Meddle | Restart


def walk(seed: int, length: int) -> list[Step]:
    """The walk of that seed."""
    return list(_Walker(Random(seed)).steps(length))


class _Walker:
    """Makes up what happens."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._blinks = 2
        """How often a remote may go away: it takes ever longer to be looked for again."""
        self._meddlings = 3
        """How often somebody may meddle: what is meddled with again and again is put back ever later."""

    def steps(self, length: int) -> Iterator[Step]:
        """A mesh with a remote that offers something, and then ``length`` steps from there."""
        yield Put(self._federation("east"))
        yield Put(self._remote("west"))
        for _ in range(4):
            yield self._announcement()
            yield Put(self._service())
        kinds = {
            self._announcement: 7,
            self._withdrawal: 3,
            lambda: Put(self._service()): 6,
            self._service_gone: 3,
            lambda: Put(self._pod()): 4,
            lambda: Put(self._slice()): 2,
            lambda: Put(self._of_others()): 3,
            self._of_others_gone: 3,
            lambda: Put(self._remote(self._one(*REMOTES))): 6,
            lambda: Put(self._federation(self._mostly("east", "zeast"))): 4,
            self._gone: 2,
            lambda: Put(self._namespace()): 1,
            self._blink: 1,
            self._meddling: 1,
            Restart: 1,
        }
        for make in self._rng.choices(list(kinds), list(kinds.values()), k=length):
            step: Step = make()
            yield step

    # --- choices

    def _one(self, *values: Any) -> Any:
        return self._rng.choice(values)

    def _mostly(self, usual: Any, *others: Any) -> Any:
        """The usual value three times out of four."""
        return usual if self._rng.random() < 0.75 else self._rng.choice(others)

    def _rarely(self, usual: Any, *others: Any) -> Any:
        """The usual value nine times out of ten."""
        return usual if self._rng.random() < 0.9 else self._rng.choice(others)

    def _some(self, **values: Any) -> dict[str, Any]:
        """Each of the fields or not; ``None`` is none either."""
        return {
            key.rstrip("_"): value for key, value in values.items() if value is not None and self._rng.random() < 0.5
        }

    # --- steps

    def _announcement(self) -> Step:
        return Announce(self._one(*REMOTES), self._offer())

    def _withdrawal(self) -> Step:
        return Withdraw(self._one(*REMOTES), self._offer().host)

    def _service_gone(self) -> Step:
        return Delete("Service", self._one("default", "shop"), self._one(*_NAMES))

    def _of_others_gone(self) -> Step:
        kind, name = self._one(
            *(("Pod", self._one(*_PODS)), ("EndpointSlice", "by-hand")),
            *((kind, "theirs") for kind in ("DestinationRule", "ServiceEntry", _MTLS)),
        )
        return Delete(kind, self._one("default", "shop"), name)

    def _gone(self) -> Step:
        kind, name = self._one(("RemoteMesh", REMOTES[0]), ("RemoteMesh", self._one(*REMOTES)), ("MeshFederation", "?"))
        return Delete(kind, SYSTEM, self._mostly("east", "zeast") if name == "?" else name)

    def _blink(self) -> Step:
        self._blinks -= 1
        return Blink(self._one(*REMOTES)) if self._blinks >= 0 else self._announcement()

    def _meddling(self) -> Step:
        self._meddlings -= 1
        return Meddle(self._one(*range(100)), self._one(True, False)) if self._meddlings >= 0 else self._withdrawal()

    def _namespace(self) -> Manifest:
        name = self._one("default", "shop")
        labels = self._one(NAMESPACES[name], {}, {"env": "test"}, {"env": "prod", "team": "pay"})
        return namespace(name, **labels)

    # --- objects

    def _service(self) -> Manifest:
        name = self._one(*_NAMES)
        selector = self._mostly({"app": name}, {"app": "a"}, {"app": "a", "v": "1"}, {})
        spec: dict[str, Any] = {"ports": self._mostly([{"name": "http", "port": 9080}], *_PORTS), "selector": selector}
        spec |= self._rarely({}, {"clusterIP": "None"}, {"type": "ExternalName", "externalName": "x.example"})
        labels = self._mostly(EXPORTED, {}) | self._one({}, {"tier": "gold"}, {"tier": "tin"})
        return service(f"{name}.{self._mostly('default', 'shop', 'kube-public')}", labels=labels, **spec)

    def _pod(self) -> Manifest:
        labels = self._one({"app": "a"}, {"app": "a", "v": "1"}, {"app": "b"}, {"app": "pay"})
        sidecar = self._mostly(True, False)
        place = f"{self._one(*_PODS)}.{self._mostly('default', 'shop')}"
        return pod(place, account="x", sidecar=sidecar, labels=labels, address=self._one("", "10.0.0.1"))

    def _slice(self) -> Manifest:
        endpoints = self._one(["192.0.2.7"], ["10.0.0.1"], ["10.0.0.1=p1"], ["10.0.0.2=p2", "10.0.0.3=p3"])
        return endpoint_slice(f"by-hand.{self._mostly('default', 'shop')}", self._one(*_NAMES), *endpoints)

    def _of_others(self) -> Manifest:
        host = self._one("a", "b.default.svc.cluster.local", "*.shop.svc.cluster.local", "*.west.example", "pay")
        selector = self._one({"app": "a"}, {"app": "b"}, {"v": "1"})
        where = self._one("default", "shop", SYSTEM)
        # Of the whole mesh it would end all federation for good: nothing takes that one away.
        mtls = {"mtls": {"mode": self._one("DISABLE", "STRICT") if where != SYSTEM else "STRICT"}}
        kind, spec = self._one(
            (_MTLS, mtls | self._mostly({"selector": {"matchLabels": selector}}, {})),
            ("DestinationRule", {"host": host, "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 1}}}),
            ("ServiceEntry", {"hosts": ["vm.example"], "workloadSelector": {"labels": selector}}),
        )
        if kind == "ServiceEntry":
            spec |= {"ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "resolution": "STATIC"}
        return manifest(kind, "theirs", spec, namespace=where)

    def _offer(self) -> Offer:
        name = f"{self._one(*_NAMES)}.{self._mostly('default', 'shop', 'kube-system', SYSTEM)}"
        host = f"{name}.svc.{self._mostly('cluster.local', 'west.mesh')}"
        host = self._rng.choices([host, "x.example.com", "kubernetes.default.svc.cluster.local"], [12, 1, 1])[0]
        http = Port(number=9080, name="http", protocol="HTTP", target_port=8080)
        grpc = Port(number=7000, name="grpc", protocol="GRPC")
        spiffe = "spiffe://{}/ns/{}/sa/{}"
        return Offer(
            host=host,
            ports=self._mostly(
                (http,),
                (http, grpc),
                (grpc,),
                (Port(number=9080, name="web", protocol="HTTP"),),
                (Port(number=5432, name="db"),),
                (),
            ),
            labels=self._mostly({"app": "x"}, {}, {"app": "x", "tier": "gold", "topology.istio.io/network": "mine"}),
            sni_host=self._mostly("", f"real-{host}", "b.default.svc.cluster.local"),
            identities=self._mostly(
                (),
                (spiffe.format("cluster.local", "default", "x"),),
                (spiffe.format("cluster.local", "default", "y"), spiffe.format("remote.local", "default", "z")),
            ),
            locality=self._mostly("", "r1/z1"),
        )

    def _federation(self, name: str) -> Manifest:
        gateway: dict[str, Any] = {
            "selector": self._mostly({"app": "federation-ingress-gateway"}, {"istio": "gw", "app": "x"}),
            **self._some(portConfig={"number": self._one(443, 15443), "name": self._one("tls", "tls-passthrough")}),
        }
        spec = {
            "network": self._rarely("east-network", "west-network"),
            "ingress": {"type": self._one("istio", "istio", "openshift-router"), "gateway": gateway},
            **self._some(trustDomain=self._one("cluster.local", "cluster.local", "remote.local")),
            "clusterDomain": self._rarely("cluster.local", "east.example"),
            "controlPlaneNamespace": self._mostly(SYSTEM, "mesh-system"),
            "export": self._mostly(self._export(), None),
        }
        return manifest("MeshFederation", name, _without_none(spec))

    def _export(self) -> dict[str, Any]:
        alias = {"action": "Export", "names": ["pay"], "as": self._one({"name": "a"}, {"namespace": "shop"})}
        rules = [*self._mostly([], [alias]), *(self._export_rule() for _ in range(self._one(1, 2)))]
        return self._some(
            serviceSelectors=self._mostly({"matchLabels": EXPORTED}, {}, self._selector()),
            namespaceSelectors=self._one({}, {"matchLabels": {"env": "prod"}}, self._selector("env", "test")),
            rules=self._one(None, rules),
        )

    def _export_rule(self) -> dict[str, Any]:
        action = self._mostly("Export", "Deny")
        return {
            "action": action,
            **self._some(
                namespaces=[self._one("default", "s*", "*", "kube-public")],
                names=[self._one("a", "p*", "*", "a-*"), "b"],
                labels=self._selector(),
                remotes=[self._one(*REMOTES)] if action == "Export" else None,
                ports=self._one(["http"], ["g*", 7000], None),
            ),
        }

    def _selector(self, key: str = "tier", value: str = "gold") -> dict[str, Any]:
        operator = self._one("In", "NotIn", "Exists", "DoesNotExist")
        values = {"values": [value, "other"]} if operator in {"In", "NotIn"} else {}
        return {"matchExpressions": [{"key": key, "operator": operator, **values}]}

    def _remote(self, name: str) -> Manifest:
        trust_domain = self._mostly("cluster.local", "remote.local")
        spec = {
            "addresses": self._mostly(
                ["192.0.2.10"],
                ["192.0.2.10", "192.0.2.11"],
                ["gw.west.example"],
                ["gw.north.example", "192.0.2.12"],
                [],
            ),
            "network": self._rarely(f"{name}-network", "west-network", "east-network"),
            "trustDomain": trust_domain,
            "identity": f"spiffe://{trust_domain}/ns/{SYSTEM}/sa/{self._mostly(name, 'shared')}",
            "discovery": {"address": self._mostly("{discovery}", None), **self._some(namespace="mesh-system")},
            **self._some(
                ingressType=self._one("istio", "openshift-router"),
                port=self._one(443, 15443),
                clusterDomain=self._mostly("cluster.local", "west.mesh"),
                locality="r2/z1",
                priority=self._one(1, 2),
                trafficPolicy={"outlierDetection": {"consecutive5xxErrors": 3}},
            ),
            "import": self._mostly(self._import(), None),
        }
        return manifest("RemoteMesh", name, _without_none(spec))

    def _import(self) -> dict[str, Any]:
        deny = {"action": "Deny", "hosts": [self._one("a.*", "*.shop.*")]}
        alias = {"action": "Import", "hosts": ["*.shop.*"], "as": {"host": "{name}.{namespace}.svc.west.example"}}
        onto = {
            "action": "Import",
            "hosts": ["b.default.svc.cluster.local"],
            "as": {"host": "a.default.svc.cluster.local"},
        }
        stranger = {"action": "Import", "hosts": ["x.example.com"], "as": {"host": "x.shop.svc.cluster.local"}}
        rules = [
            one
            for one in (deny, alias, onto, stranger, self._import_rule(), self._import_rule())
            if self._rng.random() < 0.5
        ]
        return {
            "merge": self._mostly(True, False),
            **self._some(
                allowTCP=self._one(True, False),
                limit=self._one(0, 1, 2, 3),
                exportTo=self._one(["."], ["shop", "default"], ["*"]),
                rules=rules or None,
            ),
        }

    def _import_rule(self) -> dict[str, Any]:
        return {
            "action": "Import",
            **self._some(
                hosts=[self._one("*.default.*", "a.*", "*", "b.default.svc.cluster.local"), "pay.*"],
                namespaces=[self._one("default", "kube-system", "*")],
                labels=self._selector(),
                merge=self._one(True, False),
                allowTCP=self._one(True, False),
                ports=self._one(["http", "web"], ["*"], [7000], None),
            ),
        }


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
