"""Exit codes, the same for every command, and the errors that end a command with one.

CommandError
├── NotHeld       1  something that should hold does not
├── BadInput      2  input or usage is wrong
└── OutOfReach    3  something that is needed cannot be reached
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    NOT_HELD = 1
    BAD_INPUT = 2
    OUT_OF_REACH = 3
    INTERRUPTED = 130
    """As a shell has it for SIGINT."""


class CommandError(Exception):
    """Ends a command: the message is for the person who typed it, and says what to do."""

    code: ClassVar[Exit]


class NotHeld(CommandError):
    """Something that should hold does not."""

    code = Exit.NOT_HELD


class BadInput(CommandError):
    """Input or usage is wrong; the message names the field, the value and the remedy."""

    code = Exit.BAD_INPUT


class OutOfReach(CommandError):
    """Something the command needs cannot be reached."""

    code = Exit.OUT_OF_REACH
