"""Paths that somebody else is told as text."""

from __future__ import annotations

import os

from agentd.core.errors import OptionError


def spelled(path: str, name: str) -> str:
    """Return a path that the back end `name` is told as JSON; raises `OptionError` when it is not UTF-8.

    With another sign in its place a path would lead elsewhere: what is to be hidden would be seen.
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise OptionError(f"{os.fsencode(path)!r} is not UTF-8, and {name} takes no such path: rename it") from error
    return path
