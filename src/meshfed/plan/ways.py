"""The ways into remote meshes: by which SNIs an import or a discovery service is asked for, and who is to answer."""

from __future__ import annotations

from collections.abc import Mapping

from meshfed import istio
from meshfed.federation.merging import Candidate
from meshfed.model.imports import Import
from meshfed.model.meshes import Remote
from meshfed.model.probes import Probe


def of_import(candidate: Candidate, imported: Import) -> Probe | None:
    """Return what is to be proven of an offer that is imported, at the ports that the host has.

    ``None`` where there is no way yet.
    """
    remote, offer = candidate.remote, candidate.offer
    host, numbers = offer.sni_host or offer.host, {port.number for port in imported.ports}
    names = {
        port.number: istio.gateway_sni(remote, host, port.number) for port in offer.ports if port.number in numbers
    }
    # A ServiceEntry has one list for all its endpoints; beside a local Service each has an account of its own.
    identities = istio.subject_alt_names(imported.backends) if imported.local is None else offer.identities
    return _probe(remote, names, tuple(identities))


def of_discovery(remote: Remote) -> Probe | None:
    """Return what is to be proven of a remote's discovery service; ``None`` where another way leads there, or none."""
    if remote.discovery_address:
        return None
    # As for our sidecar: where nobody is stated, whoever has a certificate may be it.
    identities = (str(remote.identity),) if remote.identity_configured else ()
    port = remote.discovery_port
    names = {port: istio.gateway_sni(remote, remote.fds_host, port)}
    return _probe(remote, names, identities, is_discovery=True)


def _probe(
    remote: Remote, names: Mapping[int, str | None], identities: tuple[str, ...], *, is_discovery: bool = False
) -> Probe | None:
    if not remote.addresses:
        return None
    known = tuple(name for name in names.values() if name is not None)
    unnamed = tuple(port for port, name in names.items() if name is None)
    if not known and not unnamed:
        return None
    return Probe(remote.name, remote.addresses, known, identities, unnamed, is_discovery)
