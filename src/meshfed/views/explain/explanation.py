"""All that there is to say of what somebody asked about, as one document."""

from __future__ import annotations

import msgspec

from meshfed.views.access_log import LogVerdict
from meshfed.views.explain.asked import Missing
from meshfed.views.explain.chains import Chain
from meshfed.views.explain.objects import TreeView


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """``chains`` are those that are broken first, ``objects`` what they lead to, where that is asked for.

    ``missing`` is the answer where nothing has the name, ``log`` what a line of an access log says, and ``notes`` say
    what limits what can be said.
    """

    asked: str = ""
    chains: tuple[Chain, ...] = ()
    objects: tuple[TreeView, ...] = ()
    missing: Missing | None = None
    log: LogVerdict | None = None
    notes: tuple[str, ...] = ()
