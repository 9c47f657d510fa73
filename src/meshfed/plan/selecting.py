"""Which Services of a namespace select the same pods.

A WorkloadEntry carries all labels of a Service's selector, so every Service whose selector asks for a subset of them
picks it up. Both questions (who would pick these up, whose would this one pick up) are answered through an index by
label, since a namespace may hold thousands of Services.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from meshfed.model.offers import TLS_MODE

_Label = tuple[str, str, str]
WORKLOAD: Final = {TLS_MODE: "istio"}
"""What every WorkloadEntry of ours carries beside its Service's selector."""


class Selectors:
    """The selectors of all Services, or of all objects of another kind, that select anything."""

    def __init__(self) -> None:
        self._selectors: dict[tuple[str, str], dict[str, str]] = {}
        self._asking: dict[_Label, set[str]] = {}
        """Services under one label of their selector, the last in order, which their pods must have."""
        self._having: dict[_Label, set[str]] = {}
        """Services under every label of their selector."""

    def change(self, namespace: str, name: str, selector: Mapping[str, str]) -> None:
        """Take in a Service's selector; an empty one selects nothing."""
        before = self._selectors.pop((namespace, name), None)
        if before:
            _discard(self._asking, _representative(namespace, before), name)
            for label in _labels(namespace, before):
                _discard(self._having, label, name)
        if selector:
            kept = dict(selector)
            self._selectors[namespace, name] = kept
            self._asking.setdefault(_representative(namespace, kept), set()).add(name)
            for label in _labels(namespace, kept):
                self._having.setdefault(label, set()).add(name)

    def of(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the selector of that name."""
        return self._selectors.get((namespace, name), {})

    def selecting(self, namespace: str, labels: Mapping[str, str]) -> Iterator[str]:
        """Yield whoever selects what carries ``labels``."""
        return (
            name
            for label in _labels(namespace, labels)
            for name in self._asking.get(label, ())
            if self._selectors[namespace, name].items() <= labels.items()
        )

    def selected_by(self, namespace: str, selector: Mapping[str, str]) -> Iterator[str]:
        """Yield the Services all of whose pods ``selector`` would select too."""
        wanted = dict(selector.items() - WORKLOAD.items())
        if not wanted:
            yield from (name for other, name in self._selectors if selector and other == namespace)
            return
        rarest = min((self._having.get(label, set()) for label in _labels(namespace, wanted)), key=len)
        for name in rarest:
            if wanted.items() <= self._selectors[namespace, name].items():
                yield name


def _labels(namespace: str, selector: Mapping[str, str]) -> Iterator[_Label]:
    return ((namespace, key, value) for key, value in selector.items())


def _representative(namespace: str, selector: Mapping[str, str]) -> _Label:
    return (namespace, *max(selector.items()))


def _discard(index: dict[_Label, set[str]], label: _Label, name: str) -> None:
    index[label].discard(name)
    if not index[label]:
        del index[label]
