"""The ``meshfed`` command: which subcommands there are, and how each of them ends."""

from __future__ import annotations

import os
import sys
from typing import Final

import cyclopts
from rich.console import Console

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
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        result = build()(
            arguments, exit_on_error=False, print_error=True, error_console=errors, result_action="return_value"
        )
    except cyclopts.CycloptsError:
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


def main() -> None:
    """Run ``meshfed`` with the process's arguments."""
    sys.exit(run(sys.argv[1:]))
