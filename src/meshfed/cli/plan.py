"""``meshfed plan``: what the controller would have in a cluster, worked out from files alone.

The decisions and the rendering are the controller's own. Nothing is contacted, so what only a cluster or a remote
knows is given: FederatedServices and Gateways for what depends on history, ``--remote`` for what a remote offers,
``--resolve`` for DNS.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Parameter

from meshfed.cli.exits import BadInput, Exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshfed.model.offers import Offer
    from meshfed.plan import Plan, PlanInputs

_REPORTS = (".tgz", ".tar.gz")
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_LEAVE_OUT = (
    "name by -f only files and folders with the objects of one mesh, and give what a remote offers with "
    "--remote NAME=FILE"
)


def plan(
    *more: Annotated[str, Parameter(show=False)],
    file: Annotated[list[str], Parameter(name=["--file", "-f"], allow_leading_hyphen=True)],
    remote: Annotated[list[str] | None, Parameter(name="--remote", consume_multiple=True)] = None,
    resolve: Annotated[list[str] | None, Parameter(name="--resolve", consume_multiple=True)] = None,
    namespace: Annotated[str | None, Parameter(name=["--namespace", "-n"])] = None,
    metrics_bind_address: str = ":8080",
    mesh_config: str = "istio",
    report: bool = False,
    output: Annotated[Literal["yaml", "json"], Parameter(name=["--output", "-o"])] = "yaml",
) -> int:
    """Print every object the controller would have in a cluster; nothing is contacted.

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
    remote
        NAME=FILE: what the RemoteMesh NAME offers, a YAML list of `{host, ports: [{name, number, protocol,
        targetPort}], labels}`.
    resolve
        NAME=IP: an answer of DNS for a remote's address; may be given several times.
    namespace
        The controller's namespace; by default that of the MeshFederation.
    metrics_bind_address
        As the controller's: the PeerAuthentication of its pods lets that port be scraped in plaintext.
    mesh_config
        As the controller's: the name of the ConfigMap with Istio's configuration of this mesh.
    report
        Print, in place of the objects, what each remote would be told, as what each Service is exported or why it is
        not, and all conditions, as they are once everything is written.
    output
        A YAML stream, or a List in JSON. A report is one document.
    """
    from meshfed.cli.arguments import address
    from meshfed.plan import Settings, plan_all

    metrics = address("--metrics-bind-address", metrics_bind_address)
    inputs, controller_namespace = _read([*file, *more], remote or (), resolve or (), namespace, mesh_config)
    result = plan_all(inputs, Settings(namespace=controller_namespace, metrics_port=metrics.port))
    for warning in _warnings(inputs, result, controller_namespace):
        print(f"warning: {warning}", file=sys.stderr)
    if report:
        _print_report(result, output, sys.stdout)
    else:
        _print(result, output, sys.stdout)
    return Exit.OK


# --- reading --------------------------------------------------------------------------------------


def _read(
    files: Sequence[str], remotes: Sequence[str], answers: Sequence[str], namespace: str | None, mesh_config: str
) -> tuple[PlanInputs, str]:
    import msgspec

    from meshfed.api.errors import InvalidInput, NotAnObject
    from meshfed.plan.documents import namespace_of_mesh, read_documents

    try:
        documents = [document for source, text in _texts(files) for document in _documents(source, text)]
        controller_namespace = namespace or namespace_of_mesh(documents)
        inputs = read_documents(documents, controller_namespace, mesh_config)
    except NotAnObject as error:
        raise BadInput(f"{error}: {_LEAVE_OUT}") from error
    except InvalidInput as error:
        raise BadInput(str(error)) from error
    known = sorted(mesh.metadata.name for mesh in inputs.remotes)
    return (
        msgspec.structs.replace(inputs, offers=_offers(remotes, known), resolved=_resolved(answers)),
        controller_namespace,
    )


def _texts(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each file's name and text; of a folder, the YAML and JSON files below it, by name."""
    for name in files:
        if name == "-":
            yield "standard input", sys.stdin.read()
            continue
        if name.endswith(_REPORTS):
            yield name, _reported(name)
            continue
        path = Path(name)
        try:
            found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        except OSError as error:
            raise BadInput(f"-f {name}: {error.filename}: {error.strerror}") from error
        if path.is_dir() and not found:
            raise BadInput(f"-f {name}: the folder holds no .yaml, .yml or .json file")
        for file in found if path.is_dir() else [path]:
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except OSError as error:
                raise BadInput(f"-f {file}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise BadInput(f"-f {file}: not UTF-8 text: {error}") from error


def _reported(name: str) -> str:
    """Return the objects that a report has of its one mesh."""
    from meshfed.api.documents import encode_documents
    from meshfed.cli.clusters import read_report

    snapshots = read_report(name)
    if len(snapshots) > 1:
        meshes = ", ".join(one.mesh for one in snapshots)
        raise BadInput(f"-f {name}: it tells of several meshes ({meshes}); unpack it, and name the folder of one")
    return encode_documents(snapshots[0].objects)


def _documents(source: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    from meshfed.api.documents import decode_documents

    for document in decode_documents(text, source):
        yield source, document


def _pairs(option: str, entries: Sequence[str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name or not equals or not value:
            raise BadInput(f"{option} {entry}: it has to be NAME={'FILE' if option == '--remote' else 'IP'}")
        yield name, value


def _offers(entries: Sequence[str], known: Sequence[str]) -> dict[str, tuple[Offer, ...]]:
    from meshfed.cli.fds import read_offers

    offers: dict[str, tuple[Offer, ...]] = {}
    for name, path in _pairs("--remote", entries):
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "there are none"
            raise BadInput(f"--remote {name}: the input has no RemoteMesh of that name ({there})")
        if name in offers:
            raise BadInput(f"--remote {name}: it is given twice; put all that {name} offers into one file")
        try:
            offers[name] = tuple(read_offers(Path(path)))
        except ValueError as error:
            raise BadInput(f"--remote {name}: {error}") from error
    return offers


def _resolved(entries: Sequence[str]) -> dict[str, tuple[str, ...]]:
    from meshfed.model.meshes import is_ip

    resolved: dict[str, tuple[str, ...]] = {}
    for name, address in _pairs("--resolve", entries):
        if not is_ip(address):
            raise BadInput(f"--resolve {name}: {address} is not an IP address")
        resolved[name] = (*resolved.get(name, ()), address)
    return resolved


# --- writing --------------------------------------------------------------------------------------


def _warnings(inputs: PlanInputs, result: Plan, namespace: str) -> Iterator[str]:
    """Yield what a person should know beside the objects."""
    from meshfed.model.reasons import Reason

    told = {
        *(Reason.DUPLICATE, Reason.NAME_CONFLICT, Reason.INVALID, Reason.NAME_TOO_LONG, Reason.MTLS_DISABLED),
        Reason.TRUST_DOMAIN_MISMATCH,
    }
    if not inputs.federations:
        yield f"there is no MeshFederation in namespace {namespace}, so the controller would write nothing"
    for name in sorted(result.unresolved):
        yield f"no IP of {name} is known, so it gets no WorkloadEntries: give it with --resolve {name}=IP"
    for status in result.statuses:
        for condition in status.conditions:
            if condition.reason in told:
                yield f"{status.kind} {status.namespace}/{status.name}: {condition.reason}: {condition.message}"
                break


def _print(result: Plan, output: str, stream: TextIO) -> None:
    if output == "json":
        document = {"apiVersion": "v1", "kind": "List", "items": list(result.objects)}
        json.dump(document, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        return
    from meshfed.api.documents import encode_documents

    stream.write(encode_documents(result.objects))


def _print_report(result: Plan, output: str, stream: TextIO) -> None:
    from meshfed.api.documents import encode_document
    from meshfed.plan.report import report

    document = report(result)
    if output == "json":
        json.dump(document, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
    else:
        stream.write(encode_document(document))
