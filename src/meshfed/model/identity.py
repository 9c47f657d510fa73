"""SPIFFE identities as Istio writes them: ``spiffe://<trust domain>/ns/<namespace>/sa/<service account>``."""

from __future__ import annotations

import re

import msgspec

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_PATH = re.compile(r"(?:/[A-Za-z0-9._-]+)+")


class SpiffeID(msgspec.Struct, frozen=True, order=True):
    """A SPIFFE ID: the trust domain and the path with its leading slash."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"

    @property
    def principal(self) -> str:
        """The form AuthorizationPolicies use: without the scheme."""
        return f"{self.trust_domain}{self.path}"

    @property
    def workload(self) -> tuple[str, str] | None:
        """``(namespace, service account)`` where the path has Istio's form."""
        parts = self.path.split("/")
        if len(parts) == 5 and parts[1] == "ns" and parts[3] == "sa":
            return parts[2], parts[4]
        return None

    @classmethod
    def parse(cls, uri: str) -> SpiffeID | None:
        """Take ``uri`` apart; ``None`` where it is not a SPIFFE ID (SPIFFE-ID, section 2) of at most 2,048 bytes."""
        if len(uri) > 2048 or not uri.startswith("spiffe://"):
            return None
        domain, slash, rest = uri.removeprefix("spiffe://").partition("/")
        path = slash + rest
        if not _TRUST_DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path):
            return None
        if any(part in {".", ".."} for part in path.split("/")):
            return None
        return cls(trust_domain=domain, path=path)

    @classmethod
    def of_workload(cls, trust_domain: str, namespace: str, service_account: str) -> SpiffeID:
        """The identity Istio gives to what runs as ``service_account`` in ``namespace``."""
        return cls(trust_domain=trust_domain, path=f"/ns/{namespace}/sa/{service_account}")
