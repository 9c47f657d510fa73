"""What can go wrong with a remote's discovery service, as its client reports it.

::

    DiscoveryError
    ├── Unreachable     no connection, or it was lost, or nothing was heard for too long
    ├── NotReady        the service answered that it is unavailable (not in sync yet; or a proxy's word)
    ├── Refused         the service does not know our identity, or may not serve it
    └── ProtocolError   the service said something that cannot be understood or taken
        └── Unsupported     the service does not speak the dialect that was asked for

Each is worth another try later: the client itself retries them all, and none is a reason to drop an import.
"""

from __future__ import annotations


class DiscoveryError(Exception):
    """The discovery of a remote failed; the message says how, for a person."""


class Unreachable(DiscoveryError):
    """No connection could be made, it was lost, or nothing was heard on it for too long."""


class NotReady(DiscoveryError):
    """The service, or a proxy in front of it, answered UNAVAILABLE."""


class Refused(DiscoveryError):
    """The service answered PERMISSION_DENIED or UNAUTHENTICATED, or its own identity is not the expected one."""


class ProtocolError(DiscoveryError):
    """The service broke the protocol or a limit."""


class Unsupported(ProtocolError):
    """The service answered UNIMPLEMENTED."""
