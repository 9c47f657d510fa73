"""Ports: which of a Service's are exported, which of an offer's are imported, and who left out the others, and why.

Rules are asked about each port. A Deny rule with `ports` takes those out, and the next is asked about the others; the
first rule that exports or imports then decides, with its `ports` about which of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from meshfed.api.v1alpha1 import ExportRule, ImportRule
from meshfed.model.names import glob_matches
from meshfed.model.offers import Port
from meshfed.model.reasons import Decision, Reason

R = TypeVar("R", ExportRule, ImportRule)
_NAMED: Final = 20


class LeftOut(msgspec.Struct, frozen=True):
    """A port that is not taken: the reason, and why in words that go on from its number."""

    port: Port
    reason: Reason
    why: str


class Ruled(msgspec.Struct, Generic[R], frozen=True):
    """What rules make of ports: those that are taken, and those that are not.

    ``rule`` is the one that exports or imports, ``number`` the one that decides, counted from 1; without them no rule
    does. ``by_port`` says that a rule with `ports` was asked, so that a port that comes up later may be left out.
    """

    ports: tuple[Port, ...]
    rule: R | None = None
    number: int = 0
    left_out: tuple[LeftOut, ...] = ()
    by_port: bool = False


def ruled(rules: Sequence[R], ports: Iterable[Port], matches: Callable[[R], bool], *, called: str) -> Ruled[R]:
    """Ask ``rules`` about the ports of something that a rule ``matches`` or not; ``called``: what a rule is called."""
    left, left_out, by_port = tuple(ports), [], False
    for number, rule in enumerate(rules, start=1):
        if not matches(rule):
            continue
        chosen = tuple(port for port in left if rule.ports is None or is_among(rule.ports, port))
        by_port = by_port or rule.ports is not None
        if rule.ports is not None and not chosen:
            continue
        if rule.action == "Deny":
            left_out += [LeftOut(port, Reason.DENIED_BY_RULE, f"{called} {number} denies it") for port in chosen]
            left = tuple(port for port in left if port not in chosen)
            if not left:
                return Ruled((), number=number, left_out=tuple(left_out), by_port=by_port)
            continue
        left_out += [
            LeftOut(port, Reason.DENIED_BY_RULE, f"{called} {number} is for other ports")
            for port in left
            if port not in chosen
        ]
        return Ruled(chosen, rule, number, tuple(left_out), by_port)
    return Ruled(left, left_out=tuple(left_out), by_port=by_port)


def is_among(choice: Iterable[int | str], port: Port) -> bool:
    """Whether a rule's `ports` name a port: by its number, or its name by a glob."""
    return any(one == port.number if isinstance(one, int) else glob_matches(one, port.name) for one in choice)


def without(left_out: Sequence[LeftOut]) -> str:
    """Return which ports are left out, and why, in words that end a sentence; empty where none is.

    Only the first of many are named: a Service may have thousands of ports, and a condition has 32 KB.
    """
    if not left_out:
        return ""
    named, more = left_out[:_NAMED], len(left_out) - _NAMED
    told = dict.fromkeys(one.why for one in named)
    parts = [f"{_shown(one.port for one in named if one.why == why)} ({why})" for why in told]
    return f"; left out: port {', '.join(parts)}" + (f" and {more} more" if more > 0 else "")


def unmatched(asked: Ruled[R]) -> str:
    """Return what goes on from "matches none of the rules", where its ports are the reason; else nothing."""
    if not asked.by_port:
        return ""
    return f" with port {_shown(asked.ports[:_NAMED])}{without(asked.left_out)}" if asked.ports else ""


def _shown(ports: Iterable[Port]) -> str:
    """Return the numbers of ports with their names."""
    return ", ".join(f"{port.number} {port.name}".strip() for port in ports)


def all_left_out(host: str, left_out: Sequence[LeftOut]) -> Decision:
    """Return why something of which every port is left out is not imported: for the reason of the last."""
    return Decision(
        accepted=False, reason=left_out[-1].reason, message=f"no port of {host} is taken{without(left_out)}"
    )
