"""What a process has used so far, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(*pids: int) -> float:
    """The processor time of processes together, their threads and what they had the kernel do."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def resident_bytes(pid: int) -> int:
    """The memory that a process has now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} says nothing of its memory")


def open_files(pid: int) -> int:
    """How many files, connections and pipes a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
