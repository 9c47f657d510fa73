"""Probes: what a TLS handshake with a remote's gateway shows of the way to a workload, without a credential.

Through an AUTO_PASSTHROUGH gateway the handshake is with the workload's own sidecar, chosen by the SNI. A server shows
its certificate before it asks for the client's, and in TLS 1.3 the client's part of the handshake has ended before the
server misses one. So whoever reaches a gateway can see *that* a host is answered, by whom, signed by which root and
until when. What the application's own policies then say is not seen.
"""

from meshfed.probe.attempt import Shake, attempt
from meshfed.probe.handshake import Authority, Roots, handshake
from meshfed.probe.names import Names
from meshfed.probe.schedule import PACE, Line, Pace, Schedule

__all__ = ["PACE", "Authority", "Line", "Names", "Pace", "Roots", "Schedule", "Shake", "attempt", "handshake"]
