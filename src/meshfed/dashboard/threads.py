"""What has to be done before documents are made in threads beside the event loop.

msgspec looks at a type when it first decodes something into it, and whoever comes meanwhile, in another thread, finds
it half done: the process ends with a segmentation fault. So each type is looked at once, before there is any thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec


def prepare() -> None:
    """Have msgspec look at every type that is imported by now."""
    for one in set(_structs(msgspec.Struct)):
        with contextlib.suppress(TypeError, NameError):  # then nothing is ever decoded into it
            msgspec.json.Decoder(one)


def _structs(of: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for one in of.__subclasses__():
        yield one
        yield from _structs(one)
