"""The Leases of all replicas, as the leader follows them: who subscribes, for the statuses, and who died long ago."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from meshfed.controller.faults import Faults
from meshfed.kube import LEASES, Client, Key, KubeError, NotFound, Reflector, Store
from meshfed.plan import Planner
from meshfed.plan.replicas import Replica, replica_of, replica_selector
from meshfed.plan.subscriptions import Subscriptions
from meshfed.plan.values import Place
from meshfed.telemetry.logs import LogThrottle

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""The longest time between two looks at what has run out, or has held for long enough to be said."""
GATHER_SECONDS: Final = 3.0
"""In which all replicas have said which of the remotes that subscribe there lose a Service."""
_CLEAN_SECONDS: Final = 60.0
_FAULT: Final = "who subscribes"


class _Losing(msgspec.Struct):
    """The remotes that lose a Service, and when that is to be said."""

    due: float
    remotes: set[str] = msgspec.field(default_factory=set)


class ReplicaLeases:
    """Tells ``planner`` who subscribes, and deletes the Leases of who died long ago. ``identity`` is this replica's.

    ``withdrawn`` hears of what was withdrawn from remotes that have it in place, once all replicas can have said so;
    ``came`` of a remote that comes to subscribe.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        identity: str,
        planner: Planner,
        faults: Faults,
        withdrawn: Callable[[Place, str, Collection[str]], None],
        came: Callable[[str], None],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._planner = planner
        self._faults = faults
        self._on_withdrawn = withdrawn
        self._on_came = came
        self._losing: dict[tuple[Place, str], _Losing] = {}
        """By Service and host, who has it in place of which it was withdrawn, until that is said."""
        self._subscriptions = Subscriptions(identity)
        self._store: Store[Replica] = Store()
        self._store.subscribe(self._on_lease)
        # Nobody waits for it, and statuses alone hang on it: so it is none of the watches that a term begins with.
        self._reflector = Reflector(
            client,
            LEASES,
            Replica,
            self._store,
            advisory=True,
            decode=lambda data: replica_of(msgspec.json.decode(data)),
            namespace=namespace,
            label_selector=replica_selector(namespace),
        )
        self._wake = asyncio.Event()
        self._cleaned_at = 0.0
        self._throttle = LogThrottle(period=3600)

    async def run(self) -> None:
        """Follow them until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reflector.run())
            while True:
                self._wake.clear()
                self._look()
                await self._clean_up()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._wake.wait()

    def _on_lease(self, key: Key, old: Replica | None, new: Replica | None) -> None:
        # What the first list shows may be of somebody who is dead; what comes later was written by somebody.
        is_news = old is not None or self._store.synced
        self._subscriptions.seen(key.name, new, _now(), is_news=is_news)
        if new is not None and is_news:
            before = old.subscribers if old is not None else {}
            for remote, now in new.subscribers.items():
                if remote not in before or before[remote].since != now.since:
                    self._on_came(remote)
        known = set(old.withdrawn) if old is not None else set()
        for one in new.withdrawn if new is not None and is_news else ():
            if one not in known:
                losing = self._losing.setdefault(
                    ((one.namespace, one.name), one.host), _Losing(_now() + GATHER_SECONDS)
                )
                losing.remotes.update(one.remotes)
        self._wake.set()

    def _look(self) -> None:
        try:
            self._tell_withdrawn()
            for remote, subscribers in self._subscriptions.look(self._planner.remotes, _now()).items():
                self._planner.inputs.subscribers.put(remote, subscribers)
        except Exception as error:  # noqa: BLE001 - a report's fault must not end the term
            self._faults.caught(_FAULT, error)
        else:
            self._faults.over(_FAULT)

    def _tell_withdrawn(self) -> None:
        for key in [key for key, losing in self._losing.items() if _now() >= losing.due]:
            self._on_withdrawn(*key, sorted(self._losing.pop(key).remotes))

    async def _clean_up(self) -> None:
        if _now() < self._cleaned_at + _CLEAN_SECONDS:
            return
        self._cleaned_at = _now()
        for dead in self._subscriptions.run_out(_now()):
            try:
                await self._delete(dead)
            except NotFound:
                continue
            except KubeError as error:
                if self._throttle.ready(dead.name):
                    _log.warning(
                        "Lease %s/%s, of a replica that died, is not deleted: %s", self._namespace, dead.name, error
                    )

    async def _delete(self, dead: Replica) -> None:
        """Delete the Lease as it was seen, and no other."""
        found = await self._client.get(LEASES, dead.name, namespace=self._namespace)
        if replica_of(found) != dead:
            return
        meta = found["metadata"]
        await self._client.delete(
            LEASES,
            dead.name,
            namespace=self._namespace,
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
        )
        _log.info("deleted Lease %s/%s: its replica died long ago", self._namespace, dead.name)


def _now() -> float:
    return asyncio.get_running_loop().time()
