"""Engines of tests: they delete what nobody wants once they may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshfed.kube import Client, Engine, ObjectKey, Ownership, Resource

ORIGIN = "mesh.example/origin"


class OwnedEngine(Engine):
    """Has what nobody wants stay, for the reason ``why``, until ``allow_deletes``."""

    def __init__(
        self, client: Client, resources: Sequence[Resource], *, owner: Mapping[str, str], **arguments: Any
    ) -> None:
        self.why = "not yet"
        of_ownership = {name: arguments.pop(name) for name in ("adopt", "paused", "refused") if name in arguments}
        ownership = Ownership(owner, ORIGIN, **of_ownership)
        super().__init__(client, resources, ownership=ownership, stays=self._why, **arguments)

    def _why(self, _key: ObjectKey, _source: str) -> str:
        return self.why

    def allow_deletes(self) -> None:
        """From now on what nobody wants goes."""
        self.why = ""
        self.look_again()
