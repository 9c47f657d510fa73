"""Istio's flags for logs, which the reference takes: understood, so that its command lines go on working.

``--log_output_level`` is a comma-separated list of ``scope:level``, or of a level alone for all scopes; the scopes
``all`` and ``default`` are everything as well (istio.io, "Component Logging"). A scope of Meshfed is a room of its
code.
"""

from __future__ import annotations

import logging
from typing import Final

from meshfed.cli.exits import BadInput

_FLAG: Final = "--log_output_level"
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}
_EVERYTHING: Final = frozenset({"all", "default", ""})
SCOPES: Final = ("api", "cli", "controller", "fds", "federation", "istio", "kube", "plan", "telemetry")


def output_levels(text: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """The level of each logger that ``text`` names, and the scopes in it that are none of ours.

    Raises ``BadInput`` where it is not in Istio's syntax.
    """
    levels: dict[str, int] = {}
    unknown = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        scope, _, level = part.rpartition(":")
        if level not in _LEVELS:
            raise BadInput(f"{_FLAG}: {level!r} in {text!r} is no level: write {', '.join(_LEVELS)}, such as fds:debug")
        if scope in _EVERYTHING:
            levels["meshfed"] = _LEVELS[level]
        elif scope in SCOPES:
            levels[f"meshfed.{scope}"] = _LEVELS[level]
        else:
            unknown.append(scope)
    return levels, tuple(unknown)
