"""The ``meshfed`` command: which subcommands there are, and how each of them ends.

Other distributions add commands by entry points of the group ``meshfed.commands``, each a name and a function that
cyclopts takes, as those here. Whoever names a command of ours waits for no look at what else is installed.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cyclopts

from meshfed import __version__
from meshfed.cli.exits import BadInput, CommandError, Exit

_CANNOT_WRITE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}

COMMANDS: Final = {
    "controller": "meshfed.cli.controller:controller",
    "status": "meshfed.cli.status:status",
    "check": "meshfed.cli.check:check",
    "exports": "meshfed.cli.lists:exports",
    "imports": "meshfed.cli.lists:imports",
    "remotes": "meshfed.cli.lists:remotes",
    "explain": "meshfed.cli.explain:explain",
    "test": "meshfed.cli.request:request",
    "report": "meshfed.cli.report:report",
    "dashboard": "meshfed.dashboard.command:dashboard",
    "bench": "meshfed.cli.bench:bench",
    "link": "meshfed.cli.link:app",
    "unlink": "meshfed.cli.unlink:unlink",
    "plan": "meshfed.cli.plan:plan",
    "fds": "meshfed.cli.fds:app",
    "crds": "meshfed.cli.crds:app",
    "manifests": "meshfed.cli.manifests:manifests",
    "uninstall": "meshfed.cli.uninstall:uninstall",
    "completion": "meshfed.cli.completion:completion",
    "version": "meshfed.cli.version:version",
}
SUMMARIES: Final = {
    "controller": "Run the controller of one mesh.",
    "status": "Show how a mesh stands: its controller, its exports and imports, its remotes, and what is wrong.",
    "check": "Check what a federation needs, one named check after the other, and stop at none that fails.",
    "exports": "List the Services that this mesh offers to others, and those that it does not though it might.",
    "imports": "List what remote meshes offer, and what became of each offer here; the worst first.",
    "remotes": "List the remote meshes: whether each is heard and hears this mesh, and what came of it.",
    "explain": "Explain why a host of one mesh can or cannot be called in another, link by link.",
    "test": "Try whether meshes reach each other, by their controllers or by requests, and say where it ends.",
    "report": "Put what a mesh holds and says into one file for a colleague: objects, Events, metrics and logs.",
    "dashboard": "Show meshes as a web page, live and on this machine alone, without changing anything.",
    "bench": "Measure how long a change takes from one mesh to another, beside the least that their APIs allow.",
    "link": "Print, or apply, the RemoteMesh that follows from another mesh's card.",
    "unlink": "Delete a RemoteMesh, after saying which hosts go with it, and what else serves the others.",
    "plan": "Print every object the controller would have in a cluster, or what a change would do.",
    "fds": "Speak to discovery services, or be one.",
    "crds": "Print the CustomResourceDefinitions as YAML, for `kubectl apply --server-side -f -`.",
    "manifests": "Print what runs a controller, as YAML for `kubectl apply --server-side -f -`.",
    "uninstall": "Remove all that Meshfed wrote for one installation, and what it was configured by.",
    "completion": "Print what has a shell complete `meshfed`: commands, flags, contexts, remotes, hosts.",
    "version": "Print the version of Meshfed and of Python.",
}
"""The first sentence of each, so that listing them imports none."""
GROUP: Final = "meshfed.commands"
ELSEWHERE: Final = {"demo": "meshfed-sandbox", "sandbox": "meshfed-sandbox"}
"""What is looked for here and is in a distribution of its own."""
SUMMARIES_ELSEWHERE: Final = {
    "demo": "Federate two meshes on this machine, send requests through them, and show what came of it.",
    "sandbox": "Bring up meshes on this machine, each with a Kubernetes API of its own, until SIGINT or SIGTERM.",
}
"""The first sentence of each of these."""


def commands() -> dict[str, str]:
    """Every command and where it is: our own, and those that other distributions add here."""
    return COMMANDS | {name: target for name, target in sorted(_added().items()) if name not in COMMANDS}


def _added() -> dict[str, str]:
    """What installers wrote of the entry points of `GROUP`; of a name that stands twice, what is first on the path.

    It is what `importlib.metadata` says, which is too long in coming for a ``--help``.
    """
    added: dict[str, str] = {}
    for folder in map(Path, reversed(sys.path)):
        for file in sorted(folder.glob("*-info/entry_points.txt")) if folder.is_dir() else ():
            section = file.read_text(encoding="utf-8").partition(f"[{GROUP}]\n")[2].partition("\n[")[0]
            pairs = (line.partition("=") for line in section.splitlines() if not line.startswith(("#", ";")))
            added |= {name.strip(): target.strip() for name, equals, target in pairs if equals}
    return added


def _known(name: str) -> Mapping[str, str]:
    """The commands among which ``name`` is; raises ``BadInput`` where it is one that has to be installed first."""
    if name in COMMANDS:
        return COMMANDS
    known = commands()
    if name in ELSEWHERE and name not in known:
        home = ELSEWHERE[name]
        raise BadInput(f"{name} comes with {home}, which is not installed here: pip install {home}")
    return known


def build(known: Mapping[str, str] | None = None, *, whole: bool = False, plain: bool = False) -> cyclopts.App:
    """The command-line application, of the ``known`` commands or all.

    Subcommands are imported when they are called; with ``whole`` all at once. Help is written in Markdown, unless it is
    to be ``plain``: what shows Markdown takes a third of the time until the list of commands is there.
    """
    app = cyclopts.App(
        name="meshfed",
        help="Istio mesh federation: share chosen services between independent meshes over end-to-end mTLS.",
        version=__version__,
        version_flags=["--version"],
        help_format="plaintext" if plain else "markdown",
        default_parameter=cyclopts.Parameter(negative=""),
        suppress_keyboard_interrupt=False,  # how that ends is said in one place: `run`
    )
    for name, target in (commands() if known is None else known).items():
        summary = SUMMARIES.get(name) or SUMMARIES_ELSEWHERE.get(name)
        if whole or summary is None:
            app.command(_imported(target), name=name)
        else:
            app.command(target, name=name, help=summary)
    return app


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Errors are one sentence on standard error."""
    try:
        if arguments[:1] == ["__complete"]:
            return _completed(arguments[1:])
        first = arguments[0] if arguments else ""
        app = build(_known(first), plain=not first or first.startswith("-"))
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()  # what cannot be written is noticed here, where it can still be said
    except cyclopts.CycloptsError as error:
        if arguments[0].startswith("-"):
            flag = arguments[0]
            _say(f"{flag}: flags go after the command, as in `meshfed status {flag}`. See `meshfed --help`.")
            return Exit.BAD_INPUT
        _say(f"{str(error).strip()} See `meshfed{_path(error)} --help`.")
        return Exit.BAD_INPUT
    except CommandError as error:
        _say(str(error))
        return error.code
    except (BrokenPipeError, SystemExit):
        # The reader (head, less) has seen enough. Help comes by way of rich, which makes a SystemExit of it.
        _drop_output()
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:
        if error.errno not in _CANNOT_WRITE or error.filename is not None:
            raise
        _drop_output()
        _say(f"standard output: {error.strerror}; what was printed is not complete")
        return Exit.NOT_HELD
    return int(result) if isinstance(result, int) else Exit.OK


def _completed(words: list[str]) -> int:
    from meshfed.cli.completion import complete

    code = complete(build(), words, SUMMARIES)
    sys.stdout.flush()
    return code


def _say(text: str) -> None:
    """Print an error as the one line that it is, whatever the names in it hold."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    print(f"meshfed: {line}", file=sys.stderr)


def _drop_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter does not complain on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _path(error: cyclopts.CycloptsError) -> str:
    """The command that was being called, as far as the words got."""
    return "".join(f" {name}" for name in error.command_chain or ())


def _open_standard_streams() -> None:
    """Give the process the standard streams that it was started without.

    Else what is opened next takes the place of one, and is printed to. Input is empty, errors go nowhere, and output
    fails when it is written, since somebody misses it. It is UTF-8, as JSON and kubectl's output are, whatever the
    locale says.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def main() -> None:
    """Run ``meshfed`` with the process's arguments."""
    _open_standard_streams()
    sys.exit(run(sys.argv[1:]))


def kubectl_complete() -> None:
    """Answer kubectl, which runs ``kubectl_complete-meshfed`` to complete ``kubectl meshfed``."""
    _open_standard_streams()
    sys.exit(run(["__complete", *sys.argv[1:]]))
