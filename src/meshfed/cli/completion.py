"""``meshfed completion``: what a shell needs to complete commands, flags, and names out of the cluster.

The scripts ask ``meshfed __complete``, which answers as kubectl's plugins and other programs made with cobra do: a line
for each candidate, with a description after a tab, and a last line that says what the shell may add: ``:0`` names of
files, ``:4`` nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from meshfed.cli.exits import Exit
from meshfed.cli.output import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import cyclopts
    from cyclopts.argument import Argument

Shell = Literal["bash", "zsh", "fish"]
FILES: Final = ":0"
NOTHING_ELSE: Final = ":4"
_PATIENCE: Final = "1s"
"""How long a cluster has to answer a person who pressed a key."""
_FRESH: Final = 15.0
"""Seconds for which an answer is good for the next key."""

SCRIPTS: Final[dict[Shell, str]] = {
    "bash": """\
_meshfed() {
    local answer line
    answer=$(meshfed __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :0) compopt -o default ;;
            :*) ;;
            *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done <<< "$answer"
}
complete -F _meshfed meshfed
""",
    "zsh": """\
#compdef meshfed
_meshfed() {
    local line name
    local -a found
    while IFS= read -r line; do
        case $line in
            :0) _files ;;
            :*) ;;
            *) name=${line%%$'\\t'*}; found+=("${name//:/\\\\:}:${line#*$'\\t'}") ;;
        esac
    done < <(meshfed __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    _describe meshfed found
}
compdef _meshfed meshfed
""",
    "fish": """\
function __meshfed
    set -l words (commandline -opc) (commandline -ct)
    for line in (meshfed __complete $words[2..-1] 2>/dev/null)
        switch $line
            case ':0'
                __fish_complete_path (commandline -ct)
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete -c meshfed -f -a '(__meshfed)'
""",
}
_WHERE: Final = ("--kubeconfig", "--context", "--namespace", "-n")
_CONTEXTS, _REMOTES, _HOSTS, _SERVICES = "contexts", "remotes", "hosts", "services"
_OF_FLAGS: Final = {"--context": _CONTEXTS, "--to": _REMOTES}
"""What names a flag takes; ``--remote`` of `meshfed imports` and `explain` does too, and elsewhere takes a file."""
_OF_PLACES: Final = {
    "check": _REMOTES,
    "explain": _HOSTS,
    "exports": _SERVICES,
    "imports": _HOSTS,
    "remotes": _REMOTES,
    "test": _HOSTS,
    "unlink": _REMOTES,
}
"""What names a command takes."""


def completion(shell: Shell, /) -> None:
    """Print what has a shell complete `meshfed`: commands, flags, contexts, remotes, hosts.

    For bash, `source <(meshfed completion bash)` in `~/.bashrc`; for zsh, `meshfed completion zsh` into a file
    `_meshfed` on the `fpath`; for fish, into `~/.config/fish/completions/meshfed.fish`. Names come from the cluster
    that the flags so far say, within a second or not at all.

    `kubectl meshfed` works where `kubectl-meshfed` is on the PATH, and completes by `kubectl_complete-meshfed`.

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    print(SCRIPTS[shell], end="")


def complete(app: cyclopts.App, words: Sequence[str], summaries: Mapping[str, str]) -> int:
    """Print what the last of ``words`` may become; the others are what stands before it, without ``meshfed``.

    ``summaries`` has a sentence for commands of ``app``, so that these are not imported for it.
    """
    *before, partial = words or [""]
    found, directive = _candidates(app, before, partial, summaries)
    for value, description in found:
        if value.startswith(partial):
            print(one_line(value) + (f"\t{one_line(description)}" if description else ""))
    print(directive)
    return Exit.OK


def _candidates(
    app: cyclopts.App, before: Sequence[str], partial: str, summaries: Mapping[str, str]
) -> tuple[Iterator[tuple[str, str]], str]:
    chain: list[str] = []
    for word in before:
        if word.startswith("-") or word not in _subcommands(app):
            break
        app, chain = app[word], [*chain, word]
    if app.default_command is None or (before == chain and _subcommands(app) and not partial.startswith("-")):
        known = _subcommands(app) if before == chain else []
        said = {} if chain else summaries
        return ((name, said.get(name) or (app[name].help or "").partition("\n")[0]) for name in known), NOTHING_ELSE
    arguments = list(app.assemble_argument_collection(parse_docstring=True))
    flags = {name: argument for argument in arguments for name in argument.names if name.startswith("-")}
    last = before[-1] if before else ""
    if last in flags and not _is_switch(flags[last]):
        return _values(chain, last, flags[last], before)
    if partial.startswith("-"):
        shown = {name: one for name, one in flags.items() if _is_of_use(name, one)}
        return ((name, " ".join((one.parameter.help or "").split())) for name, one in shown.items()), NOTHING_ELSE
    places = [argument for argument in arguments if argument.get_choices() and not argument.names[0].startswith("-")]
    if places and before == chain:
        return ((choice, "") for choice in places[0].get_choices() or ()), NOTHING_ELSE
    return _names(_OF_PLACES.get(chain[0], ""), before), NOTHING_ELSE


def _subcommands(app: cyclopts.App) -> list[str]:
    return sorted(name for name in app if not name.startswith(("-", "_")))


def _is_switch(argument: Argument) -> bool:
    return argument.hint is bool


def _is_of_use(name: str, argument: Argument) -> bool:
    """Whether a flag is worth naming: what is off unless it is asked for need not be turned off."""
    off = name.startswith(("--no-", "--empty-")) and argument.field_info.default is not True
    return argument.parameter.show is not False and not off


def _values(
    chain: Sequence[str], flag: str, argument: Argument, before: Sequence[str]
) -> tuple[Iterator[tuple[str, str]], str]:
    choices = argument.get_choices()
    if choices:
        return ((choice, "") for choice in choices), NOTHING_ELSE
    source = _OF_FLAGS.get(flag, "")
    if flag == "--remote" and chain in (["imports"], ["explain"]):
        source = _REMOTES
    return (_names(source, before), NOTHING_ELSE) if source else (iter(()), FILES)


def _names(source: str, before: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names of a kind with what is known of each; nothing where they cannot be had."""
    if source == _CONTEXTS:
        yield from ((name, "") for name in _contexts(before))
    elif source:
        yield from _cached(source, before)


def _contexts(before: Sequence[str]) -> list[str]:
    from meshfed.kube import ConfigError, contexts

    try:
        return contexts(_given(before).get("--kubeconfig"), os.environ)
    except ConfigError:
        return []


def _given(before: Sequence[str]) -> dict[str, str]:
    """Return what the words say about where to look."""
    pairs = {word: after for word, after in pairwise(before) if word in _WHERE}
    joined = (word.partition("=") for word in before if word.startswith("--") and "=" in word)
    return pairs | {name: value for name, _, value in joined if name in _WHERE}


def _cached(source: str, before: Sequence[str]) -> list[tuple[str, str]]:
    given = _given(before)
    key = hashlib.sha256(json.dumps([source, given, os.environ.get("KUBECONFIG")]).encode()).hexdigest()[:32]
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - some have no home
    cache = Path(home, "meshfed", "completion", f"{key}.json")
    with contextlib.suppress(OSError, ValueError, TypeError):
        if 0 <= time.time() - cache.stat().st_mtime < _FRESH:
            return [(str(name), str(description)) for name, description in json.loads(cache.read_text())]
    found = _looked_up(source, given)
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        cache.write_text(json.dumps(found))
    return found


def _looked_up(source: str, given: dict[str, str]) -> list[tuple[str, str]]:
    from meshfed.cli.clusters import Where, look
    from meshfed.cli.exits import CommandError
    from meshfed.cli.kinds import OURS, Wanted
    from meshfed.views.imports import imports

    where = Where(
        kubeconfig=given.get("--kubeconfig"),
        context=(given["--context"],) if "--context" in given else (),
        namespace=given.get("--namespace") or given.get("-n"),
        request_timeout=_PATIENCE,
    )
    wanted = (Wanted("", "Service", everywhere=True),) if source == _SERVICES else OURS
    try:
        snapshots, _ = look(where, wanted)
    except CommandError:
        return []
    found: dict[str, str] = {}
    for snapshot in snapshots:
        if source == _REMOTES:
            found |= {one.metadata.name: "" for one in snapshot.remotes}
        elif source == _HOSTS:
            found |= {one.host: f"{one.state} from {one.remote}" for one in imports(snapshot)}
        else:
            metadata: list[dict[str, Any]] = [one["metadata"] for one in snapshot.of_kind("Service")]
            found |= {f"{one['namespace']}/{one['name']}": "" for one in metadata}
    return sorted(found.items())
