"""What becomes of traffic where one plan takes the place of another, in words: a pure function of the two.

Of imports, each host that remotes serve before or after; of exports, each host that is offered before or after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from meshfed.model.imports import Import
from meshfed.model.names import ServiceHost
from meshfed.model.offers import Port
from meshfed.plan import Plan, Published


class TrafficKind(StrEnum):
    """What becomes of hosts, the worst first."""

    LOST = "Lost"
    UNEXPORTED = "Unexported"
    MOVED = "Moved"
    REMOTE_LOST = "RemoteLost"
    PORT_LOST = "PortLost"
    ADDRESSES = "Addresses"
    IDENTITIES = "Identities"
    VISIBILITY = "Visibility"
    REMOTE_GAINED = "RemoteGained"
    PORT_GAINED = "PortGained"
    NEW = "New"
    EXPORTED = "Exported"


class TrafficChange(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that becomes of some hosts: what, a sentence, and which hosts.

    ``remotes`` names those that it is about, and ``now`` has what holds from now on of what there are several: the
    addresses, the identities (none: whoever the mesh trusts), or the namespaces that see the hosts.
    """

    kind: TrafficKind
    says: str
    hosts: tuple[str, ...]
    remotes: tuple[str, ...] = ()
    now: tuple[str, ...] = ()


class _Saying(msgspec.Struct, frozen=True, order=True):
    """What is said of one host, without the host; what is said of several alike, is said once."""

    order: int
    remotes: tuple[str, ...]
    words: str
    now: tuple[str, ...]
    noun: str


_KINDS: Final = tuple(TrafficKind)
_PLURAL: Final = {"gains": "gain", "is": "are", "loses": "lose", "moves": "move"}


def traffic(before: Plan, after: Plan) -> tuple[TrafficChange, ...]:
    """Return what becomes of traffic once ``after`` holds in the place of ``before``, the worst first."""
    found: dict[_Saying, list[str]] = {}
    for of_kind in (_imports, _exports):
        for host, said in of_kind(before, after):
            found.setdefault(said, []).append(host)
    return tuple(_change(said, hosts) for said, hosts in sorted(found.items()))


def _change(said: _Saying, hosts: Collection[str]) -> TrafficChange:
    verb, _, rest = said.words.partition(" ")
    if len(hosts) == 1:
        says = f"1 {said.noun} {verb} {rest}"
    else:
        says = f"{len(hosts)} {said.noun}s {_PLURAL[verb]} {rest.replace('its ', 'their ')}"
    return TrafficChange(_KINDS[said.order], says, tuple(sorted(hosts)), said.remotes, said.now)


def _say(
    kind: TrafficKind, words: str, *, remotes: Iterable[str] = (), now: Iterable[str] = (), noun: str = "host"
) -> _Saying:
    """Return what is said of a host; ``words`` begin with a verb of `_PLURAL`."""
    return _Saying(_KINDS.index(kind), tuple(sorted(remotes)), words, tuple(sorted(now)), noun)


# --- imports --------------------------------------------------------------------------------------


def _imports(before: Plan, after: Plan) -> Iterator[tuple[str, _Saying]]:
    was, is_ = ({one.host: one for one in plan.imports} for plan in (before, after))
    # A plan without a mesh says nothing of Services, which are there all the same.
    own_before = _own_hosts(before if before.mesh is not None else after)
    own_after = _own_hosts(after if after.mesh is not None else before)
    for host in sorted(was.keys() | is_.keys()):
        old, new = was.get(host), is_.get(host)
        for said in _moves(_remotes(old), _remotes(new), was_own=host in own_before, is_own=host in own_after):
            yield host, said
        if old is not None and new is not None:
            for said in (*_ports(old.ports, new.ports, "host"), *_seen(old, new), *_ways(old, new)):
                yield host, said


def _own_hosts(plan: Plan) -> frozenset[str]:
    """Return the hosts of this mesh's own Services."""
    if plan.mesh is None:
        return frozenset()
    domain = plan.mesh.cluster_domain
    return frozenset(ServiceHost(name=name, namespace=ns, domain=domain).fqdn for (ns, name), *_ in plan.exports)


def _remotes(import_: Import | None) -> frozenset[str]:
    return frozenset(one.remote.name for one in import_.backends) if import_ is not None else frozenset()


def _place(remotes: Collection[str], *, own: bool) -> str:
    """Return where a host is served; empty where nowhere."""
    if own:
        return "both" if remotes else "local"
    return "remote" if remotes else ""


def _named(place: str, remotes: Collection[str]) -> str:
    """Return a place with those who serve there: ``local``, ``remote (west)``, ``both (local and west)``."""
    if place == "local":
        return place
    return f"{place} ({' and '.join([*(['local'] if place == 'both' else []), *sorted(remotes)])})"


def _moves(before: frozenset[str], after: frozenset[str], *, was_own: bool, is_own: bool) -> Iterator[_Saying]:
    """Yield where a host is served from now on, and by whom."""
    was, is_ = _place(before, own=was_own), _place(after, own=is_own)
    lost, gained = sorted(before - after), sorted(after - before)
    if was and not is_:
        yield _say(TrafficKind.LOST, "loses its last endpoint", remotes=lost)
    elif is_ and not was:
        yield _say(TrafficKind.NEW, f"is new, from {' and '.join(gained)}", remotes=gained)
    elif was != is_:
        words = f"moves from {_named(was, before)} to {_named(is_, after)}"
        yield _say(TrafficKind.MOVED, words, remotes=before | after)
    else:
        for remote in lost:
            yield _say(TrafficKind.REMOTE_LOST, f"loses remote {remote}", remotes=[remote])
        for remote in gained:
            yield _say(TrafficKind.REMOTE_GAINED, f"gains remote {remote}", remotes=[remote])


def _ports(old: Iterable[Port], new: Iterable[Port], noun: str) -> Iterator[_Saying]:
    was, is_ = ({(one.number, one.protocol) for one in ports} for ports in (old, new))
    for number, protocol in was - is_:
        yield _say(TrafficKind.PORT_LOST, f"loses port {_port(number, protocol)}", noun=noun)
    for number, protocol in is_ - was:
        yield _say(TrafficKind.PORT_GAINED, f"gains port {_port(number, protocol)}", noun=noun)


def _port(number: int, protocol: str) -> str:
    return f"{number}/{protocol}" if protocol else str(number)


def _seen(old: Import, new: Import) -> Iterator[_Saying]:
    """Yield which namespaces see a host from now on."""
    if set(old.export_to) != set(new.export_to):
        yield _say(TrafficKind.VISIBILITY, "is seen by other namespaces", now=new.export_to)


def _ways(old: Import, new: Import) -> Iterator[_Saying]:
    """Yield what becomes of the ways to those remotes that serve a host before and after."""
    was, is_ = ({one.remote.name: one for one in import_.backends} for import_ in (old, new))
    for remote in was.keys() & is_.keys():
        before, after = was[remote], is_[remote]
        if set(before.remote.addresses) != set(after.remote.addresses):
            words = f"is called by way of other addresses of remote {remote}"
            yield _say(TrafficKind.ADDRESSES, words, remotes=[remote], now=map(str, after.remote.addresses))
        if set(before.identities) != set(after.identities):
            words = f"is answered by other identities of remote {remote}"
            yield _say(TrafficKind.IDENTITIES, words, remotes=[remote], now=after.identities)


# --- exports --------------------------------------------------------------------------------------


def _exports(before: Plan, after: Plan) -> Iterator[tuple[str, _Saying]]:
    was, is_ = _published(before), _published(after)
    told_before, told_after = _told(before, was), _told(after, is_)
    for host in sorted(was.keys() | is_.keys()):
        for said in _audience(told_before.get(host), told_after.get(host)):
            yield host, said
        if host in was and host in is_:
            old, new = was[host].offer, is_[host].offer
            for said in _ports(old.ports, new.ports, "exported Service"):
                yield host, said
            if set(old.identities) != set(new.identities):
                words = "is served by other identities"
                yield host, _say(TrafficKind.IDENTITIES, words, now=new.identities, noun="exported Service")


def _published(plan: Plan) -> dict[str, Published]:
    return {published.offer.host: published for *_, published in plan.exports if published is not None}


def _told(plan: Plan, exported: Mapping[str, Published]) -> dict[str, frozenset[str]]:
    """Return of each exported host the remotes that are told of it."""
    told: dict[str, set[str]] = {host: set() for host in exported}
    for remote, hosts in plan.offered.items():
        for host in hosts:
            told[host].add(remote)
    return {host: frozenset(remotes) for host, remotes in told.items()}


def _audience(before: frozenset[str] | None, after: frozenset[str] | None) -> Iterator[_Saying]:
    """Yield who is told of an export from now on, and who no more; ``None`` where it is none."""
    was, is_ = before or frozenset(), after or frozenset()
    for remote in was - is_:
        yield _say(TrafficKind.UNEXPORTED, f"is no longer exported to {remote}", remotes=[remote], noun="Service")
    for remote in is_ - was:
        yield _say(TrafficKind.EXPORTED, f"is newly exported to {remote}", remotes=[remote], noun="Service")
    if not was | is_ and before is None:
        yield _say(TrafficKind.EXPORTED, "is newly exported, to nobody yet", noun="Service")
    if not was | is_ and after is None:
        yield _say(TrafficKind.UNEXPORTED, "is no longer exported, which nobody was told of", noun="Service")
