"""The commands. Each imports what it needs when it runs, so that ``meshfed version`` stays quick."""

from meshfed.cli.app import main

__all__ = ["main"]
