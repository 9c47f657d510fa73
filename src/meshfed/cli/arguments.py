"""Arguments that several commands take, read in one place so that they are read alike."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meshfed.api.durations import parse_duration
from meshfed.cli.exits import BadInput
from meshfed.model.installation import NAMESPACE
from meshfed.model.names import is_dns_name
from meshfed.model.selectors import LabelSelector, parse_selector

if TYPE_CHECKING:
    from meshfed.controller.options import Address

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def address(flag: str, text: str) -> Address:
    """The address to listen on that ``flag`` gives; raises ``BadInput``."""
    from meshfed.controller.options import Address

    try:
        return Address.parse(text)
    except ValueError as error:
        raise BadInput(f"{flag}: {error}") from error


def account(text: str) -> str:
    """The name that ``--service-account`` gives; raises ``BadInput``."""
    if not is_dns_name(text):
        raise BadInput(
            f"--service-account: {text!r} is no name of a service account: use lower-case letters, digits, '-' and '.'"
        )
    return text


def selector(text: str | None) -> LabelSelector:
    """The label selector that ``--selector`` gives; raises ``BadInput``."""
    try:
        return parse_selector(text or "")
    except ValueError as error:
        raise BadInput(f"--selector: {error}") from error


def duration(flag: str, text: str, *, some: bool = False) -> float:
    """The seconds that ``flag`` gives, such as 90s or 10m; with ``some`` more than none. Raises ``BadInput``."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise BadInput(f"{flag}: {error}") from error
    if some and not seconds:
        raise BadInput(f"{flag} {text}: nothing is done in no time; give it some, such as 10s")
    return seconds


def pod_namespace() -> str:
    """The controller's namespace, found as the reference finds it."""
    named = os.environ.get("POD_NAMESPACE")
    if named:
        return named
    with contextlib.suppress(OSError):
        return _NAMESPACE_FILE.read_text().strip()
    return NAMESPACE
