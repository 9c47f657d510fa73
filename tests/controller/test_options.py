"""Addresses to listen on, as other controllers take them."""

from __future__ import annotations

import pytest

from meshfed.controller.options import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [(":15080", "", 15080), ("127.0.0.1:80", "127.0.0.1", 80), ("[::1]:80", "::1", 80), ("0", "", 0), (":0", "", 0)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize("text", ["", "15080", "localhost", ":http", ":70000", ":-1", ": 80"])
def test_what_is_no_address_is_said_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        Address.parse(text)


def test_an_address_is_written_as_it_is_read() -> None:
    assert [str(Address.parse(text)) for text in ("[::1]:80", ":15080")] == ["[::1]:80", ":15080"]
