"""What the controller is started with."""

from __future__ import annotations

import msgspec

from meshfed.api.v1alpha1 import MeshFederation, RemoteMesh
from meshfed.model.installation import MESH_CONFIG, TRUST_BUNDLE


class Address(msgspec.Struct, frozen=True):
    """Where to listen; an empty host means every interface, port 0 means not at all."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT``, ``:PORT``, ``[IPV6]:PORT`` or ``0``.

        Raises:
            ValueError: it is none of these; the message says what is expected.
        """
        host, colon, port = text.rpartition(":")
        if not colon and port == "0":
            return cls(host="", port=0)
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not an address to listen on: write HOST:PORT or :PORT, such as :15080, or 0")
        return cls(host=host.strip("[]"), port=int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Fixed(msgspec.Struct, frozen=True):
    """A MeshFederation and RemoteMeshes that come from flags instead of the cluster, and so never change."""

    federation: MeshFederation
    remotes: tuple[RemoteMesh, ...] = ()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The controller's settings, all checked."""

    namespace: str
    discovery: Address = Address("", 15080)
    metrics: Address = Address("", 8080)
    health: Address = Address("", 8081)
    allow_unauthenticated_peers: bool = False
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128", "::6/128")
    read_pods: bool = True
    probe: bool = True
    """Prove the ways into remote meshes."""
    trust_bundle: str = TRUST_BUNDLE
    """The ConfigMap with the roots that this mesh trusts."""
    mesh_config: str = MESH_CONFIG
    """The ConfigMap, in the control plane namespace, with the mesh's configuration."""
    account: tuple[str, str] | None = None
    """Namespace and name of the ServiceAccount that the controller's pods run as, where known."""
    adopt_reference: bool = False
    """Take over what the reference's controller left."""
    fixed: Fixed | None = None
