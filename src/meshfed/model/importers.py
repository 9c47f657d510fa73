"""Who imports what this mesh exports, as the importers say: what one replica of the controller answers when asked."""

from __future__ import annotations

from typing import Final

import msgspec

from meshfed.model.last_hour import ChangesSeen

PATH: Final = "/importers"
"""Where a replica answers, beside its metrics."""
PAGE: Final = 500
"""The most hosts that one answer has."""


class LastInPlace(msgspec.Struct, frozen=True, rename="camel"):
    """A change that a remote had in place last: of which host, how many seconds that took, and how many ago it was."""

    host: str
    seconds: float
    ago: float


class Echo(msgspec.Struct, frozen=True):
    """A remote that was asked had worked out all that it had been sent: after how many seconds, and how many ago."""

    seconds: float
    ago: float


class RemoteImports(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one remote says that subscribes at a replica.

    ``says``: whether it says anything; ``whole``: whether it has said all, so that it does not import what it said
    nothing of. ``imports``: how many of our hosts it has in place, of which ``outdated`` are not yet as they are
    offered now, the first of them for ``waiting`` seconds.
    """

    says: bool = False
    whole: bool = False
    imports: int = 0
    outdated: int = 0
    waiting: float | None = None
    last: LastInPlace | None = None
    echo: Echo | None = None


class ImportersPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What one replica knows. ``hosts`` has, by host, the remotes that have it in place, and whether as it is now.

    ``next`` is the host to ask on from; empty where there are no more. ``imports_took`` and ``exports_took``: how long
    changes took until they were in place, here and there, as far as this replica measures it; not in answers of one
    host, or of hosts after another.
    """

    remotes: dict[str, RemoteImports]
    hosts: dict[str, dict[str, bool]] = {}
    next: str = ""
    imports_took: ChangesSeen = ChangesSeen()
    exports_took: ChangesSeen = ChangesSeen()
