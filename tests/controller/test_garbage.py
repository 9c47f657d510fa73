"""The garbage collector's pauses, each in a process of its own: there is one collector in a process."""

from __future__ import annotations

import subprocess
import sys

SETUP = """
import gc
from meshfed.controller.garbage import THRESHOLDS, short_pauses, thaw

before = gc.get_threshold()
known = []
gc.callbacks.append(lambda phase, info: known.append(len(gc.get_objects())) if phase == "start" else None)
"""


def told(program: str) -> list[str]:
    """What a process prints."""
    done = subprocess.run([sys.executable, "-c", SETUP + program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_no_look_goes_through_all_there_is() -> None:
    most, frozen, left, restored = told(
        """
with short_pauses():
    held = [([i], {"of": [i]}) for i in range(400_000)]
    print(max(known), gc.get_freeze_count())
print(gc.get_freeze_count(), gc.get_threshold() == before)
"""
    )
    assert int(frozen) > 1_000_000, "there are 1,600,000"
    assert int(most) < 300_000
    assert (left, restored) == ("0", "True")


def test_where_little_is_held_nothing_is_set_aside() -> None:
    collected, frozen = told(
        """
gc.collect()
gc.freeze()  # all that the interpreter has, which may take long to look through
own = gc.get_freeze_count()
with short_pauses():
    ring = []
    ring.append(ring)
    del ring
    print(gc.collect() > 0)
    print(gc.get_freeze_count() == own)
"""
    )
    assert (collected, frozen) == ("True", "True")


def test_after_a_term_all_is_looked_at_again() -> None:
    kept, found = told(
        """
with short_pauses():
    class Held: pass
    rings = []
    for _ in range(200_000):
        one = Held()
        one.me = one
        rings.append(one)
    gc.collect()
    del one
    rings.clear()
    print(gc.collect() < 100_000)
    thaw()
    print(gc.collect() > 100_000)
"""
    )
    assert (kept, found) == ("True", "True")


def test_who_set_something_aside_before_keeps_it() -> None:
    assert told("gc.freeze(); own = gc.get_freeze_count(); thaw(); print(gc.get_freeze_count() == own)") == ["True"]
