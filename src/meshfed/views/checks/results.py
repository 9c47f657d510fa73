"""What a check says: how it came out, by what evidence, how old that is, and what to do where something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from meshfed.views.checks.facts import Facts


class CheckOutcome(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


OUTCOMES: Final[dict[CheckOutcome, str]] = {
    CheckOutcome.OK: "it holds, by the evidence that is named",
    CheckOutcome.WARNING: "nothing fails because of it yet, or not everything",
    CheckOutcome.FAILED: "it does not hold; the message says what to do",
    CheckOutcome.UNKNOWN: "it could not be found out; the message says why",
    CheckOutcome.SKIPPED: "it does not apply here; the message says why",
}
"""What each outcome means, for the documentation."""


class Evidence(StrEnum):
    """What a check goes by."""

    STATUS = "stored status"
    OBJECTS = "read just now"
    DECIDED = "decided just now"
    REVIEW = "asked just now"
    HANDSHAKE = "handshake just now"
    SAID = "said by the remote"
    HANDSHAKE_HERE = "handshake just now, from here"


EVIDENCE: Final[dict[Evidence, str]] = {
    Evidence.STATUS: "what a controller wrote, and since when it says so; it counts only while that controller lives",
    Evidence.OBJECTS: "objects in the cluster",
    Evidence.DECIDED: "what the controller would decide of these objects, decided by the same code",
    Evidence.REVIEW: "an access review of the API server",
    Evidence.SAID: "what the remote's controller says that it has in place; times are of this mesh's clock",
    Evidence.HANDSHAKE: "a TLS handshake that the controller made because it was asked to",
    Evidence.HANDSHAKE_HERE: "a TLS handshake made by the command, from where it runs and not from the mesh",
}
"""What each evidence is, for the documentation."""


class Result(msgspec.Struct, frozen=True):
    """What one check says, of ``about`` where it is of several things. ``since`` is RFC 3339, empty for now.

    ``docs`` is a page and its heading, where it is another than the check's own.
    """

    outcome: CheckOutcome
    message: str
    reason: str = ""
    remedy: str = ""
    evidence: Evidence | None = None
    since: str = ""
    about: str = ""
    docs: str = ""


class CheckView(msgspec.Struct, frozen=True, rename="camel"):
    """What one check says of one mesh. ``evidence`` and ``since`` say what it goes by, and since when that says so.

    ``remedy`` is empty where the message has it. ``docs`` is a page of the documentation and a heading in it.
    """

    mesh: str
    group: str
    check: str
    about: str
    outcome: CheckOutcome
    reason: str
    message: str
    remedy: str
    evidence: str
    since: str
    docs: str


class Check(msgspec.Struct, frozen=True):
    """A question with a name. ``says`` is what it asks; ``docs`` where to read on; ``before`` whether it is asked
    before an installation too.

    ``of_remote``: it is asked of each remote, by name.
    """

    group: str
    name: str
    says: str
    docs: str
    run: Callable[[Facts], Iterable[Result]]
    before: bool = False
    of_remote: bool = False


def ok(message: str, evidence: Evidence = Evidence.OBJECTS, *, since: str = "", about: str = "") -> Result:
    """It holds."""
    return Result(CheckOutcome.OK, message, evidence=evidence, since=since, about=about)


def warning(message: str, remedy: str = "", *, reason: str = "", about: str = "", docs: str = "") -> Result:
    """It holds, and somebody should look at it."""
    return Result(CheckOutcome.WARNING, message, reason, remedy, Evidence.OBJECTS, about=about, docs=docs)


def failed(message: str, remedy: str = "", *, reason: str = "", about: str = "", docs: str = "") -> Result:
    """It does not hold."""
    return Result(CheckOutcome.FAILED, message, reason, remedy, Evidence.OBJECTS, about=about, docs=docs)


def unknown(why: str, *, about: str = "", reason: str = "") -> Result:
    """Nobody can say."""
    return Result(CheckOutcome.UNKNOWN, why, reason, about=about)


def skipped(why: str, *, about: str = "") -> Result:
    """It is not to be asked here."""
    return Result(CheckOutcome.SKIPPED, why, about=about)
