"""Federation on one machine: what stands in for clusters, for the demo, the tests and the curious."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshfed_sandbox.sandbox import Sandbox, SandboxError, load_crds, run_sandbox

__all__ = ["Sandbox", "SandboxError", "load_crds", "run_sandbox"]


def __getattr__(name: str) -> Any:
    """Import what is exported here when it is asked for: the help of a command needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from meshfed_sandbox import sandbox  # noqa: PLC0415 - it brings all of the sandbox, and most who import this need little

    return getattr(sandbox, name)
