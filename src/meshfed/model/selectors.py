"""Kubernetes label selectors: the shape of the API's ``LabelSelector`` and what it matches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """One requirement of a label selector."""

    key: Annotated[str, Meta(min_length=1, max_length=317)]
    """The label's key."""
    operator: Operator
    """How the label's value relates to `values`."""
    values: Annotated[tuple[Annotated[str, Meta(max_length=63)], ...], Meta(max_length=256)] = ()
    """The values, for In and NotIn; Exists and DoesNotExist take none."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` meet this requirement; NotIn is met where the key is absent, as in Kubernetes."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None


class LabelSelector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A Kubernetes label selector; an empty one matches everything."""

    match_labels: Annotated[dict[str, Annotated[str, Meta(max_length=63)]], Meta(max_length=64)] = {}
    """Labels that must all be there, with these values."""
    match_expressions: Annotated[tuple[Requirement, ...], Meta(max_length=64)] = ()
    """Requirements that must all be met, beside `matchLabels`."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` meet every part of this selector."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )
