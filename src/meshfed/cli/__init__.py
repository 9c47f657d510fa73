"""The commands. Each imports what it needs when it runs, so that ``meshfed version`` stays quick."""

import sys

from meshfed.cli.exits import Exit

__all__ = ["main"]


def main() -> None:
    """Run ``meshfed`` with the process's arguments; who interrupts that at once gets no trace either."""
    try:
        from meshfed.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    run()
