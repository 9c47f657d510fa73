"""What several end-to-end tests need."""

from __future__ import annotations

from typing import Final

import pytest

from meshfed_sandbox.dataplane.router import RouterUnavailable, haproxy_path

PORTS: Final = {"http": 8080, "http-second": 8081, "grpc": 7070, "tcp": 9000}
"""The ports of an echo that speaks everything."""


def _haproxy() -> bool:
    try:
        haproxy_path()
    except RouterUnavailable:
        return False
    return True


needs_haproxy = pytest.mark.skipif(not _haproxy(), reason="there is no haproxy here (apt-get install haproxy)")
