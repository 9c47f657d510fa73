"""Whether a cluster's definition of one of our kinds is brought to this version's, and why not.

Definitions are the whole cluster's, and several installations, each of its own version, may live by them. So nothing
that is stored may lose a field by it: a newer version's definition stays, since an older controller gets along with
it. What carries no mark of ours is somebody else's, and may be full of their objects.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

import msgspec

from meshfed import __version__
from meshfed.api.crds import APPLY_COMMAND, DIGEST_ANNOTATION, VERSION_LABEL, all_crds, differences, losses

_SHOWN: Final = 3
"""Differences that are named where there are more."""


class Step(Enum):
    """What is to be done about a definition."""

    NOTHING = "nothing"
    APPLY = "apply"
    REFUSE = "refuse"


class UpgradeVerdict(msgspec.Struct, frozen=True):
    """A step, and what to say of it, in words that go on from the definition's name."""

    step: Step
    said: str


def judge(name: str, live: dict[str, Any] | None, *, adopt: bool = False) -> UpgradeVerdict:
    """What to do about the definition ``name``, of which the cluster has ``live``.

    ``adopt`` says whether somebody else's is to be replaced. A name that is none of ours raises KeyError.
    """
    own = definition(name)
    if live is None:
        return UpgradeVerdict(Step.APPLY, f"created, of version {__version__}")
    lacking, lost, version = differences(live), losses(live), _version(live)
    digest = _digest(live)
    if digest is None and lacking:
        if adopt:
            return UpgradeVerdict(Step.APPLY, f"replaced: it was not Meshfed's ({_first(lacking)})")
        return UpgradeVerdict(
            Step.REFUSE,
            f"not Meshfed's ({_first(lacking)}), and may hold objects that are not. If it is the reference's: stop "
            "its controller, and give --adopt-reference (the chart's controller.adoptReference=true). If it is "
            "anybody else's, Meshfed cannot be in this cluster",
        )
    if digest == _digest(own) and not lacking:
        return UpgradeVerdict(Step.NOTHING, f"as this version, {__version__}, has it")
    if _number(version) > _number(__version__):
        if lacking:
            return UpgradeVerdict(
                Step.REFUSE,
                f"of the newer version {version}, and without what this one, {__version__}, needs ({_first(lacking)}): "
                f"use {version} or a later one here too",
            )
        return UpgradeVerdict(Step.NOTHING, f"of the newer version {version}, which {__version__} gets along with")
    before = version or "a version that it does not state"
    if lost and not () < _number(version) < _number(__version__):
        return UpgradeVerdict(
            Step.REFUSE,
            f"of {before}, and {__version__} is no newer, but would have objects lose what may be stored in them: "
            f"{_first(lost)}. Where that is meant: `{APPLY_COMMAND}`",
        )
    without = f"; in {__version__}, {_first(lost)}" if lost else ""
    return UpgradeVerdict(Step.APPLY, f"brought from {before} to {__version__}{without}")


def definition(name: str) -> dict[str, Any]:
    """Our definition of that name; KeyError where there is none."""
    return {own["metadata"]["name"]: own for own in all_crds()}[name]


def _digest(crd: dict[str, Any]) -> str | None:
    found = (crd["metadata"].get("annotations") or {}).get(DIGEST_ANNOTATION)
    return None if found is None else str(found)


def _version(crd: dict[str, Any]) -> str:
    """The version that a definition says it is of; empty where it says none."""
    return str((crd["metadata"].get("labels") or {}).get(VERSION_LABEL, ""))


def _number(version: str) -> tuple[int, ...]:
    """A version as it is compared: its numbers, without what marks it as not final; none is older than any."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _first(found: tuple[str, ...]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
