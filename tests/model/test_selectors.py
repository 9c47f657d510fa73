"""Label selectors as kubectl takes them."""

from __future__ import annotations

import pytest

from meshfed.model.selectors import parse_selector

LABELS = {"app": "ratings", "tier": "back", "example.org/owner": "a"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=ratings", True),
        ("app==ratings", True),
        ("app = ratings , tier = back", True),
        ("app=reviews", False),
        ("app!=reviews", True),
        ("other!=reviews", True),
        ("app", True),
        ("other", False),
        ("!other", True),
        ("!app", False),
        ("app in (reviews, ratings)", True),
        ("app notin (reviews, ratings)", False),
        ("other notin (a)", True),
        ("example.org/owner=a,app", True),
        ("app=", False),
    ],
)
def test_what_a_selector_matches(text: str, matches: bool) -> None:
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["=a", "app=a b", "app in ratings", "app>1", ",", "a,,b", "-a=b", "app in (a"])
def test_what_is_no_selector(text: str) -> None:
    with pytest.raises(ValueError, match="is no part of a label selector"):
        parse_selector(text)
