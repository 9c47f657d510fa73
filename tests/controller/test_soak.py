"""Some minutes of `make soak`, and that it would see what it looks for."""

from __future__ import annotations

from typing import Any

import pytest

from meshfed.controller.remotes.publisher import Publisher
from tests.controller.soak import Sizes, Soak, growth

FLAT = [Sizes(1000 + number % 3, 40, 200 + number % 5, 100 << 20) for number in range(20)]


def test_some_minutes_of_it_hold() -> None:
    lines: list[str] = []
    soak = Soak(seed=3, say=lines.append)
    soak.run(hours=0.5)
    assert soak.found == []
    assert len(lines) == len(soak.sizes) > 0
    assert soak.actions == 30 * len(lines)


def test_a_metric_that_says_what_is_not_so_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Publisher.publish

    def wrong(self: Any, *args: Any, **more: Any) -> Any:
        answer = told(self, *args, **more)
        self._metrics.exported_services.set(77)
        return answer

    monkeypatch.setattr(Publisher, "publish", wrong)
    soak = Soak(seed=3, say=lambda _line: None)
    soak.run(hours=0.5)
    assert any("meshfed_exported_services is 77" in problem for problem in soak.found)
    assert soak.actions == 30, "it ends with the first round that does not hold"


def test_what_stays_as_it_was_has_not_grown() -> None:
    assert list(growth(FLAT)) == []
    assert list(growth(FLAT[:4])) == []


@pytest.mark.parametrize(
    ("field", "each"), [("objects", 10), ("tasks", 1), ("series", 3), ("resident", 1 << 20)], ids=str
)
def test_what_grows_from_quiet_to_quiet_is_found(field: str, each: int) -> None:
    sizes = [one._replace(**{field: getattr(one, field) + number * each}) for number, one in enumerate(FLAT)]
    (found,) = growth(sizes)
    assert "at first" in found
