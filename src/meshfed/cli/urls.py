"""What a person asks for with HOST, HOST:PORT/PATH or a URL, and the URL that a request is sent to."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from meshfed.cli.exits import BadInput
from meshfed.model.names import is_dns_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshfed.api.v1alpha1 import FederatedService

_URL: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<name>\[[^\]/]*\]|[^:/?#\[\]]*)(?P<port>:[^/?#]*)?(?P<path>[/?#].*)?", re.DOTALL
)
_PATH: Final = re.compile(r"[!-~]*")


class HostAsked(NamedTuple):
    """A host as it was asked for; ``scheme`` and ``port`` are empty where they were left out. IPv6 has its brackets."""

    scheme: str
    name: str
    port: str
    path: str


def asked_for(text: str) -> HostAsked:
    """Take apart what was asked for; raises ``BadInput``."""
    found = _URL.fullmatch(text)
    name = (found["name"] if found is not None else "").lower().rstrip(".")
    if found is None or not (is_dns_name(name) or _is_address(name)):
        raise BadInput(f"{text!r}: {name!r} is no host; write HOST, HOST:PORT/PATH, or [IPV6]:PORT/PATH")
    port, path = found["port"] or "", found["path"] or "/"
    if port and not (port[1:].isascii() and port[1:].isdecimal() and 0 < int(port[1:][:6]) < 65536):
        raise BadInput(f"{text}: {port[1:]!r} is no port; write HOST:PORT/PATH")
    if not _PATH.fullmatch(path):
        raise BadInput(f"{text!r}: the path has what no URL may have; write it percent-encoded")
    return HostAsked(found["scheme"] or "", name, port[1:], path if path.startswith("/") else f"/{path}")


def _is_address(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return (address.version == 6) == name.startswith("[")


def imported_host(text: str, records: Iterable[FederatedService]) -> str:
    """Return the host that ``text`` names, be it by its first labels; itself where nothing of that name is offered.

    What is imported comes before what is only offered. Raises ``BadInput`` where several are meant.
    """
    from meshfed.views.imports import called, is_named

    records = tuple(records)
    name = asked_for(text).name
    exact = {called(one) for one in records if name in {one.spec.host, one.status.imported_as}}
    imported = {one.status.imported_as for one in records if is_named(name, one.status.imported_as)}
    found = exact or imported or {one.spec.host for one in records if is_named(name, one.spec.host)}
    if len(found) > 1:
        raise BadInput(f"{text}: it may be {' or '.join(sorted(found))}: write the whole host")
    return next(iter(found), name)


def url_of(text: str, records: Iterable[FederatedService] = ()) -> str:
    """Return the URL to ask for; of a host without a port, the first HTTP port that is offered for it.

    Raises ``BadInput`` where no port can be chosen.
    """
    records = tuple(records)
    asked, host = asked_for(text), imported_host(text, records)
    offers = [one for one in records if host in {one.spec.host, one.status.imported_as}]
    ports = {one.number: one.protocol for offer in offers for one in offer.spec.ports}
    port = asked.port or {"http": "80", "https": "443"}.get(asked.scheme, "")
    if not port:
        usable = sorted(number for number, protocol in ports.items() if protocol in {"HTTP", "HTTP2", "GRPC"})
        if not usable:
            those = ", ".join(f"{number}/{protocol}" for number, protocol in ports.items())
            what = f"it has the ports {those}" if ports else "no offer of it is seen here"
            raise BadInput(f"{text}: {what}: say which port, as {asked.name}:PORT")
        port = str(usable[0])
    scheme = asked.scheme or ("https" if ports.get(int(port)) in {"HTTPS", "TLS"} else "http")
    return f"{scheme}://{host}:{port}{asked.path}"
