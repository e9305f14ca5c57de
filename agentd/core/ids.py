"""Identifiers: short, sortable by nothing, unguessable where it matters."""

from __future__ import annotations

import os


def new_id(prefix: str) -> str:
    """Return `prefix_` and 96 random bits as 24 hexadecimal digits."""
    return f"{prefix}_{os.urandom(12).hex()}"


def new_token() -> str:
    """Return 256 random bits as 64 hexadecimal digits, fit to be a bearer token."""
    return os.urandom(32).hex()
