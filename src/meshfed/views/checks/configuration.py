"""Istio's configuration of the mesh, as istiod has it: from a ConfigMap, or from two, one with the last word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from meshfed import istio
from meshfed.api.documents import decode_documents
from meshfed.api.errors import InvalidInput
from meshfed.model.names import listed
from meshfed.views.checks.facts import Facts, containers, flag, place
from meshfed.views.checks.results import Result, ok, unknown, warning
from meshfed.views.snapshot import Document

_VARIABLE: Final = "SHARED_MESH_CONFIG"
"""By which an istiod is told of another ConfigMap to merge under its own."""


class Configuration(NamedTuple):
    """Istio's configuration of the mesh: that of the ConfigMap with the last word, and what istiod merges under it."""

    own: Mapping[str, Any] = {}
    under: Mapping[str, Any] = {}
    source: str = ""
    shared: str = ""
    """Which object is merged under it, if any is."""
    why: str = ""
    """Why it is not known."""

    @property
    def sources(self) -> str:
        """The objects that it is from, in words."""
        return f"{self.source}, with {self.shared} under it," if self.shared else self.source

    @property
    def whole(self) -> Mapping[str, Any]:
        """What istiod goes by."""
        return istio.merged(self.under, self.own)


def shared_config(deployments: Iterable[Document]) -> str:
    """Return the name of the ConfigMap that istiods merge under their own; empty where they merge none."""
    containers_ = (one for found in deployments for one in containers(found["spec"]["template"]))
    variables = (variable for one in containers_ for variable in one.get("env") or ())
    return next((str(one.get("value") or "") for one in variables if one.get("name") == _VARIABLE), "")


def configured(facts: Facts) -> Configuration:
    """Return Istio's configuration of the mesh (``getConfigurationSources``)."""
    found = {
        place(one)[1]: one
        for one in facts.snapshot.of_kind("ConfigMap")
        if place(one)[0] == facts.control_plane and "mesh" in (one.get("data") or {})
    }
    shared = shared_config(facts.snapshot.of_kind("Deployment"))
    stated = flag(facts.snapshot, "--mesh-config", "")
    names = [name for name in found if name == stated] or [name for name in found if name != shared]
    if not names:
        why = facts.unread("ConfigMap")
        none = f"there is no ConfigMap with Istio's configuration in namespace {facts.control_plane}"
        return Configuration(why=why or none)
    source, under = f"ConfigMap {facts.control_plane}/{names[0]}", f"ConfigMap {facts.control_plane}/{shared}"
    try:
        own = _decoded(found[names[0]], source)
        if shared in {"", names[0]}:
            return Configuration(own, source=source)
        if shared not in found:
            return Configuration(own, source=source, shared=under, why=facts.unread("ConfigMap"))
        return Configuration(own, _decoded(found[shared], under), source, under)
    except InvalidInput as error:
        return Configuration(source=source, why=str(error))


def _decoded(found: Document, source: str) -> Mapping[str, Any]:
    documents = decode_documents(str(found["data"]["mesh"]), source)
    return documents[0] if documents else {}


def mesh_config(facts: Facts) -> Iterator[Result]:
    """Ask whether the controller, which reads one ConfigMap, knows what istiod goes by."""
    found = configured(facts)
    nobody = "" if any(facts.snapshot.of_kind("Deployment")) else "there is no Deployment of istiod here"
    why = found.why or facts.unread("Deployment") or nobody
    if why:
        yield unknown(f"{why}, and so whether istiod reads more than {found.source or 'that'} is unknown")
        return
    if not found.shared:
        yield ok(f"istiod has it from {found.source} alone, as the controller does")
        return
    try:
        read, goes_by = (istio.of_mesh_config(one, found.source) for one in (found.own, found.whole))
        differing = [f"`{name}`" for name in istio.differing(read, goes_by)]
    except InvalidInput as error:
        yield unknown(str(error))
        return
    merges = f"istiod merges {found.shared} under {found.source} ({_VARIABLE})"
    if differing:
        words = f"{merges}, and the controller, which does not read that, knows nothing of its {listed(differing)}"
        yield warning(words, f"state {listed(differing)} in {found.source} too, which has the last word")
    else:
        yield ok(f"{merges}; that says nothing else of what matters to the controller")
