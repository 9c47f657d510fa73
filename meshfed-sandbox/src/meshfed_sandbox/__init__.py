"""Federation on one machine: what stands in for clusters, for the demo, the tests and the curious."""

from meshfed_sandbox.sandbox import Sandbox, SandboxError, load_crds, run_sandbox

__all__ = ["Sandbox", "SandboxError", "load_crds", "run_sandbox"]
