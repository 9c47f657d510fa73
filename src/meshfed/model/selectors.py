"""Kubernetes label selectors: the shape of the API's ``LabelSelector`` and what it matches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

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


_KEY: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_VALUE: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)?"
_PART: Final = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s*(?P<sign>==|=|!=)\s*(?P<value>{_VALUE})|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)


def parse_selector(text: str) -> LabelSelector:
    """Read a selector as kubectl takes it, such as ``app=a,tier!=b,env in (x, y),!old``; raises ``ValueError``."""
    requirements: list[Requirement] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            raise ValueError(f"{text[at:]!r} is no part of a label selector: write KEY=VALUE, KEY!=VALUE, KEY or !KEY")
        requirements.append(_requirement(found))
        at = found.end()
    return LabelSelector(match_expressions=tuple(requirements))


def _requirement(found: re.Match[str]) -> Requirement:
    if found["absent"]:
        return Requirement(key=found["absent"], operator="DoesNotExist")
    if found["sign"]:
        operator: Operator = "NotIn" if found["sign"] == "!=" else "In"
        return Requirement(key=found["key"], operator=operator, values=(found["value"],))
    if found["set"]:
        values = tuple(value.strip() for value in found["values"].split(","))
        return Requirement(key=found["key"], operator="NotIn" if found["set"] == "notin" else "In", values=values)
    return Requirement(key=found["key"], operator="Exists")
