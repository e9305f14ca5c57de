"""LiteLLM's warnings about itself, which are nobody else's business: its own classes do not fit its own schemas."""

from __future__ import annotations

import threading
import warnings
from contextvars import ContextVar

_inside: ContextVar[bool] = ContextVar("agentd_inside_litellm", default=False)
_ITS_THREADS = "litellm-"
_THEIRS = (UserWarning, DeprecationWarning)


class _WithinItsCalls(type):
    """A filter of the `warnings` module is for the whole process; this asks at each warning whose code is running."""

    def __subclasscheck__(cls, subclass: type) -> bool:
        ours = _inside.get() or threading.current_thread().name.startswith(_ITS_THREADS)
        return ours and any(base in _THEIRS for base in subclass.__mro__)


class LiteLlmWarning(Warning, metaclass=_WithinItsCalls):
    """Any warning that is raised while LiteLLM runs in the current context, but for leaks."""


def ignore_its_warnings() -> None:
    """Let LiteLLM, from here on in this context, warn nobody; warnings elsewhere in the process stay as they are."""
    _inside.set(True)
    # Again at each call: a caller may have put filters before this one, or have gone back to older ones.
    warnings.simplefilter("ignore", LiteLlmWarning)
