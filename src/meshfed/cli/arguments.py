"""Arguments that several commands take, read in one place so that they are read alike."""

from __future__ import annotations

from meshfed.cli.exits import BadInput
from meshfed.controller.options import Address


def address(flag: str, text: str) -> Address:
    """The address to listen on that ``flag`` gives; raises ``BadInput``."""
    try:
        return Address.parse(text)
    except ValueError as error:
        raise BadInput(f"{flag}: {error}") from error
