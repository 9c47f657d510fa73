"""The federation discovery service on the wire: what meshes tell each other of the services they export.

``DiscoveryServer`` serves an ``ExportSet``, ``DiscoveryClient`` follows a remote's server and reports to a ``Sink``.
Both speak the incremental dialect among Meshfed controllers and the reference's state-of-the-world dialect with others.
Nothing here knows Kubernetes, and nothing decides what is exported or imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshfed.fds._channel import Target
    from meshfed.fds._known import Limits
    from meshfed.fds._streams import StreamTiming
    from meshfed.fds.client import DiscoveryClient, Patience
    from meshfed.fds.errors import DiscoveryError, NotReady, ProtocolError, Refused, Unreachable, Unsupported
    from meshfed.fds.exports import Audience, ExportSet, Subscriber
    from meshfed.fds.identity import TRUSTED_PROXIES, Bundles, TrustedProxies, server_verifier
    from meshfed.fds.importers import Confirming, Importer
    from meshfed.fds.messages import Dialect
    from meshfed.fds.server import Authorize, DiscoveryServer
    from meshfed.fds.transport import Bounds
    from meshfed.fds.updates import Rejected, Sink, Update
else:
    from meshfed._faces import face

    __getattr__ = face(
        __name__,
        {
            "_channel": ("Target",),
            "_known": ("Limits",),
            "_streams": ("StreamTiming",),
            "client": ("DiscoveryClient", "Patience"),
            "errors": ("DiscoveryError", "NotReady", "ProtocolError", "Refused", "Unreachable", "Unsupported"),
            "exports": ("Audience", "ExportSet", "Subscriber"),
            "identity": ("TRUSTED_PROXIES", "Bundles", "TrustedProxies", "server_verifier"),
            "importers": ("Confirming", "Importer"),
            "messages": ("Dialect",),
            "server": ("Authorize", "DiscoveryServer"),
            "transport": ("Bounds",),
            "updates": ("Rejected", "Sink", "Update"),
        },
    )

__all__ = [
    "TRUSTED_PROXIES",
    "Audience",
    "Authorize",
    "Bounds",
    "Bundles",
    "Confirming",
    "Dialect",
    "DiscoveryClient",
    "DiscoveryError",
    "DiscoveryServer",
    "ExportSet",
    "Importer",
    "Limits",
    "NotReady",
    "Patience",
    "ProtocolError",
    "Refused",
    "Rejected",
    "Sink",
    "StreamTiming",
    "Subscriber",
    "Target",
    "TrustedProxies",
    "Unreachable",
    "Unsupported",
    "Update",
    "server_verifier",
]
