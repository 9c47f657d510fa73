"""The ``meshfed`` command: which subcommands there are, and how each of them ends."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, Final

import cyclopts

from meshfed import __version__
from meshfed.cli.exits import CommandError, Exit

COMMANDS: Final = {
    "controller": "meshfed.cli.controller:controller",
    "plan": "meshfed.cli.plan:plan",
    "fds": "meshfed.cli.fds:app",
    "crds": "meshfed.cli.crds:crds",
    "uninstall": "meshfed.cli.uninstall:uninstall",
    "sandbox": "meshfed.cli.sandbox:sandbox",
    "demo": "meshfed.cli.demo:demo",
    "version": "meshfed.cli.version:version",
}


def build(*, whole: bool = False) -> cyclopts.App:
    """The command-line application. Subcommands are imported when they are called, or all at once for their help."""
    app = cyclopts.App(
        name="meshfed",
        help="Istio mesh federation: share chosen services between independent meshes over end-to-end mTLS.",
        version=__version__,
        version_flags=["--version"],
        help_format="markdown",
        default_parameter=cyclopts.Parameter(negative=""),
    )
    for name, target in COMMANDS.items():
        app.command(_imported(target) if whole else target, name=name)
    return app


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Errors are one sentence on standard error."""
    lists_commands = not arguments or arguments[0] in {"-h", "--help"}
    try:
        result = build(whole=lists_commands)(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
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
