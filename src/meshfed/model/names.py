"""Names: DNS labels, Kubernetes names and label pairs, service hosts, globs; and how several stand in a sentence.

Everything a remote announces passes through here before anything else believes it, so the rules are
Kubernetes' own (apimachinery's ``validation`` package), no laxer and no stricter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

MAX_NAME: Final = 253
"""The longest name of a Kubernetes object (a DNS subdomain), in characters."""
MAX_LABEL: Final = 63
"""The longest DNS label, in characters."""
MAX_SERVED: Final = 236
"""The longest host that can be called through an ingress: a TLS server name has 255 characters at most in BoringSSL and
OpenSSL, of which Istio takes 19 for ``outbound_.<port>_._.``."""
MAX_CLUSTER_DOMAIN: Final = MAX_SERVED - len("..svc.") - 2 * MAX_LABEL
"""The longest cluster domain with which every Service, of the longest name and namespace, has a host of that length."""
MAX_MESH_NAME: Final = 34
"""The longest name of a mesh: a DNS label less the 29 characters of ``federation-discovery-service-``."""

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(?:\.{_LABEL.pattern})*")
_SERVICE_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def is_dns_label(text: str) -> bool:
    """Whether ``text`` is an RFC 1123 label, as Namespaces and RemoteMeshes are named."""
    return _LABEL.fullmatch(text) is not None


def is_service_name(text: str) -> bool:
    """Whether ``text`` is an RFC 1035 label, as Services are named."""
    return _SERVICE_NAME.fullmatch(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether ``text`` is an RFC 1123 subdomain: lower-case labels joined by dots, 253 characters at most."""
    return len(text) <= MAX_NAME and _SUBDOMAIN.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """Whether Kubernetes takes ``text`` as a label key: ``[prefix/]name``."""
    prefix, slash, name = text.rpartition("/")
    if slash and not is_dns_name(prefix):
        return False
    return _QUALIFIED.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    """Whether Kubernetes takes ``text`` as a label value: empty, or up to 63 characters of a qualified name."""
    return text == "" or _QUALIFIED.fullmatch(text) is not None


class ServiceHost(msgspec.Struct, frozen=True, order=True):
    """A Kubernetes Service's DNS name, taken apart: ``<name>.<namespace>.svc.<domain>``."""

    name: str
    namespace: str
    domain: str

    @property
    def fqdn(self) -> str:
        """The host as one string."""
        return f"{self.name}.{self.namespace}.svc.{self.domain}"

    @classmethod
    def parse(cls, host: str, domain: str) -> ServiceHost | None:
        """Take ``host`` apart where it is a Service's name under ``domain``; ``None`` where it is not."""
        suffix = f".svc.{domain}"
        if not host.endswith(suffix):
            return None
        name, dot, namespace = host[: -len(suffix)].partition(".")
        if not dot or not is_service_name(name) or not is_dns_label(namespace):
            return None
        return cls(name=name, namespace=namespace, domain=domain)


def shortened(name: str, limit: int = MAX_NAME) -> str:
    """``name`` itself where it is a valid object name of at most ``limit`` characters, else a stable stand-in.

    The stand-in keeps a readable start and ends in a digest of the whole, so two long names never meet.
    """
    if len(name) <= limit and is_dns_name(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    readable = re.sub(r"[^a-z0-9.-]+", "-", name.lower())[: limit - len(digest) - 1]
    readable = ".".join(part for part in (p.strip("-")[:MAX_LABEL] for p in readable.split(".")) if part)
    return f"{readable}.{digest}" if readable else digest


def glob_matches(pattern: str, text: str) -> bool:
    """Whether ``pattern`` matches all of ``text``; ``*`` is any run of characters, nothing else is special.

    The text may be a stranger's, so there is no regular expression, which would try every way to share the text out
    among the stars. Whatever follows a star is taken where it comes first: that leaves the most to those after it.
    """
    if "*" not in pattern:
        return pattern == text
    first, *middle, last = pattern.split("*")
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def listed(names: Sequence[str], shown: int = 3) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 host``, ``2 hosts``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
