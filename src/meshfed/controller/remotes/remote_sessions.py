"""The remotes that are listened to: one session for each RemoteMesh that imports, come and gone as they change."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import partial
from typing import Final

import msgspec

from meshfed.api.v1alpha1 import FederatedService, FederatedServiceSpec, RemoteMesh
from meshfed.controller.faults import Faults, described
from meshfed.controller.propagation import Propagation
from meshfed.controller.remotes.confirming import Placement
from meshfed.controller.remotes.session import Reports, Session
from meshfed.federation.imports import record_name
from meshfed.kube import Engine, Store
from meshfed.model.meshes import LocalMesh
from meshfed.model.reasons import Decision, Reason
from meshfed.plan import Planner, RemoteConnection, record_manifest
from meshfed.telemetry.logs import LogThrottle
from meshfed.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

SETTLING_SECONDS: Final = 3.0
"""In which what was written for a remote that changed reaches our sidecar, before the remote is called by way of it."""


class OfferState(Enum):
    """What is known of whether a remote offers a host."""

    NOT_HEARD = auto()
    OFFERS_NOTHING = auto()
    """It said what it offers, and that is nothing at all: which may be so, or a failure."""
    OFFERED = auto()
    NOT_OFFERED = auto()
    """It said all that it offers, and this is not among it; or nothing is to be imported from it."""


class OfferSource(msgspec.Struct, frozen=True, gc=False):
    """One host of one remote: the engine's source of its FederatedService."""

    remote: str
    host: str


class RemoteSessions:
    """Keeps a session for every remote that something is imported from."""

    def __init__(
        self,
        *,
        planner: Planner,
        engine: Engine,
        offers: Store[FederatedService],
        metrics: Metrics,
        propagation: Propagation,
        stamp: Callable[[], str],
        faults: Faults,
        standing: Placement,
    ) -> None:
        self._faults = faults
        self._standing = standing
        self._unsettled: set[str] = set()
        """The remotes to which something may have to be confirmed."""
        self._planner = planner
        self._engine = engine
        self._offers = offers
        self._metrics = metrics
        self._propagation = propagation
        self._stamp = stamp
        self._meshes: dict[str, RemoteMesh] = {}
        self._sessions: dict[str, Session] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: Counter[str] = Counter()
        """Sessions of a remote that are cancelled and have not come to their end: how many."""
        self._log_throttle = LogThrottle()
        self._recalled = False
        self._mesh: LocalMesh | None = None
        self._look = asyncio.Event()

    # --- what changes

    def remote_changed(self, name: str, mesh: RemoteMesh | None) -> None:
        """A RemoteMesh is as given now."""
        if mesh is None or mesh.metadata.deletion_timestamp:
            self._meshes.pop(name, None)
        else:
            self._meshes[name] = mesh
        if self._recalled:
            self.arrange(name)
        if name not in self._meshes:
            self._forget_metrics(name)

    def federation_changed(self) -> None:
        """A MeshFederation changed, and with it, perhaps, this mesh: what it may import, and how records look."""
        mesh = self._planner.mesh
        if mesh == self._mesh:
            return
        self._mesh = mesh
        if self._recalled:
            for name in {*self._meshes, *self._sessions}:
                self.arrange(name, rejudge=True)

    def record_removed(self, remote: str, host: str) -> bool:
        """A FederatedService was deleted, by someone or by us; returns whether that stands, or it is put back.

        Until it is put back, what it says holds: an import does not go because its record does.
        """
        session = self._sessions.get(remote)
        if session is None or session.record_removed(host):
            return True
        if self._log_throttle.ready(remote):
            _log.warning(
                "FederatedServices were deleted of services that the remote offers, such as %s: they are put back, and "
                "what is imported stays; a rule in `import` is the way to refuse a service",
                record_name(host, remote),
                extra={"remote": remote},
            )
        return False

    def record_found(self, spec: FederatedServiceSpec) -> None:
        """A FederatedService came, as one does that is repaired: it may say what its remote offered last."""
        session = self._sessions.get(spec.remote)
        if session is not None:
            session.record_found(spec)

    def came(self, remote: str) -> None:
        """The controller of a remote came to subscribe to what this mesh exports, at any of the replicas."""
        session = self._sessions.get(remote)
        if session is not None:
            session.came()

    def is_withdrawn(self, remote: str, host: str) -> bool:
        """Whether a remote that is heard does not offer a host."""
        session = self._sessions.get(remote)
        return session is not None and session.is_withdrawn(host)

    def turned(self, remote: str, host: str) -> None:
        """What becomes of an offer, or the objects that carry it, is something else."""
        if remote in self._sessions:
            self._sessions[remote].turned(host)
            self._unsettled.add(remote)

    def settle(self) -> None:
        """All was worked out: tell remotes what of their offers is in place."""
        while self._unsettled:
            name = self._unsettled.pop()
            session = self._sessions.get(name)
            if session is not None:
                try:
                    session.settle(self._standing)
                except Exception as error:  # noqa: BLE001 - what one remote is told must not stop the others
                    self._faults.caught(_confirming(name), error, partial(self._heard, name))
                else:
                    self._faults.over(_confirming(name))

    def _heard(self, name: str) -> None:
        self._unsettled.add(name)
        if self._standing.is_done():
            self.settle()

    def unheard(self) -> list[str]:
        """The remotes that have not said yet what they offer, sorted."""
        return sorted(name for name, session in self._sessions.items() if not session.was_heard)

    def unrecorded(self) -> list[FederatedServiceSpec]:
        """What FederatedServices there should be by now, and are not."""
        mesh = self._planner.mesh
        namespace = mesh.namespace if mesh is not None else ""
        return [
            spec
            for session in self._sessions.values()
            for spec in session.said
            if self._offers.get((namespace, record_name(spec.host, spec.remote))) is None
        ]

    def offer_state(self, remote: str, host: str) -> OfferState:
        """What ``remote`` says of ``host``."""
        session = self._sessions.get(remote)
        if session is None:
            return OfferState.NOT_OFFERED if remote in self._meshes else OfferState.NOT_HEARD
        if session.offers(host):
            return OfferState.OFFERED
        if not session.is_heard:
            return OfferState.NOT_HEARD
        return OfferState.NOT_OFFERED if session.known() else OfferState.OFFERS_NOTHING

    # --- life

    def recall(self) -> list[str]:
        """Every input is in sync: return the remotes to `arrange`, from what earlier processes wrote for them."""
        self._recalled = True
        return sorted(self._meshes)

    async def run(self) -> None:
        """Listen to every remote until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._look.clear()
                for name, session in self._sessions.items():
                    if name not in self._tasks:
                        self._tasks[name] = tasks.create_task(self._run(name, session), name=f"session {name}")
                await self._look.wait()

    async def _run(self, name: str, session: Session) -> None:
        """Run a session until cancelled; where a fault of ours ends it, another takes its place after a while."""
        try:
            await session.run()
        except Exception as error:  # noqa: BLE001 - one remote must not bring down the others
            if self._sessions.get(name) is not session:
                _log.exception("a session that had ended failed", extra={"remote": name})
                return
            session.fail(described(error))
            self._faults.caught(f"listening to RemoteMesh {name}", error, partial(self._replace, name, session))

    def _replace(self, name: str, failed: Session) -> None:
        if self._sessions.get(name) is failed:
            mesh, local = self._meshes[name], self._planner.mesh
            if local is not None:
                del self._tasks[name]
                self._sessions[name] = self._begin(mesh, failed.left(), node=local.name, settling=0.0)
                self._look.set()

    def arrange(self, name: str, *, rejudge: bool = False) -> None:
        """Bring the session of one remote to what its RemoteMesh says."""
        mesh, session = self._meshes.get(name), self._sessions.get(name)
        if mesh is None or mesh.spec.import_ is None or self._planner.mesh is None:
            if session is not None:
                _log.info("nothing is imported from this remote any more", extra={"remote": name})
                session.forget_all()
                self._end(name)
                self._planner.connection_changed(name, None)
            return
        if session is not None and session.reconfigure(mesh, rejudge=rejudge):
            return
        if session is not None:
            _log.info("where this remote answers, or who it is, changed: connecting anew", extra={"remote": name})
            self._end(name)
        # What a predecessor knew is ahead of the watch; without one, what the last process left is all there is.
        known = session.left() if session is not None else self._recorded(name)
        settling = SETTLING_SECONDS if session is not None else 0.0
        self._sessions[name] = self._begin(mesh, known, node=self._planner.mesh.name, settling=settling)
        self._look.set()

    def _recorded(self, name: str) -> tuple[FederatedServiceSpec, ...]:
        aside = (offer for offer in self._faults.records("FederatedService") if offer.spec.remote == name)
        return tuple(offer.spec for offer in (*self._offers.by_index("remote", name), *aside))

    def _begin(self, mesh: RemoteMesh, known: Iterable[FederatedServiceSpec], *, node: str, settling: float) -> Session:
        session = Session(
            mesh,
            reports=Reports(desire=self._desire, connection=self._report, heard=self._heard),
            judge=self._judge,
            metrics=self._metrics,
            stamp=self._stamp,
            node=node,
            settling=settling,
        )
        session.remember(known)
        return session

    def _report(self, name: str, connection: RemoteConnection) -> None:
        if connection.synced:
            self._faults.over(f"listening to RemoteMesh {name}")
        self._planner.connection_changed(name, connection)

    def _judge(self, spec: FederatedServiceSpec) -> Decision:
        """Say whether the import rules admit an offer; as long as our code fails on it, it is not refused by that."""
        try:
            decision = self._planner.judge(spec)
        except Exception as error:  # noqa: BLE001 - one offer must not stop what its remote says of all others
            self._faults.caught(_judging(spec), error, partial(self._judge_again, spec))
            return Decision(accepted=True, reason=Reason.PENDING, message="it could not be judged yet")
        if self._faults:
            self._faults.over(_judging(spec))
        return decision

    def _judge_again(self, spec: FederatedServiceSpec) -> None:
        session = self._sessions.get(spec.remote)
        if session is None or not session.offers(spec.host):
            self._faults.over(_judging(spec))
        else:
            self._judge(spec)

    def _end(self, name: str) -> None:
        for what in (f"listening to RemoteMesh {name}", _confirming(name)):
            self._faults.over(what)
        self._sessions.pop(name).close()
        task = self._tasks.pop(name, None)
        if task is not None:
            self._ending[name] += 1
            task.add_done_callback(lambda _: self._ended(name))
            task.cancel()
        self._forget_metrics(name)

    def _ended(self, name: str) -> None:
        self._ending[name] -= 1
        self._forget_metrics(name)

    def _forget_metrics(self, name: str) -> None:
        """Drop what nobody reports any more; a session that is cancelled reports until it has come to its end."""
        if name in self._sessions or self._ending[name]:
            return
        del self._ending[name]
        self._propagation.forget(name)
        if name in self._meshes:
            self._metrics.forget_discovery(name)
        else:
            self._metrics.forget_remote(name)

    def _desire(self, remote: str, host: str, spec: FederatedServiceSpec | None, received: float | None) -> None:
        mesh = self._planner.mesh
        wanted = () if spec is None or mesh is None else (record_manifest(mesh, spec),)
        self._engine.want(OfferSource(remote, host), wanted, flow=remote)
        name = record_name(host, remote)
        record = self._offers.get((mesh.namespace, name)) if mesh is not None else None
        stands = record.spec if record is not None else None
        self._propagation.record_wanted(name, stands, spec, received=received)
        if spec is None:
            self.turned(remote, host)
        if not wanted and mesh is not None and record is None:
            # Where somebody deleted it, no watch will say that it goes.
            self._planner.offer_changed(name, None)


def _judging(spec: FederatedServiceSpec) -> str:
    return f"judging what RemoteMesh {spec.remote} offers as {spec.host}"


def _confirming(name: str) -> str:
    return f"telling RemoteMesh {name} what is in place"
