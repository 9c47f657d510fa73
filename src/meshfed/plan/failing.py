"""What our own code fails on: the objects, or else the values, that something derived could not be worked out of.

What followed from them stays; that is a fault of ours, and says nothing about them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from meshfed.derive import Graph, Node
from meshfed.plan.exports import Exports
from meshfed.plan.imports import Imports
from meshfed.plan.local_services import LocalServices
from meshfed.plan.values import Ref

Subject: TypeAlias = Ref | str
"""An object of the cluster, or in words what else something could not be worked out of."""
Failed: TypeAlias = Callable[[Subject, Exception | None], None]
"""Called with what our code failed on, and the error; again, without one, once it no longer does."""

_OF_SERVICES: Final = frozenset({Exports.CLAIM, Exports.EXPORT, LocalServices.LOCAL, LocalServices.SERVING})
_OF_OFFERS: Final = frozenset({Imports.JUDGED, Imports.FATE})


class Failing:
    """Hears from a graph of each value that could not be worked out, and tells ``told`` what that is about."""

    def __init__(self, graph: Graph, namespace: str, told: Failed) -> None:
        self._graph = graph
        self._namespace = namespace
        self._told = told
        self._nodes: dict[Subject, dict[Node, None]] = {}

    def heard(self, node: Node, error: Exception | None) -> None:
        """A value could not be worked out, or can be again."""
        subject = self._subject(node)
        nodes = self._nodes.setdefault(subject, {})
        if error is None:
            nodes.pop(node, None)
        else:
            nodes[node] = None
        if not nodes:
            del self._nodes[subject]
        if error is not None or not nodes:
            self._told(subject, error)

    def again(self, subject: Subject) -> None:
        """Have what failed of ``subject`` worked out again."""
        for node in tuple(self._nodes.get(subject, ())):
            self._graph.again(node)

    def _subject(self, node: Node) -> Subject:
        if node.collection.name in _OF_SERVICES:
            return "Service", *node.key
        if node.collection.name in _OF_OFFERS:
            return "FederatedService", self._namespace, node.key
        return str(node)
