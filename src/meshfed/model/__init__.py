"""The domain's values: hosts, ports, offers, meshes, identities, and what may be said of them.

Nothing here does I/O or imports another room. Every value is immutable once made, so it can be handed
from room to room without a copy.
"""
