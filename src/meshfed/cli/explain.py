"""``meshfed explain``: the chain from the exporter's Service to the importer's request, link by link."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from meshfed.cli.clusters import LEASES, OURS, SURROUNDINGS, Unreached, Where, look
from meshfed.cli.exits import BadInput, Exit
from meshfed.cli.output import document, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshfed.views.access_log import LogVerdict
    from meshfed.views.explain.asked import Missing
    from meshfed.views.explain.chains import Chain
    from meshfed.views.explain.objects import TreeView
    from meshfed.views.explain.parts import Part
    from meshfed.views.explain.seen import Seen


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How to show it."""

    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text"
    """For people, or a document."""


def explain(
    *name: Annotated[str, Parameter(negative="")],
    remote: str | None = None,
    tree: Annotated[bool, Parameter(show_default=False)] = False,
    export: str | None = None,
    merge: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    log: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    mesh_config: str = "istio",
    where: Where = Where(),  # noqa: B008 - immutable
    how: How = How(),
) -> int:
    """Explain why a host of one mesh can be called in another, or cannot: every link, and the first that is broken.

    What the controller decided is shown as its statuses say it; what no status says is decided by the controller's own
    functions. The other owner's side is seen with a second `--context`, or from a file that the other owner wrote.

    Exit codes: 0 the chain holds as far as it can be seen, 1 a link is broken, 2 bad usage or nothing of that name, 3 a
    cluster cannot be reached.

    Parameters
    ----------
    name
        A host, as it is offered or imported, its first labels (`ratings` or `ratings.bookinfo`), or `NAMESPACE/NAME` of
        a Service. Or an object that the controller wrote: `KIND/NAME`, or `Kind NAMESPACE/NAME`.
    remote
        Only the chains from or to this mesh.
    tree
        Show the objects that the chain leads to, and from which inputs each follows.
    export
        Write this mesh's part into this file, for the other mesh's owner, who merges it; `-` for standard output. It
        has no labels, annotations or addresses, and says nothing of other hosts or meshes.
    merge
        A file that the other mesh's owner wrote with `--export`; may be given several times.
    log
        A line of an access log of Envoy, in Istio's default format or its JSON, `-` to read it from standard input:
        what it says. Alone, it contacts no cluster.
    mesh_config
        The name of the ConfigMap with Istio's configuration of the mesh, as for the controller.
    """
    from meshfed.views.access_log import judge

    verdict = judge(_line(log)) if log is not None else None
    if not name:
        if verdict is None:
            raise BadInput("say which host or object to explain, or give a line of an access log with --log")
        if export is not None or merge or tree:
            raise BadInput("--export, --merge and --tree take a host")
        return _print_log(verdict, how)
    session = _Session(name, where, mesh_config, merge)
    if export is not None:
        return session.write(export, remote)
    found = session.look(remote)
    found.log = verdict
    return found.show(how, tree=tree)


def _line(given: str) -> Any:
    from meshfed.views.access_log import parse

    text = sys.stdin.read() if given == "-" else given
    try:
        return parse(text)
    except ValueError as error:
        raise BadInput(f"--log: {error}") from error


def _print_log(verdict: LogVerdict, how: How) -> int:
    from meshfed.cli.chain_text import log_text

    if how.output == "text":
        print("\n".join(log_text(verdict)))
    else:
        print(document("Explanation", {"log": verdict}, how.output))
    return Exit.NOT_HELD if verdict.failed else Exit.OK


class _Session:
    """One call: what was read, and of what it is asked."""

    def __init__(self, words: tuple[str, ...], where: Where, mesh_config: str, merge: Sequence[str]) -> None:
        from meshfed.views.explain.objects import named
        from meshfed.views.explain.seen import seen

        self._words = words
        self._object = named(words)
        if len(words) > 1 and self._object is None:
            raise BadInput(f"{' '.join(words)}: one host at a time, or an object as Kind NAMESPACE/NAME")
        self._given = tuple(part for path in merge for part in _read_parts(path))
        wanted = (*OURS, LEASES, *SURROUNDINGS)
        snapshots, self.unreached = look(where, wanted, mesh_config_map=mesh_config)
        self.sides = tuple(seen(one, mesh_config_map=mesh_config) for one in snapshots)

    @property
    def _named(self) -> str:
        return " ".join(self._words)

    def look(self, remote: str | None) -> Found:
        """Return what there is to say."""
        from meshfed.views.explain.asked import explained, missing
        from meshfed.views.explain.objects import asks_about, find_object
        from meshfed.views.explain.objects import tree as tree_of

        found = Found(self._named, self.sides, self.unreached)
        asked = [self._named]
        if self._object is not None:
            objects = [(side, one) for side in self.sides if (one := find_object(side, self._object)) is not None]
            found.objects = [tree_of(side, one) for side, one in objects]
            asked = [origin for _, one in objects if (origin := asks_about(one))]
        chains: dict[tuple[str, str, str], Chain] = {}
        for about in dict.fromkeys(asked):
            for chain in explained(about, self.sides, self._given, remote=remote):
                chains[chain.exporter, chain.importer, chain.host] = chain
        found.chains = list(chains.values())
        if not found.chains and not found.objects:
            found.missing = missing(self._named, self.sides)
        return found

    def write(self, path: str, remote: str | None) -> int:
        """Write this mesh's part for another mesh's owner."""
        from meshfed.views.explain.asked import parts
        from meshfed.views.explain.parts import PART_KIND, written

        if self.unreached:
            raise BadInput(f"--export: {self.unreached[0].source}: not reached: {self.unreached[0].why}")
        if len(self.sides) != 1 or self._given or self._object is not None:
            raise BadInput("--export writes one mesh's part of one host: give one --context, a host, and no --merge")
        found = parts(self._named, self.sides, remote=remote)
        remotes = sorted({part.remote.name for part in found})
        if not found:
            return self.look(remote).show(How(), tree=False)
        if len(remotes) > 1:
            raise BadInput(f"--export: it concerns several meshes: choose one with --remote ({', '.join(remotes)})")
        text = document(PART_KIND, written(found), "json")
        if path == "-":
            print(text)
            return Exit.OK
        try:
            Path(path).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise BadInput(f"--export {path}: {error.strerror}") from error
        say(f"{path}: the part of {found[0].mesh.name}, for the owner of {remotes[0]}")
        return Exit.OK


def _read_parts(path: str) -> tuple[Part, ...]:
    from meshfed.views.explain.parts import read

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return read(json.loads(text))
    except OSError as error:
        raise BadInput(f"--merge {path}: {error.strerror}") from error
    except ValueError as error:  # it is not UTF-8, JSON, or a part
        raise BadInput(f"--merge {path}: {error}") from error


class Found:
    """What there is to say of what was asked."""

    def __init__(self, asked: str, sides: Sequence[Seen], unreached: Sequence[Unreached]) -> None:
        self.asked = asked
        self._sides = sides
        self._unreached = unreached
        self.chains: list[Chain] = []
        self.objects: list[TreeView] = []
        self.missing: Missing | None = None
        self.log: LogVerdict | None = None

    def show(self, how: How, *, tree: bool) -> int:
        """Print it, and return how the command ends."""
        from meshfed.views.explain.objects import trees

        if tree:
            more = [one for chain in self.chains for one in trees(self._sides, chain)]
            self.objects = list(dict.fromkeys([*self.objects, *more]))
        if how.output == "text":
            for text in self._notes():
                say(text)
            print("\n".join(self._text()))
        else:
            print(document("Explanation", self._fields(), how.output))
        if self._unreached:
            return Exit.OUT_OF_REACH
        if self.missing is not None:
            return Exit.BAD_INPUT
        wrong = any(chain.broken for chain in self.chains) or (self.log is not None and self.log.failed)
        return Exit.NOT_HELD if wrong else Exit.OK

    def _notes(self) -> Iterator[str]:
        """Yield what limits what can be said."""
        from meshfed.views.controllers import leader

        for source, why in self._unreached:
            yield f"{source}: not reached: {why}"
        for side in self._sides:
            snapshot = side.snapshot
            for why in dict.fromkeys((*snapshot.unread.values(), *snapshot.not_understood(), *side.problems)):
                yield f"{snapshot.source}: {why}"
            leading = leader(snapshot)
            if leading is not None and not leading.alive:
                yield f"{snapshot.source}: no controller leads in {side.mesh.name}: what its statuses say may be old"

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"asked": self.asked, "chains": self.chains, "notes": [*self._notes()]}
        optional = {"objects": self.objects, "missing": self.missing, "log": self.log}
        fields |= {key: value for key, value in optional.items() if value}
        return fields | ({"unreached": [one._asdict() for one in self._unreached]} if self._unreached else {})

    def _text(self) -> Iterator[str]:
        from meshfed.cli.chain_text import chain_text, log_text, missing_text, tree_text

        blocks = [
            *([log_text(self.log)] if self.log is not None else []),
            *(chain_text(chain) for chain in self.chains),
            *([tree_text(self.objects)] if self.objects else []),
            *([missing_text(self.asked, self.missing)] if self.missing is not None else []),
        ]
        for number, block in enumerate(blocks):
            if number:
                yield ""
            yield from block
