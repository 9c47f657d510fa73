"""Threads that decode types for the first time, all at once: it ends well where the types were looked at before."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
import meshfed.dashboard.board
from meshfed.dashboard.threads import prepare
from meshfed.views.bundles import cleaned
from meshfed.views.explain.seen import seen
from meshfed.views.imports import imports
from meshfed.views.meshes import mesh
from meshfed.views.timeline import happenings
from tests.cli.fakes import snapshot, trouble
from tests.builders import namespace, pod, service

here = snapshot(*trouble().objects, namespace("default"), service("a", exported=True), pod("a-1", "a"))
prepare()
sys.setswitchinterval(1e-6)
jobs = [seen, mesh, imports, happenings, lambda one: [cleaned(each) for each in one.objects]] * 2
together = threading.Barrier(len(jobs))

def work(job):
    together.wait()
    job(here)

threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""


@pytest.mark.parametrize("attempt", range(3))
def test_many_threads_at_once(attempt: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, ""), f"attempt {attempt}"
