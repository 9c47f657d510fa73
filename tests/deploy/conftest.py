"""Helm, for those tests that need it."""

from __future__ import annotations

from collections.abc import Iterator

import helm
import pytest


@pytest.fixture(scope="session")
def helm_process() -> Iterator[helm.Helm]:
    """Helm; tests are skipped where it cannot be had."""
    try:
        with helm.Helm() as asked:
            yield asked
    except helm.HelmUnavailable as error:
        pytest.skip(str(error))
