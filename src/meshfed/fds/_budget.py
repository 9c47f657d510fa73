"""What a peer's frames cost us, counted before any of them is worked on.

A frame of nine bytes costs a peer nothing and us twenty microseconds, whatever its type: WINDOW_UPDATE, an
acknowledgement that nobody waits for, a type that nobody knows. So every frame is charged, to two allowances:

- **its connection's**, always. A connection on which a caller was admitted is slowed down when it has spent that, and
  never cut off: behind a sidecar one connection carries the streams of several remotes, and what they are sent needs
  hardly a frame from there. Any other connection is cut off.
- **its address's**, until a caller was admitted on the connection, so that a new connection brings no new allowance.
  An address is no caller: behind a sidecar all of them have the same. So one that has spent everything is not locked
  out: its unknown connections take turns, the one that has waited longest first, and one turn is enough to be admitted
  in. With that a connection has left the queue, and what it cost there is given back.

What is useful earns: bytes that were read, and the frames that answer ours. Turns also bound how long anything else
waits, however much has arrived at once.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from h2.exceptions import FrameTooLargeError

BURST: Final = 4000.0
RATE: Final = 1000.0  # a second: two percent of a CPU
TURN: Final = 50.0
"""What is worked off before others have their turn: a millisecond's work, and enough to be admitted in."""
PREFACE: Final = 24
"""The bytes that a client sends before its first frame."""
_HEADER: Final = 9
_DATA, _HEADERS = 0x0, 0x1
_CALL: Final = 20.0  # a call costs a stream, a task and a refusal
_BLOCK_BYTES: Final = 16.0  # of a header block, or of what only we have to look at: one header each in the worst case
_READ_BYTES: Final = 512.0
_ADDRESSES: Final = 1024

Clock = Callable[[], float]


def cost(frame: bytes) -> float:
    """What working on ``frame`` costs, in units: one, a call twenty, and header blocks and the unusual by size."""
    if len(frame) < _HEADER or frame[3] == _DATA:  # the size of data is bounded by flow control
        return 1.0
    return (_CALL if frame[3] == _HEADERS else 1.0) + (len(frame) - _HEADER) / _BLOCK_BYTES


def earned_by_reading(size: int) -> float:
    """What ``size`` bytes earn that were read: the frames that they came in, were those not tiny."""
    return size / _READ_BYTES


EARNED_BY_SENDING: Final = 3.0
"""What a DATA frame of ours earns its receiver: room given to the stream and the connection, and an answer."""


class Allowance:
    """Units of work, ``BURST`` at most, of which ``RATE`` come back a second. It can be overdrawn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = BURST
        self._since = clock()

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._since) * RATE)
        self._since = now

    def spend(self, units: float) -> None:
        """Take ``units`` away; a negative number gives back."""
        self._refill()
        self._left = min(BURST, self._left - units)

    def wait(self) -> float:
        """Seconds until it is no longer overdrawn."""
        self._refill()
        return max(0.0, -self._left / RATE)

    def whole(self) -> bool:
        """Whether nothing is spent, so that a new one is the same."""
        self._refill()
        return self._left >= BURST


class Addresses:
    """The allowances of addresses. Of those that have spent something 1,024 are known; all further ones share one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Allowance] = OrderedDict()  # the one that was asked for last is last
        self._others = Allowance(clock)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, address: str) -> Allowance:
        """The allowance of ``address``; for IPv6 that of its /64, of which one host has all."""
        key = _network(address)
        allowance = self._known.get(key)
        if allowance is None:
            if len(self._known) >= _ADDRESSES:
                oldest = next(iter(self._known))
                if not self._known[oldest].whole():
                    return self._others
                del self._known[oldest]
            allowance = self._known[key] = Allowance(self._clock)
        self._known.move_to_end(key)
        return allowance


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


class Meter:
    """One connection's account. ``known``: a caller was admitted on it; ``shared`` is its address's allowance."""

    def __init__(self, clock: Clock, shared: Allowance | None = None) -> None:
        self.own = Allowance(clock)
        self.known = shared is None
        self._shared = shared
        self._turn = 0.0
        self._paid = 0.0

    def wait(self) -> float:
        """Seconds until the next frame may be worked on.

        Whoever waits has paid for its turn already, so that those who come later wait for longer.
        """
        if self.known or self._shared is None:
            return self.own.wait()
        if self._turn > 0:
            return 0.0
        wait = self._shared.wait()
        self._shared.spend(TURN)
        self._paid += TURN
        self._turn += TURN
        return wait

    def cut_off(self) -> bool:
        """Whether the connection has spent everything and nobody was admitted on it."""
        return not self.known and self.own.wait() > 0

    def spend(self, units: float) -> None:
        """Charge ``units``."""
        self.own.spend(units)
        self._turn -= units

    def admit(self) -> None:
        """Note that a caller was admitted: its address did not spend what this connection did."""
        self.known = True
        if self._shared is not None:
            self._shared.spend(-self._paid)
            self._paid = 0.0


class Frames:
    """Cuts what arrives into frames, which h2 is then given one at a time."""

    def __init__(self, *, preface: bool) -> None:
        self._data = bytearray()
        self._preface = PREFACE if preface else 0

    def add(self, data: bytes) -> None:
        """Take what has arrived."""
        self._data += data

    def size(self, longest: int) -> int:
        """Count the bytes of the next frame, 0 where it is not whole yet. The preface may come in parts.

        Raises ``FrameTooLargeError`` for a frame that announces more than ``longest`` bytes, before they come.
        """
        if self._preface:
            return min(self._preface, len(self._data))
        if len(self._data) < _HEADER:
            return 0
        length = int.from_bytes(self._data[:3], "big")
        if length > longest:
            raise FrameTooLargeError("a frame announces more than is allowed")
        return _HEADER + length if len(self._data) >= _HEADER + length else 0

    def take(self, size: int) -> bytes:
        """Return the next frame, of ``size`` bytes."""
        frame = bytes(self._data[:size])
        del self._data[:size]
        self._preface -= min(size, self._preface)
        return frame
