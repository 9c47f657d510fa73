"""What a controller has for as long as it runs, whatever terms come and go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshfed.api.v1alpha1 import OWNER_NAMESPACE_LABEL
from meshfed.controller.faults import Faults
from meshfed.controller.options import Options
from meshfed.controller.remotes.publisher import Publisher
from meshfed.controller.remotes.resolver import Lookup
from meshfed.probe import Shake
from meshfed.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Environment:
    """The process around a term. ``stamp`` returns the time as RFC 3339."""

    identity: str
    """What this process is called in leader election, whether it takes part in one or not."""
    options: Options
    metrics: Metrics
    faults: Faults
    publisher: Publisher
    stamp: Callable[[], str]
    lookup: Lookup
    shake: Shake
    not_ready: Callable[[str | None], None]
    """Hears what is waited for before anything may be decided; ``None``: nothing any more."""

    @property
    def owner(self) -> dict[str, str]:
        """The label of everything that this installation writes."""
        return {OWNER_NAMESPACE_LABEL: self.options.namespace}
