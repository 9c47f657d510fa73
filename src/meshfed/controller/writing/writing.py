"""What a term writes: objects, by way of the engine, and what is said of them, in statuses and Events."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Hashable
from functools import partial

from meshfed.api.v1alpha1 import ORIGIN_ANNOTATION
from meshfed.controller.environment import Environment
from meshfed.controller.feed import Feed
from meshfed.controller.migration import adoption
from meshfed.controller.propagation import Propagation
from meshfed.controller.watches import SERVICE_EXPORTS, Served, Watches
from meshfed.controller.writing.deletions import Deletions
from meshfed.controller.writing.delivery import Delivery, tell
from meshfed.controller.writing.outcomes import refusal
from meshfed.controller.writing.statuses import StatusWriter
from meshfed.istio.metadata import is_paused
from meshfed.kube import Client, Engine, Ownership, Recorder
from meshfed.model.probes import Probe
from meshfed.plan import ExportKey, GatewayKey, ImportKey, Key, MeshKey, OfferKey, Planner, RemoteKey


class Writing:
    """Everything on the way out. Who does not lead has it all the same, and it goes nowhere."""

    def __init__(
        self,
        environment: Environment,
        client: Client,
        served: Served,
        *,
        planner: Planner,
        inputs: Watches,
        feed: Feed,
        propagation: Propagation,
        leading: bool,
        prove: Callable[[OfferKey | RemoteKey, Probe | None], None],
    ) -> None:
        faults, stamp = environment.faults, environment.stamp
        self._faults = faults
        self._planner = planner
        self.failing: dict[Key, str] = {}
        """The keys that could not be worked out, which is a fault of ours, and why."""
        self.deletions = Deletions(planner, failing=self.failing, feed=feed)
        self.engine = Engine(
            client,
            (*served.written, served.ours["FederatedService"]),
            ownership=Ownership(
                environment.owner,
                ORIGIN_ANNOTATION,
                adopt=adoption.taken_over if environment.options.adopt_reference else lambda _: None,
                paused=is_paused,
                refused=refusal,
            ),
            stays=self.deletions.why_it_stays,
            told=faults.by_key("writing"),
        )
        self.recorder = Recorder(client, component="meshfed", instance=socket.gethostname(), stamp=stamp)
        self.statuses = StatusWriter(
            client,
            {**served.ours, "ServiceExport": SERVICE_EXPORTS},
            inputs.find,
            stamp=stamp,
            again=lambda ref, flow: planner.look_again(OfferKey(ref[2]), flow) if leading else None,
            told=faults.by_key("the status of"),
            tell=partial(tell, self.recorder),
        )
        self.delivery = Delivery(
            planner,
            engine=self.engine,
            publisher=environment.publisher,
            statuses=self.statuses,
            recorder=self.recorder,
            find=inputs.find,
            services=inputs.services,
            metrics=environment.metrics,
            propagation=propagation,
            leading=leading,
            prove=prove,
        )

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Write from now on, until the tasks are cancelled."""
        for part in (self.engine, self.statuses, self.recorder):
            tasks.create_task(part.run())

    def begin(self) -> None:
        """Everything was worked out once: what nobody wants may go, and what comes is news."""
        self.deletions.begin()
        self.delivery.begin()

    def follow_up(self) -> None:
        """Take in what the engine has to say of each source from now on."""
        self.engine.subscribe(self._on_written)

    def _on_written(self, source: Hashable) -> None:
        try:
            self.delivery.written(source)
        except Exception as error:  # noqa: BLE001 - a report's fault must not stop the writing
            self._faults.caught(f"taking in what was written for {source}", error, partial(self._tell_again, source))
        else:
            if self._faults:
                self._faults.over(f"taking in what was written for {source}")

    def _tell_again(self, source: Hashable) -> None:
        if isinstance(source, ExportKey | GatewayKey | ImportKey | MeshKey | RemoteKey):
            self._planner.applied_changed(source, None)  # else what was half taken in would be no news
        self._on_written(source)
