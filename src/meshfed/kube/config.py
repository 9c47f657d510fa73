"""Which cluster to speak to, as whom, and what a pod knows of that."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from meshfed.kube.credentials import Credentials, TokenFile
from meshfed.kube.errors import ConfigError
from meshfed.kube.tls import TLSConfig

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster and how to connect to it.

    ``server`` is a URL, perhaps with a path; ``namespace`` where things are when none is named; ``proxy`` the URL of
    an HTTP proxy; ``impersonate`` the headers that ask to act as somebody else; ``source`` says where this was found,
    and ``context`` under which name in a kubeconfig.
    """

    server: str
    namespace: str = "default"
    tls: TLSConfig = field(default_factory=TLSConfig)
    credentials: Credentials = field(default_factory=Credentials)
    proxy: str | None = field(default=None, repr=False)
    impersonate: tuple[tuple[str, str], ...] = ()
    source: str = ""
    context: str = ""


def in_cluster(environ: Mapping[str, str], root: Path = SERVICE_ACCOUNT) -> ClusterConfig:
    """The API of the cluster this pod runs in, as its service account; ``ConfigError`` outside of a pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigError(
            "is not set, so this is no pod of a cluster",
            where="$KUBERNETES_SERVICE_HOST",
            remedy="name a kubeconfig with --kubeconfig or $KUBECONFIG",
        )
    token = root / "token"
    if not token.exists():
        raise ConfigError(
            "does not exist", where=str(token), remedy="give the pod a service account (automountServiceAccountToken)"
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    namespace = root / "namespace"
    return ClusterConfig(
        server=server,
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        tls=TLSConfig(ca=root / "ca.crt"),
        credentials=TokenFile(token),
        proxy=proxy_for(server, environ),
        source=f"the service account in {root}",
    )


class _Claims(msgspec.Struct):
    sub: str = ""


def pod_service_account(root: Path = SERVICE_ACCOUNT) -> tuple[str, str] | None:
    """Namespace and name of the service account that this pod runs as; ``None`` where no token of one says so.

    A token is a JWT whose claim ``sub`` is ``system:serviceaccount:<namespace>:<name>``. It is our own, and nothing is
    permitted because of it, so it is not verified.
    """
    with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
        payload = (root / "token").read_text().split(".")[1:2]
        claims = msgspec.json.decode(base64.urlsafe_b64decode("".join(payload) + "=="), type=_Claims)
        match claims.sub.split(":"):
            case ["system", "serviceaccount", namespace, name] if namespace and name:
                return namespace, name
    return None


def proxy_for(server: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` ask for, by Go's rules.

    That is: loopback is never proxied, and NO_PROXY may hold networks, which is how clusters' addresses are excepted.
    """
    url = urlsplit(server)
    host = url.hostname or ""
    proxy = environ.get(f"{url.scheme}_proxy") or environ.get(f"{url.scheme}_proxy".upper())
    exceptions = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not proxy or host == "localhost" or any(_excepts(entry.strip(), host) for entry in exceptions.split(",")):
        return None
    address = _address(host)
    return None if address is not None and address.is_loopback else proxy


def _excepts(entry: str, host: str) -> bool:
    address = _address(host)
    if address is None:
        name = entry.lower().removeprefix("*").lstrip(".")
        return entry == "*" or (bool(name) and (host == name or host.endswith(f".{name}")))
    try:
        return entry == "*" or address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False  # a name, or nothing


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
