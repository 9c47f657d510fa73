"""``meshfed plan``: what the controller would have in a cluster, and what a change would do to that.

The decisions and the rendering are the controller's own. From files alone nothing is contacted, so what only a cluster
or a remote knows is given: FederatedServices and Gateways for what depends on history, ``--remote`` for what a remote
offers, ``--resolve`` for DNS. With ``--live`` all of that is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from cyclopts import Parameter

from meshfed.cli.clusters import InClusters
from meshfed.cli.exits import BadInput, Exit
from meshfed.cli.plan_inputs import (
    Documents,
    Given,
    inputs_of,
    inputs_of_cluster,
    namespace_of,
    read_cluster,
    read_files,
    whole,
    with_offers,
)
from meshfed.model.installation import MESH_CONFIG

if TYPE_CHECKING:
    from meshfed.plan import Plan, PlanInputs, Settings
    from meshfed.views.plan_diffs import PlanDiffView
    from meshfed.views.snapshot import Snapshot

PlanFormat = Literal["yaml", "json", "text", "markdown"]


def plan(
    *more: Annotated[str, Parameter(show=False)],
    file: Annotated[list[str] | None, Parameter(name=["--file", "-f"], allow_leading_hyphen=True)] = None,
    live: Annotated[bool, Parameter(show_default=False)] = False,
    diff: Annotated[bool, Parameter(show_default=False)] = False,
    against: list[str] | None = None,
    prune: Annotated[bool, Parameter(show_default=False)] = False,
    summary: Annotated[bool, Parameter(show_default=False)] = False,
    remote: Annotated[list[str] | None, Parameter(name="--remote", consume_multiple=True)] = None,
    resolve: Annotated[list[str] | None, Parameter(name="--resolve", consume_multiple=True)] = None,
    metrics_bind_address: str | None = None,
    mesh_config: str = MESH_CONFIG,
    read_pods: Annotated[bool, Parameter(negative="--no-read-pods")] = True,
    report: Annotated[bool, Parameter(show_default=False)] = False,
    output: Annotated[PlanFormat | None, Parameter(name=["--output", "-o"])] = None,
    where: InClusters = InClusters(),  # noqa: B008 - immutable
) -> int:
    """Print every object the controller would have in a cluster, or what a change would do.

    From files alone nothing is contacted, and with `--live` nothing is changed.

    Exit codes: 0 printed, with `--diff` that there is no difference, 1 there is some, 2 bad usage or input, 3 the
    cluster cannot be reached, or does not let everything be read that decides.

    Parameters
    ----------
    more
        What follows the first file, so that a shell's `-f *.yaml` works.
    file
        A file or folder with MeshFederation, RemoteMeshes, Services and Namespaces as YAML or JSON, `-` for standard
        input, or a report of `meshfed report`. FederatedServices and Gateways of the cluster may be among them: they
        record what depends on history. So may Pods, EndpointSlices, and WorkloadEntries, ServiceEntries,
        DestinationRules and PeerAuthentications of others, and the ConfigMap of Istio's configuration, where they
        decide anything. Other kinds are skipped.
    live
        Plan for what the cluster holds, with the objects of `--file`, if there are any, in the place of those of the
        same kind, namespace and name.
    diff
        Print what is to be created, changed and deleted, and what becomes of traffic: with `--live` against what exists
        in the cluster, else against `--against`.
    against
        A file, folder or report, as for `--file`: what there was before. May be given several times.
    prune
        With `--live`: the MeshFederations and RemoteMeshes of the cluster that no file has count as deleted.
    summary
        With `--diff`: name the objects, without what differs in them.
    remote
        NAME=FILE: what the RemoteMesh NAME offers, a YAML list of `{host, ports: [{name, number, protocol,
        targetPort}], labels}`. With `--live`, what it is going to offer, in the place of what is recorded.
    resolve
        NAME=IP: an answer of DNS for a remote's address; may be given several times.
    metrics_bind_address
        As the controller's: the PeerAuthentication of its pods lets that port be scraped in plaintext. By default
        :8080, and with `--live` what is in place.
    mesh_config
        As the controller's: the name of the ConfigMap with Istio's configuration of this mesh.
    read_pods
        As the controller's: with `--live`, look at Pods and EndpointSlices.
    report
        Print, in place of the objects, what each remote would be told, as what each Service is exported or why it is
        not, and all conditions, as they are once everything is written.
    output
        A YAML stream, or a List in JSON; a report is one document. With `--diff` text, by default, a document in YAML
        or JSON, or Markdown of at most 60,000 characters, for a comment on a pull request.
    """
    from meshfed.cli import plan_output

    files = [*(file or ()), *more]
    _check(files, live=live, diff=diff, against=against, prune=prune, summary=summary, report=report, output=output)
    facts = Given(remote or (), resolve or (), mesh_config, read_pods)
    documents = read_files(files)
    if live:
        sides = _of_cluster(where, documents, facts, metrics_bind_address, prune=prune, diff=diff)
    else:
        sides = _of_files(where, documents, against, facts, metrics_bind_address)
    warnings = _warnings(sides, diff=diff)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if diff:
        view = _compared(sides, warnings)
        plan_output.print_diff(view, output or "text", sys.stdout, summary=summary)
        return Exit.NOT_HELD if view.differs else Exit.OK
    if report:
        plan_output.print_report(sides.after, output or "yaml", sys.stdout)
    else:
        plan_output.print_objects(sides.after, output or "yaml", sys.stdout)
    return Exit.OK


def _check(
    files: Sequence[str],
    *,
    live: bool,
    diff: bool,
    against: list[str] | None,
    prune: bool,
    summary: bool,
    report: bool,
    output: PlanFormat | None,
) -> None:
    """Raise ``BadInput`` for flags that make no sense together, naming what does."""
    if not files and not live:
        raise BadInput("there is nothing to plan for: give --file FILE, or --live for what the cluster holds")
    if diff and live == bool(against):
        raise BadInput("--diff takes one of --live, for what exists in the cluster, and --against, for other files")
    if diff and report:
        raise BadInput("--report and --diff are two ways to say it: give one of them")
    for given, flag, needed, other in (
        (bool(against), "--against", diff, "--diff"),
        (summary, "--summary", diff, "--diff"),
        (prune, "--prune", live and bool(files), "--live and -f"),
        (output in {"text", "markdown"}, f"--output {output}", diff, "--diff"),
    ):
        if given and not needed:
            raise BadInput(f"{flag} goes with {other}")


class _Sides(NamedTuple):
    """What there would be, and what there is, which is the same where nobody asked; ``snapshot``: of the cluster."""

    inputs: PlanInputs
    after: Plan
    inputs_before: PlanInputs
    before: Plan
    namespace: str
    against: str = ""
    snapshot: Snapshot | None = None


def _of_files(
    where: InClusters, documents: Documents, against: list[str] | None, facts: Given, metrics: str | None
) -> _Sides:
    import msgspec

    from meshfed.plan import plan_all
    from meshfed.views.plan_diffs import gateways

    namespace = namespace_of(documents, where.namespace)
    settings = _settings(namespace, metrics)
    if not against:
        (inputs,) = with_offers([inputs_of(documents, namespace, facts)], facts)
        after = plan_all(inputs, settings)
        return _Sides(inputs, after, inputs, after, namespace)
    old = read_files(against, "--against")
    was = namespace_of(old, where.namespace)
    inputs_before, inputs = with_offers([inputs_of(old, was, facts), inputs_of(documents, namespace, facts)], facts)
    before = plan_all(inputs_before, _settings(was, metrics))
    inputs = msgspec.structs.replace(inputs, gateways=inputs.gateways or gateways(before))
    return _Sides(inputs, plan_all(inputs, settings), inputs_before, before, namespace, ", ".join(against))


def _of_cluster(
    where: InClusters, documents: Documents, facts: Given, metrics: str | None, *, prune: bool, diff: bool
) -> _Sides:
    return _laid_over(read_cluster(where, documents, facts), documents, facts, metrics, prune=prune, diff=diff)


def planned_change(snapshot: Snapshot, documents: Documents, mesh_config: str) -> PlanDiffView:
    """Return what ``documents`` would change in a cluster; raises ``BadInput``, and ``OutOfReach`` as `whole`."""
    given = namespace_of(documents, None) if any(one.get("kind") == "MeshFederation" for _, one in documents) else None
    if given not in {None, snapshot.namespace}:
        raise BadInput(
            f"the MeshFederation is in namespace {given}, and that of {snapshot.source} in {snapshot.namespace}"
        )
    facts = Given((), (), mesh_config, read_pods=True)
    sides = _laid_over(whole(snapshot), documents, facts, None, prune=False, diff=True)
    return _compared(sides, _warnings(sides, diff=True))


def _laid_over(
    snapshot: Snapshot, documents: Documents, facts: Given, metrics: str | None, *, prune: bool, diff: bool
) -> _Sides:
    from meshfed.plan import plan_all
    from meshfed.views.overlay import laid_over
    from meshfed.views.plan_diffs import metrics_port

    settings = _settings(snapshot.namespace, metrics, metrics_port(snapshot))
    inputs = inputs_of_cluster(snapshot, laid_over(snapshot, documents, prune=prune), facts)
    (inputs,) = with_offers([inputs], facts)
    after = plan_all(inputs, settings)
    inputs_before, before = inputs, after
    if diff and (documents or facts.remotes):
        inputs_before = inputs_of_cluster(snapshot, ((snapshot.source, one) for one in snapshot.objects), facts)
        before = plan_all(inputs_before, settings)
    return _Sides(inputs, after, inputs_before, before, snapshot.namespace, snapshot.source, snapshot)


def _settings(namespace: str, given: str | None, in_place: int | None = None) -> Settings:
    from meshfed.cli.arguments import address
    from meshfed.plan import Settings

    if given is None and in_place is not None:
        return Settings(namespace=namespace, metrics_port=in_place)
    return Settings(namespace=namespace, metrics_port=address("--metrics-bind-address", given or ":8080").port)


def _compared(sides: _Sides, warnings: Sequence[str]) -> PlanDiffView:
    from meshfed.api.v1alpha1 import ORIGIN_ANNOTATION, OWNER_NAMESPACE_LABEL
    from meshfed.istio.metadata import is_paused
    from meshfed.kube import Ownership
    from meshfed.views.differences import differences
    from meshfed.views.plan_diffs import plan_diff, written
    from meshfed.views.traffic import traffic

    before, after = sides.before, sides.after
    ownership = Ownership({OWNER_NAMESPACE_LABEL: sides.namespace}, ORIGIN_ANNOTATION, paused=is_paused)
    if sides.snapshot is not None:
        ours, others = written(sides.snapshot, ownership)
        found = differences(ours, after.objects, ownership, others=others, wanted_before=before.objects)
    else:
        found = differences(before.objects, after.objects, ownership)
    return plan_diff(
        (before, after),
        found,
        traffic(before, after),
        namespace=sides.namespace,
        against=sides.against,
        warnings=warnings,
    )


def _warnings(sides: _Sides, *, diff: bool) -> list[str]:
    """Return what a person should know beside the objects; of a change, what it brings."""
    from meshfed.views.plan_diffs import unheard

    found = list(_warned(sides.inputs, sides.after, sides.namespace))
    if not diff:
        return found
    known = {*_warned(sides.inputs_before, sides.before, sides.namespace)}
    asked = (
        f"nothing is known of what RemoteMesh {name} offers: give it with --remote {name}=FILE"
        for name in unheard(sides.inputs_before, sides.inputs)
    )
    # Without a MeshFederation the rest makes little sense, so that is said in any case.
    return [*(warning for warning in found if warning not in known or not sides.inputs.federations), *asked]


def _warned(inputs: PlanInputs, result: Plan, namespace: str) -> Iterator[str]:
    from meshfed.model.reasons import Reason

    told = {
        *(Reason.DUPLICATE, Reason.NAME_CONFLICT, Reason.INVALID, Reason.NAME_TOO_LONG, Reason.MTLS_DISABLED),
        Reason.TRUST_DOMAIN_MISMATCH,
    }
    if not inputs.federations:
        yield (
            f"there is no MeshFederation in namespace {namespace}, so a controller without --meshPeers would write "
            "nothing"
        )
    for name in sorted(result.unresolved):
        yield f"no IP of {name} is known, so it gets no WorkloadEntries: give it with --resolve {name}=IP"
    for status in result.statuses:
        for condition in status.conditions:
            if condition.reason in told:
                yield f"{status.kind} {status.namespace}/{status.name}: {condition.reason}: {condition.message}"
                break
