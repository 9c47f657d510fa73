"""How chains, trees of objects and verdicts on log lines look to people."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from meshfed.cli.output import Paint, folded, one_line, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshfed.views.access_log import LogVerdict
    from meshfed.views.explain.asked import Missing
    from meshfed.views.explain.chains import Chain
    from meshfed.views.explain.explanation import Explanation
    from meshfed.views.explain.links import ChainLink
    from meshfed.views.explain.objects import TreeView

_GOOD: Final = {"ok": True, "broken": False}
_STATE, _NAME = 9, 11


def text(found: Explanation) -> Iterator[str]:
    """Yield all of an explanation."""
    blocks = [
        *([log_text(found.log)] if found.log is not None else []),
        *([missing_text(found.asked, found.missing)] if found.missing is not None else []),
        *(chain_text(chain) for chain in found.chains),
        *([tree_text(found.objects)] if found.objects else []),
    ]
    for number, block in enumerate(blocks):
        if number:
            yield ""
        yield from block


def chain_text(chain: Chain) -> Iterator[str]:
    """Yield a chain: what is broken first, then every link, mesh by mesh."""
    paint = Paint()
    alias = f", as {chain.imported_as}" if chain.imported_as not in {"", chain.host} else ""
    yield from _wrapped(f"{chain.host} from {chain.exporter or '?'} to {chain.importer or '?'}{alias}")
    if chain.broken is not None:
        yield from _verdict(chain, chain.broken, paint)
    else:
        yield paint("Nothing is broken, as far as can be seen", good=True)
        for state in ("warning", "unknown", "unseen"):
            names = ", ".join(
                f"{link.name} ({link.reason})" if link.reason and state != "unseen" else str(link.name)
                for link in chain.links
                if link.state == state
            )
            yield from _wrapped(f"{state.capitalize()}: {names}" if names else "", indent="  ")
    for mesh, links in groupby(chain.links, key=lambda link: link.mesh):
        role = {chain.exporter: "exporter", chain.importer: "importer"}.get(mesh, "")
        yield ""
        yield one_line(f"  {mesh or '?'} ({role})")
        for (state, message), alike in groupby(links, key=lambda link: (link.state, link.message)):
            yield from _links(str(state), message, list(alike), paint)


def _verdict(chain: Chain, link: ChainLink, paint: Paint) -> Iterator[str]:
    mesh = {"exporter": chain.exporter, "importer": chain.importer}.get(str(link.whose), "")
    whose = f"the side of {mesh} ({link.whose})" if mesh else "either side"
    reason = f": {link.reason}" if link.reason else ""
    for line in folded(f"Broken at `{link.name}`, to be mended on {whose}{reason}", rest="  "):
        yield paint(line, good=False)
    yield from _wrapped(link.message, indent="  ")
    if link.remedy:
        yield from _wrapped(f"To do: {link.remedy}", indent="  ")


def _links(state: str, message: str, links: Sequence[ChainLink], paint: Paint) -> Iterator[str]:
    """Yield links that stand alike: one, or several of which there is one thing to say."""
    link, several = links[0], len(links) > 1
    reason = f"{link.reason}: " if link.reason and state != "ok" else ""
    remedy = f". To do: {link.remedy}" if link.remedy and state in {"unknown", "warning"} else ""
    indent = " " * (4 + _STATE + (0 if several else _NAME))
    lines = folded(reason + message + remedy, room=width() - len(indent))
    names = ", ".join(str(one.name) for one in links)
    head = state.ljust(_STATE)
    head = paint.faint(head) if state == "unseen" else paint(head, good=_GOOD.get(state))
    if several:
        first, *more = folded(names, room=width() - len(indent))
        lines = [*more, *lines]
    else:
        first = names.ljust(_NAME) + (lines.pop(0) if lines else "")
    yield f"    {head}{first}".rstrip()
    yield from (indent + line for line in lines)


def tree_text(trees: Sequence[TreeView]) -> Iterator[str]:
    """Yield each object, the key that it follows from, and from what that is worked out."""
    yield "Objects, and what each follows from"
    for mesh, group in groupby(trees, key=lambda one: one.mesh):
        yield ""
        yield one_line(f"  {mesh}")
        for one in group:
            yield one_line(f"    {one.object}")
            if not one.key:
                yield "      it does not follow from anything: the controller did not write it"
                continue
            yield one_line(f"      {one.key}")
            yield from (one_line(f"        {given}") for given in one.inputs)


def log_text(verdict: LogVerdict) -> Iterator[str]:
    """Yield what a line of an access log says."""
    paint = Paint()
    line = verdict.line
    seen = [
        f"response {line.response_code}" if line.response_code else "",
        f"flags {line.response_flags}" if line.response_flags else "no flag",
        f"cluster {line.upstream_cluster}" if line.upstream_cluster else "",
        f"SNI {line.requested_server_name}" if line.requested_server_name else "",
    ]
    yield from _wrapped(f"A line of {verdict.at or 'some proxy'}, of a call to {verdict.host or 'nobody who is named'}")
    yield from _wrapped(", ".join(filter(None, seen)), indent="  ")
    yield paint("It failed" if verdict.failed else "It did not fail", good=not verdict.failed)
    yield from _wrapped(verdict.verdict, indent="  ")
    if verdict.link is not None:
        yield f"  Link: `{verdict.link}`, the {verdict.whose}'s side"
    if verdict.page:
        yield f"  See docs/{verdict.page}"


def missing_text(asked: str, missing: Missing) -> Iterator[str]:
    """Yield the answer where nothing has the name that was asked for."""
    yield from _wrapped(f"{asked}: {missing.message}")
    if missing.closest:
        yield ""
        yield "  Closest"
        yield from (one_line(f"    {host}") for host in missing.closest)
    if missing.remotes:
        yield ""
        yield "  What remote meshes offer"
        for one in missing.remotes:
            yield from _wrapped(f"{one.remote} to {one.mesh}: {one.message}", indent="    ")
    if missing.remedy:
        yield ""
        yield from _wrapped(f"To do: {missing.remedy}", indent="  ")


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from folded(text, indent, indent)
