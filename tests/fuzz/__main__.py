"""Fuzz the targets of `tests.fuzz.targets` with Atheris, and say what was found.

Usage: ``python -m tests.fuzz [--minutes M] [--jobs N] [TARGET ...]``; ``make fuzz`` runs it, with Atheris installed.
Each target runs in a process of its own for so many minutes (1), so many of them at a time (2). What a run learns stays
in ``build/fuzz``, and the next goes on from there. An input that breaks a target is written there too, and named: put
it into ``tests/fuzz/corpus``, where ``make test`` tries it for ever after. The exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CORPUS: Final = Path(__file__).resolve().parent / "corpus"
OUTPUT: Final = ROOT / "build" / "fuzz"
INSTRUMENTED: Final = ("meshfed", "h2", "hpack", "hyperframe", "grpclib", "tests.fuzz")
LONGEST_INPUT: Final = 8192
SLOWEST: Final = 20
"""Seconds that one input may take."""
MEMORY: Final = 2048
"""MB that a target may take."""


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; returns the exit code."""
    if arguments[:1] == ["--in-this-process"]:
        return fuzz(arguments[1], arguments[2:])
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="make fuzz", description="Fuzz whatever reads bytes from others.")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; without, all")
    asked = parser.parse_args(arguments)
    if strange := set(asked.targets) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(sorted(strange))}")
    with ThreadPoolExecutor(asked.jobs) as pool:
        good = list(pool.map(lambda name: supervise(name, asked.minutes), asked.targets or list(TARGETS)))
    return 0 if all(good) else 1


def supervise(name: str, minutes: float) -> bool:
    """Fuzz a target in a process of its own; returns whether nothing was found."""
    folder = OUTPUT / name
    folder.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={max(1, round(minutes * 60))}",
        f"-max_len={LONGEST_INPUT}",
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={OUTPUT}/{name}-",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    command = [sys.executable, "-m", "tests.fuzz", "--in-this-process", name, *flags, str(folder)]
    if (CORPUS / name).exists():
        command.append(str(CORPUS / name))
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode(errors="replace")
    (OUTPUT / f"{name}.log").write_text(said)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    covered = re.findall(r"\bcov: (\d+)", said)
    found = re.findall(r"Test unit written to (\S+)", said)
    good = not found and not done.returncode
    what = "nothing found" if good else f"found {', '.join(found) or 'a failure'}; the trace is in {OUTPUT / name}.log"
    inputs, edges = int(executed[1]) if executed else 0, covered[-1] if covered else 0
    print(f"{name}: {inputs:,} inputs in {minutes:g} min, {edges} edges: {what}", flush=True)
    return good


def fuzz(name: str, flags: Sequence[str]) -> int:
    """Fuzz a target in this process, for as long as libFuzzer's ``flags`` say."""
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([name, *flags], TARGETS[name].feed)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
