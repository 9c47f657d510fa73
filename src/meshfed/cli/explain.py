"""``meshfed explain``: the chain from the exporter's Service to the importer's request, link by link."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from meshfed.cli.clusters import Where, look
from meshfed.cli.exits import BadInput, Exit
from meshfed.cli.kinds import EVENTS, LEASES, OURS, SURROUNDINGS, Wanted
from meshfed.cli.output import document, say
from meshfed.model.installation import MESH_CONFIG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfed.views.access_log import LogVerdict
    from meshfed.views.explain.explanation import Explanation
    from meshfed.views.explain.parts import Part
    from meshfed.views.explain.seen import Seen
    from meshfed.views.snapshot import Unreached


@Parameter(name="*")
@dataclass(frozen=True)
class ExplainHow:
    """How to show it."""

    output: Annotated[Literal["text", "json", "yaml"], Parameter(name=["--output", "-o"])] = "text"
    """For people, or a document."""


def explain(
    name: Annotated[str, Parameter(show_default=False)] = "",
    place: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    remote: str | None = None,
    tree: Annotated[bool, Parameter(show_default=False)] = False,
    export: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    merge: Annotated[tuple[str, ...], Parameter(negative="", show_default=False, allow_leading_hyphen=True)] = (),
    log: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    mesh_config: str = MESH_CONFIG,
    where: Where = Where(),  # noqa: B008 - immutable
    how: ExplainHow = ExplainHow(),
) -> int:
    """Explain why a host of one mesh can or cannot be called in another, link by link.

    What the controller decided is shown as its statuses say it; what no status says is decided by the controller's own
    functions. The other owner's side is seen with a second `--context`, or from a file that the other owner wrote.

    Exit codes: 0 the chain holds as far as it can be seen, 1 a link is broken or nothing has that name, 2 bad usage, 3
    a cluster cannot be reached.

    Parameters
    ----------
    name
        A host, as it is offered or imported, its first labels (`ratings` or `ratings.bookinfo`), or `NAMESPACE/NAME` of
        a Service. Or an object that the controller wrote: `KIND/NAME`, or its kind, and
        PLACE.
    place
        After a kind, `NAMESPACE/NAME` of the object.
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
    session = _Question(tuple(filter(None, (name, place))), where, mesh_config, merge)
    if export is not None:
        return session.write(export, remote)
    return session.show(session.look(remote, verdict, tree=tree), how)


def _line(given: str) -> Any:
    from meshfed.views.access_log import parse

    try:
        return parse(sys.stdin.read() if given == "-" else given)
    except ValueError as error:
        raise BadInput(f"--log: {error}") from error


def _print_log(verdict: LogVerdict, how: ExplainHow) -> int:
    from meshfed.views.explain.explanation import Explanation

    _print(Explanation(log=verdict), (), how)
    return Exit.NOT_HELD if verdict.failed else Exit.OK


class _Question:
    """One call: what was read, and of what it is asked."""

    def __init__(self, words: tuple[str, ...], where: Where, mesh_config: str, merge: Sequence[str]) -> None:
        from meshfed.views.explain.named import named

        self._words = words
        self._object = named(words)
        if len(words) > 1 and self._object is None:
            raise BadInput(f"{' '.join(words)}: one host at a time, or an object as Kind NAMESPACE/NAME")
        self._given = tuple(part for path in merge for part in _read_parts(path))
        self._where, self._mesh_config = where, mesh_config
        self.sides: tuple[Seen, ...] = ()
        self.unreached: tuple[Unreached, ...] = ()
        self._look()

    def _look(self, *more: Wanted) -> None:
        wanted = (*OURS, LEASES, *SURROUNDINGS, *more)
        snapshots, self.unreached = look(self._where, wanted, mesh_config_map=self._mesh_config)

        from meshfed.views.explain.seen import seen  # it takes a moment: after what may not answer

        self.sides = tuple(seen(one, mesh_config_map=self._mesh_config) for one in snapshots)

    @property
    def _named(self) -> str:
        return " ".join(self._words)

    def look(self, remote: str | None, log: LogVerdict | None, *, tree: bool) -> Explanation:
        """Return what there is to say."""
        from meshfed.views.explain.asked import is_meant

        if self._object is None and self._given and not any(is_meant(self._named, part) for part in self._given):
            hosts = ", ".join(sorted({part.host for part in self._given})) or "nothing"
            raise BadInput(f"--merge: what the other owner wrote is of {hosts}, not of {self._named}")
        found = self._answer(remote, log, tree=tree)
        if found.missing is None:
            return found
        self._look(EVENTS)  # of what is gone, they alone may tell
        return self._answer(remote, log, tree=tree)

    def _answer(self, remote: str | None, log: LogVerdict | None, *, tree: bool) -> Explanation:
        from meshfed.views.explain.answers import answer

        return answer(
            self._words,
            self.sides,
            given=self._given,
            unreached=self.unreached,
            remote=remote,
            log=log,
            tree=tree,
        )

    def show(self, found: Explanation, how: ExplainHow) -> int:
        """Print it, and return how the command ends."""
        if how.output == "text":
            for text in found.notes:
                say(text)
        _print(found, self.unreached, how)
        if self.unreached:
            return Exit.OUT_OF_REACH
        if found.missing is not None:
            return Exit.NOT_HELD
        wrong = any(chain.broken for chain in found.chains) or (found.log is not None and found.log.failed)
        return Exit.NOT_HELD if wrong else Exit.OK

    def write(self, path: str, remote: str | None) -> int:
        """Write this mesh's part for another mesh's owner."""
        import msgspec

        from meshfed.views.explain.asked import parts
        from meshfed.views.explain.parts import PART_KIND, written

        if self.unreached:
            raise BadInput(f"--export: {self.unreached[0].source}: not reached: {self.unreached[0].why}")
        if len(self.sides) != 1 or self._given or self._object is not None:
            raise BadInput("--export writes one mesh's part of one host: give one --context, a host, and no --merge")
        found = parts(self._named, self.sides, remote=remote)
        remotes = sorted({part.remote.name for part in found})
        if not found:
            return self.show(self.look(remote, None, tree=False), ExplainHow())
        if len(remotes) > 1:
            raise BadInput(f"--export: it concerns several meshes: choose one with --remote ({', '.join(remotes)})")
        text = document(PART_KIND, msgspec.structs.asdict(written(found)), "json")
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
    except (ValueError, RecursionError) as error:  # it is not UTF-8, JSON, or a part
        raise BadInput(f"--merge {path}: {error}") from error


def _print(found: Explanation, unreached: Sequence[Unreached], how: ExplainHow) -> None:
    import msgspec

    from meshfed.cli.chain_text import text

    if how.output == "text":
        for line in text(found):
            print(line)
        return
    fields = msgspec.to_builtins(found) | ({"unreached": unreached} if unreached else {})
    print(document("Explanation", fields, how.output))
