"""Where a remote's discovery service is dialled, and what may be behind it where it cannot be reached."""

from __future__ import annotations

from typing import Final

from meshfed.api.v1alpha1 import RemoteMesh
from meshfed.fds import DiscoveryError, NotReady, Refused, Target
from meshfed.plan import meshes

_SIDECARS_WORDS: Final = "RBAC: access denied"
"""What Envoy answers whom no policy admits; the controller behind it, which would name the identity, is not asked."""
_PROXYS_WORDS: Final = ("upstream connect error", "no healthy upstream")
"""How Envoy begins what it answers in the place of a service."""
_NO_WORDS: Final = "UNAVAILABLE"
"""How an error ends that came without words: a controller has some, a sidecar that knows no way has none."""


def target(mesh: RemoteMesh) -> Target | None:
    """Return where to dial; ``None`` for a remote without an address.

    Behind sidecars the authority decides where a call goes, so any address that leads into the mesh's own proxy
    will do: the remote's first one, on the discovery port, which the discovery ServiceEntry knows.
    """
    remote = meshes.remote(mesh)
    if remote.discovery_address:
        host, _, port = remote.discovery_address.rpartition(":")
        return Target(host.strip("[]"), int(port), authority=remote.fds_host)
    if not remote.addresses:
        return None
    return Target(remote.addresses[0].host, remote.discovery_port, authority=remote.fds_host)


def is_another(mesh: RemoteMesh, before: RemoteMesh) -> bool:
    """Whether somebody else is dialled, or is to answer, so that what goes on with the one before has to end.

    What was announced under another trust domain was dropped as it came in, so all has to be heard again. Who may
    answer, and which way leads there, counts when a connection is made, by the sidecar, and not again while it lasts:
    were the stream kept, a wrong port would show only once it breaks.
    """
    one, other = [
        (target(each), each.spec.trust_domain, each.spec.identity, _ports(each), each.spec.ingress_type)
        for each in (mesh, before)
    ]
    return one != other


def _ports(mesh: RemoteMesh) -> tuple[int, ...]:
    """The remote's own port, and that of the address which is dialled."""
    return (mesh.spec.port, *(address.port for address in meshes.remote(mesh).addresses[:1]))


def hint(error: DiscoveryError, mesh: RemoteMesh) -> str:
    """Return what may be behind an answer that only says that nothing can be had; else nothing."""
    if isinstance(error, Refused) and _SIDECARS_WORDS in str(error):
        return (
            "; the remote's sidecar says so: see whether the remote has a RemoteMesh for this mesh, and compare its "
            "`identity` with the service account of our controller"
        )
    if not isinstance(error, NotReady):
        return ""
    if any(words in str(error) for words in _PROXYS_WORDS):
        gateway = ", ".join(map(str, meshes.remote(mesh).addresses[:3]))
        return (
            f"; a proxy says so: the remote's controller is not reached by way of its gateway ({gateway}), or is not "
            f"{meshes.remote(mesh).fds_host}, as metadata.name and discovery.namespace have it, or is not whom "
            "spec.identity says, or one does not believe the other's certificate; our sidecar's access log tells which"
        )
    if str(error).endswith(_NO_WORDS):
        return (
            "; nobody says why, which is how our own sidecar answers for a host that it does not know: istiod tells it "
            "of the remote a moment after the RemoteMesh is there"
        )
    return "; it is starting, or not in sync yet"
