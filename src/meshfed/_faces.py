"""The face of a room: names that its package has, each from a module that is imported once somebody asks for it.

Who needs one name of a room so waits for no other module of it (PEP 562). The imports below ``TYPE_CHECKING`` in the
package say the same to type checkers; a test holds both together.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def face(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a ``package``: by each of its modules, the names that are there."""
    home_of = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(importlib.import_module(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next one finds it at once
        return value

    return find
