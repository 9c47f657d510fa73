"""Who imports what this mesh exports, as the importers say: what all replicas of the controller answered, together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from meshfed.model.importers import ImportersPage, RemoteImports
from meshfed.model.last_hour import ChangesSeen
from meshfed.model.last_hour import together as took_together
from meshfed.model.names import listed


class Imported(StrEnum):
    """What is known of whether a remote imports an export."""

    CURRENT = "Current"
    OUTDATED = "Outdated"
    NO = "No"
    NOT_SAID = "NotSaid"
    NOT_SUBSCRIBED = "NotSubscribed"
    UNKNOWN = "Unknown"


_WORDS: Final = {
    Imported.CURRENT: "imported by {}",
    Imported.OUTDATED: "imported by {} as it was offered before",
    Imported.NO: "not imported by {}",
    Imported.NOT_SAID: "{} does not say",
    Imported.NOT_SUBSCRIBED: "{} does not subscribe",
    Imported.UNKNOWN: "of {} it is not known",
}


class ImporterView(msgspec.Struct, frozen=True, rename="camel"):
    """A remote to which a Service is offered, and whether it imports it."""

    remote: str
    imported: Imported


class ImportersSeen(msgspec.Struct, frozen=True, rename="camel"):
    """What the replicas of one controller answered; ``why`` says what could not be asked, empty where all was.

    ``imports_took`` and ``exports_took``: how long changes took until they were in place, here and there.
    """

    remotes: dict[str, RemoteImports] = {}
    hosts: dict[str, dict[str, bool]] = {}
    why: str = ""
    imports_took: ChangesSeen = ChangesSeen()
    exports_took: ChangesSeen = ChangesSeen()

    def of(self, host: str, offered_to: Iterable[str]) -> tuple[ImporterView, ...]:
        """Return whether each of the remotes to which ``host`` is offered imports it."""
        return tuple(ImporterView(remote, self._imported(host, remote)) for remote in offered_to)

    def _imported(self, host: str, remote: str) -> Imported:
        current = self.hosts.get(host, {}).get(remote)
        if current is not None:
            return Imported.CURRENT if current else Imported.OUTDATED
        found = self.remotes.get(remote)
        if found is None:
            return Imported.UNKNOWN if self.why else Imported.NOT_SUBSCRIBED
        if not found.says:
            return Imported.NOT_SAID
        return Imported.NO if found.whole else Imported.UNKNOWN


NOT_REPORTED: Final = ImportersSeen(why="the report does not have it")


def together(pages: Iterable[ImportersPage], why: str = "") -> ImportersSeen:
    """Return what several answers say together; a remote that is at several replicas is as the one that knows more."""
    remotes: dict[str, RemoteImports] = {}
    hosts: dict[str, dict[str, bool]] = {}
    imports_took, exports_took = list[ChangesSeen](), list[ChangesSeen]()
    for page in pages:
        imports_took.append(page.imports_took)
        exports_took.append(page.exports_took)
        for remote, said in page.remotes.items():
            before = remotes.get(remote)
            if before is None or _rank(said) > _rank(before):
                remotes[remote] = said
        for host, importing in page.hosts.items():
            known = hosts.setdefault(host, {})
            for remote, current in importing.items():
                known[remote] = known.get(remote, False) or current
    return ImportersSeen(remotes, hosts, why, took_together(imports_took), took_together(exports_took))


def _rank(said: RemoteImports) -> tuple[bool, bool, int]:
    return said.says, said.whole, said.imports


def in_words(importers: Sequence[ImporterView]) -> str:
    """Return in a sentence who imports an export."""
    found = []
    for state, words in _WORDS.items():
        remotes = [one.remote for one in importers if one.imported is state]
        if remotes:
            found.append(words.format(listed(remotes)))
    return "; ".join(found) or "there is no RemoteMesh that it is offered to"


def count(importers: Sequence[ImporterView] | None) -> str:
    """Return how many remotes import an export, for a column; ``?`` where that is not known."""
    if importers is None or all(one.imported is Imported.UNKNOWN for one in importers if importers):
        return "?" if importers is None or importers else "0"
    return str(sum(1 for one in importers if one.imported in {Imported.CURRENT, Imported.OUTDATED}))
