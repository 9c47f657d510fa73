"""FederatedServices as they are kept: there may be thousands, and most of their words are said by others too."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from sys import intern
from typing import Final

import msgspec

from meshfed.api.meta import ObjectMeta, StatusCondition
from meshfed.api.v1alpha1 import FederatedService, FederatedServiceSpec, FederatedServiceStatus
from meshfed.model.offers import Port

_NONE: Final[dict[str, str]] = {}
_decode: Final[Callable[[msgspec.Raw], FederatedService]] = msgspec.json.Decoder(FederatedService).decode


def decode_offer(data: msgspec.Raw) -> FederatedService:
    """Decode a FederatedService without its labels and annotations, which nobody reads. Equal words are one.

    Raises:
        msgspec.ValidationError: it is none.
    """
    offer = _decode(data)
    meta, spec, status = offer.metadata, offer.spec, offer.status
    return FederatedService(
        metadata=ObjectMeta(
            name=intern(meta.name),
            namespace=intern(meta.namespace),
            uid=meta.uid,
            resource_version=meta.resource_version,
            generation=meta.generation,
            labels=_NONE,
            annotations=_NONE,
            creation_timestamp=intern(meta.creation_timestamp),
            deletion_timestamp=meta.deletion_timestamp,
            finalizers=meta.finalizers,
        ),
        spec=FederatedServiceSpec(
            remote=intern(spec.remote),
            host=intern(spec.host),
            ports=_ports(spec.ports),
            labels={intern(key): intern(value) for key, value in spec.labels.items()},
            sni_host=spec.sni_host,
            identities=tuple(map(intern, spec.identities)),
            locality=intern(spec.locality),
            first_offered=intern(spec.first_offered),
            problem=spec.problem,
        ),
        status=FederatedServiceStatus(
            observed_generation=status.observed_generation,
            conditions=_conditions(status.conditions),
            imported_as=intern(status.imported_as),
            objects=tuple(map(intern, status.objects)),
        ),
    )


@lru_cache(maxsize=256)
def _ports(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    return ports


@lru_cache(maxsize=8)
def _conditions(conditions: tuple[StatusCondition, ...]) -> tuple[StatusCondition, ...]:
    # Of thousands in a row, which came in the same second, the same is said.
    return tuple(map(_condition, conditions))


def _condition(condition: StatusCondition) -> StatusCondition:
    return StatusCondition(
        type=intern(condition.type),
        status=condition.status,
        reason=intern(condition.reason),
        message=intern(condition.message),
        last_transition_time=intern(condition.last_transition_time),
        observed_generation=condition.observed_generation,
    )
