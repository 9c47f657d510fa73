"""What may be deleted: the one rule, for every object that Meshfed writes.

An object that nobody wants is deleted where the key that it follows from is known, and does not want it. Where that is
unknown, the object stays exactly as it is. It says itself what it follows from (`meshfed.plan.keys.origin`); one that
does not, as an earlier version wrote it, goes where nothing at all is unknown.

| situation | what is unknown |
|---|---|
| a watch has not listed yet, or not everything was worked out since the start | everything |
| an object could not be taken in, so that what is known is half changed | everything, until the term ends |
| the MeshFederation in force cannot be decoded | everything: the start waits |
| of the MeshFederations that are left none can be decoded | what is in force: what was goes on to be |
| a stored object cannot be decoded, and never could since the start | that object, and what follows from it |
| our own code raises as it works out a value, a key or what is rendered of it | that, and what follows from it |
| the FederatedServices were lost with their CRD | the hosts that were imported, until the remotes are heard |
| a value became known again, and its key is not worked out yet | that key |

What a remote offers is decided before, in one place too (`meshfed.federation.ledger`): what it holds back of a
withdrawal, or what a remote that is away offered last, is offered still.

| situation | what is offered |
|---|---|
| a remote was not heard since the start, or is away and its policy says `Keep` | what it offered last |
| a mass withdrawal within its hold | what is withdrawn |
| an empty list in the reference's dialect, before its confirmation | what it offered last |
| an announcement that makes no sense | what it said before of that service |
| a FederatedService is deleted by somebody while its remote offers the service | that service |
| DNS is silent | the last answer |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from meshfed.plan.keys import Key, read_origin


class Knowledge(Protocol):
    """What the rule asks of the planner."""

    def why_unknown(self, key: Key) -> str:
        """Return why nobody can say what a key comes to; empty where somebody can."""

    def why_anything_is_unknown(self) -> str:
        """Return why something of all there is is unknown; empty where nothing is."""

    def is_worked_out(self, key: Key) -> bool:
        """Whether a key was worked out since what it comes to is another."""


class Stay(msgspec.Struct, frozen=True):
    """Why an object that nobody wants stays, in words; ``passes`` where that ends once what waits is worked out."""

    why: str
    passes: bool = False


def stay(text: str, knowledge: Knowledge, *, everything: str, failing: Mapping[Key, str]) -> Stay | None:
    """Return why an object that nobody wants stays; ``None`` where it is to be deleted.

    ``text`` is what it says that it follows from, empty where it does not say. ``everything`` is why nothing is known
    at all, if that is so; ``failing`` has the keys that our own code fails on, and why.
    """
    if everything:
        return Stay(everything, passes=True)
    key = read_origin(text)
    if key is None:
        unknown = knowledge.why_anything_is_unknown() or next(iter(failing.values()), "")
    else:
        unknown = failing.get(key, "") or knowledge.why_unknown(key)
        if not unknown and not knowledge.is_worked_out(key):
            return Stay(f"{key} is being worked out", passes=True)
    return Stay(unknown) if unknown else None
