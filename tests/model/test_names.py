"""Globs: what they match, and that no text makes one look at it over and over."""

from __future__ import annotations

import itertools
from functools import cache
from typing import SupportsIndex

import pytest

from meshfed.model.names import glob_matches


@cache
def by_definition(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return by_definition(pattern[1:], text) or (bool(text) and by_definition(pattern, text[1:]))
    return text[:1] == pattern[0] and by_definition(pattern[1:], text[1:])


def words(letters: str, longest: int) -> list[str]:
    return ["".join(word) for size in range(longest + 1) for word in itertools.product(letters, repeat=size)]


def test_a_star_is_any_run_of_characters() -> None:
    texts = words("ab", 6)
    for pattern in words("ab*", 5):
        assert [text for text in texts if glob_matches(pattern, text)] == [
            text for text in texts if by_definition(pattern, text)
        ], pattern


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a.b", "axb", False),
        ("a?", "ab", False),
        ("[ab]", "a", False),
        ("a*b", "a\nb", True),
        ("*.prod.*", "x.prod.svc", True),
        ("ab*ba", "aba", False),
    ],
)
def test_nothing_but_a_star_is_special(pattern: str, text: str, matches: bool) -> None:
    assert glob_matches(pattern, text) is matches


class Watched(str):
    """A text that knows how often it was looked at."""

    looks = 0

    def find(self, sub: str, start: SupportsIndex | None = None, end: SupportsIndex | None = None, /) -> int:
        self.looks += 1
        return super().find(sub, start, end)


@pytest.mark.parametrize("stars", [3, 30, 120])
@pytest.mark.parametrize("part", ["-", "-a", "--", "a-"])
def test_a_glob_of_many_stars_looks_once_for_each_of_its_parts(stars: int, part: str) -> None:
    text = Watched("a-" * 126)
    # With a way to share the text out for every choice of its dashes, this would not end.
    assert not glob_matches(f"*{part}" * stars + "*prod.*", text)
    assert 0 < text.looks <= stars + 1
