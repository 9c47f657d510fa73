"""aiohttp, imported without a look at the roots of trust that the system has.

As it is imported, aiohttp reads all of those, twice, for connections that name no TLS context. Each of ours names one
(`meshfed.kube.tls`), and reading them took longer than all else that comes before a command's first request. A
connection that named none would now trust nobody.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

_PLACES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""By which OpenSSL is told where the roots are."""


@contextlib.contextmanager
def _without_roots() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update(dict.fromkeys(_PLACES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _without_roots():
    import aiohttp

__all__ = ["aiohttp"]
