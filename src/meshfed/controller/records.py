"""FederatedServices as objects: what is written for an offer, and which offer an object speaks of."""

from __future__ import annotations

import msgspec

from meshfed.api.v1alpha1 import API_VERSION, REMOTE_LABEL, FederatedServiceSpec
from meshfed.federation.imports import record_name
from meshfed.kube import Manifest


class Record(msgspec.Struct, frozen=True):
    """One host of one remote: whose word a FederatedService is."""

    remote: str
    host: str


def manifest(spec: FederatedServiceSpec, *, namespace: str, owner: dict[str, str]) -> Manifest:
    """The FederatedService for an offer; ``owner`` are the labels that say whose it is."""
    return {
        "apiVersion": API_VERSION,
        "kind": "FederatedService",
        "metadata": {
            "name": record_name(spec.host, spec.remote),
            "namespace": namespace,
            "labels": {**owner, REMOTE_LABEL: spec.remote},
        },
        "spec": msgspec.to_builtins(spec),
    }
