"""What a person calls an object that the controller wrote."""

from __future__ import annotations

from typing import Final, NamedTuple

KINDS: Final = {
    "FederatedService": ("federatedservices", "fsvc"),
    "ServiceEntry": ("serviceentries", "se"),
    "WorkloadEntry": ("workloadentries", "we"),
    "DestinationRule": ("destinationrules", "dr"),
    "Gateway": ("gateways", "gw"),
    "EnvoyFilter": ("envoyfilters",),
    "Route": ("routes",),
    "PeerAuthentication": ("peerauthentications", "pa"),
    "AuthorizationPolicy": ("authorizationpolicies", "ap"),
}
"""The kinds that the controller writes, and what else they are called."""
_ASKED: Final = {**KINDS, "Service": ("services", "svc")}
"""The kinds that somebody may ask about."""
_CALLED: Final = {name: kind for kind, names in _ASKED.items() for name in (kind.lower(), *names)}


class Named(NamedTuple):
    """An object that a person names; any namespace where that is not said."""

    kind: str
    namespace: str | None
    name: str


def named(words: tuple[str, ...]) -> Named | None:
    """Return the object that ``kind/name`` or ``Kind namespace/name`` names; ``None`` where it names none of ours."""
    if len(words) == 1 and " " in words[0].strip():
        words = tuple(words[0].split())
    kind, slash, name = words[0].partition("/")
    if len(words) == 1 and slash:
        found = _kind(kind)
        return Named(found, None, name) if found is not None else None
    if len(words) == 2 and not slash and (found := _kind(words[0])) is not None:
        namespace, slash, name = words[1].partition("/")
        return Named(found, namespace, name) if slash else Named(found, None, namespace)
    return None


def _kind(text: str) -> str | None:
    """Return the kind that is called so, with or without its group."""
    return _CALLED.get(text.lower().partition(".")[0])
