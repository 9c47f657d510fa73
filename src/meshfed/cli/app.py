"""The ``meshfed`` command: which subcommands there are, and how each of them ends."""

from __future__ import annotations

import os
import sys
from typing import Final

import cyclopts

from meshfed import __version__
from meshfed.cli.exits import CommandError, Exit

COMMANDS: Final = {
    "controller": "meshfed.cli.controller:controller",
    "plan": "meshfed.cli.plan:plan",
    "fds": "meshfed.cli.fds:app",
    "crds": "meshfed.cli.crds:crds",
    "sandbox": "meshfed.cli.sandbox:sandbox",
    "demo": "meshfed.cli.demo:demo",
}


def build() -> cyclopts.App:
    """The command-line application; subcommands are imported when they are called."""
    app = cyclopts.App(
        name="meshfed",
        help="Istio mesh federation: share chosen services between independent meshes over end-to-end mTLS.",
        version=__version__,
        version_flags=["--version"],
        help_format="markdown",
    )
    for name, target in COMMANDS.items():
        app.command(target, name=name)

    @app.command
    def version() -> None:
        """Print the version of Meshfed and of Python."""
        print(f"meshfed {__version__} (Python {sys.version.split()[0]})")

    return app


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Errors are one sentence on standard error."""
    try:
        result = build()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        print(f"meshfed: {str(error).strip()} See `meshfed{_path(error)} --help`.", file=sys.stderr)
        return Exit.BAD_INPUT
    except CommandError as error:
        print(f"meshfed: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep the interpreter from complaining on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return 130
    return int(result) if isinstance(result, int) else Exit.OK


def _path(error: cyclopts.CycloptsError) -> str:
    """The command that was being called, as far as the words got."""
    return "".join(f" {name}" for name in error.command_chain or ())


def main() -> None:
    """Run ``meshfed`` with the process's arguments."""
    sys.exit(run(sys.argv[1:]))
