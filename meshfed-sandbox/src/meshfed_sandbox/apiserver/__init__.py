"""An embedded Kubernetes API server: in memory, in this process, and true enough that ``kubectl`` cannot tell."""

from meshfed_sandbox.apiserver.server import APIServer, Authorization, Counters

__all__ = ["APIServer", "Authorization", "Counters"]
