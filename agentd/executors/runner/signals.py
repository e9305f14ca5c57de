"""Signals as plain numbers: the module `signal` makes enumerations of them, which takes a while at every start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

__all__ = ["signal"]
