"""What is ours of what is in a cluster, and what others may say about it on the objects themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from meshfed.kube.resources import Manifest


@dataclass(frozen=True)
class Ownership:
    """How one owner's objects are told from those of others, and read.

    ``labels`` mark what is ours, and the annotation ``origin`` says on each object what it follows from.
    """

    labels: Mapping[str, str]
    origin: str
    adopt: Callable[[Manifest], Manifest | None] = lambda _: None
    """Given an object of a wanted name that is not ours: without what is not to be kept of its metadata where it is to
    be taken over, else ``None``."""
    paused: Callable[[Mapping[str, Any]], bool] = lambda _: False
    """Reads from an object's metadata whether to leave it alone for now."""
    refused: Callable[[Mapping[str, Any]], str] = lambda _: ""
    """Reads from an object why whoever is to act on it does not; empty where nothing is said against it."""

    def is_ours(self, key: str) -> bool:
        """Whether a label's or annotation's key is ours to remove: it has the prefix of one of ``labels``."""
        return key.partition("/")[0] in self._domains

    @cached_property
    def _domains(self) -> frozenset[str]:
        return frozenset(key.partition("/")[0] for key in self.labels)

    @property
    def selector(self) -> str:
        """The label selector of what is ours."""
        return ",".join(f"{key}={value}" for key, value in self.labels.items())
