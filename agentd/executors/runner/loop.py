"""What the parts of the runner need of its event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

TYPE_CHECKING = False  # `typing` takes a millisecond of every start
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Loop(Protocol):
    """What blocks need of the loop that they run in."""

    def watch(self, fd: int, handler: Callable[[], None]) -> None: ...

    def forget(self, fd: int) -> None: ...

    def send(self, header: Mapping[str, object], payload: bytes = b"") -> None: ...

    @property
    def congested(self) -> bool: ...

    @property
    def top(self) -> int: ...
